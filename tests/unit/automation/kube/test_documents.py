# SPDX-License-Identifier: Apache-2.0
"""Many documents become objects, as kubectl would read them, and hostile ones become errors."""

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import documents
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
PEM = """apiVersion: v1
kind: Secret
metadata: {name: tls}
stringData:
  key: |
    -----BEGIN PRIVATE KEY-----
    MIIB
    -----END PRIVATE KEY-----
    ---
    not: a document
  other: "a\\n---\\nb"
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b}
"""


def data(text: str) -> object:
    return documents.read(HEAD + f"data: {text}\n")[0]["data"]


def test_pem_blocks_and_separators_inside_strings() -> None:
    first, second = documents.read(PEM)
    assert "---\nnot: a document" in first["stringData"]["key"]
    assert first["stringData"]["other"] == "a\n---\nb"
    assert second["metadata"]["name"] == "b"


def test_empty_documents_are_none_and_lists_are_unpacked() -> None:
    items = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n"
    found = documents.read(f"---\n---\n# only a comment\n---\n{items}---\n...\n")
    assert [one["metadata"]["name"] for one in found] == ["c"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0644", 420), ("0o644", 420), ("0x1F", 31), ("1_000", 1000), ("08", 8), ("yes", True), ("off", False),
        ("~", None), ("1e3", 1000.0), ("22:22", "22:22"), ("2026-01-01", "2026-01-01"), ("'0644'", "0644"),
        ("-7", -7), ("{{ version }}", "{{ version }}"), ("[{{ a }}, b]", ["{{ a }}", "b"]), ("1.50", 1.5),
        ("250m", "250m"), ("{1: a}", {"1": "a"}),
    ],
)  # fmt: skip
def test_scalars_are_what_kubectl_makes_of_them(text: str, value: object) -> None:
    assert data(text) == value


BOMB = "x: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "data: [", "no YAML"),
        (HEAD + "data: &x [*x]", "aliases"),
        (HEAD + "data: &x {a: *x}", "aliases"),
        (HEAD + BOMB, "aliases"),
        (HEAD + "data: " + "[" * 70 + "]" * 70, "levels"),
        (HEAD + "data: " + "[" * 200_000, "no YAML|levels"),
        (HEAD + "data: " + "{a: " * 200_000, "no YAML|levels"),
        ("- " * 200_000, "no YAML|levels"),
        (HEAD + "data: !!python/object/apply:os.system [id]", "tag"),
        (HEAD + "data: !!binary aGk=", "tag"),
        (HEAD + "data: !Ref x", "tag"),
        (HEAD + "data: {a: 1, a: 2}", "twice"),
        (HEAD + "data: {? [a] : b}", "no word"),
        (HEAD + "data: .nan", "no number"),
        (HEAD + "data: *missing", "aliases"),
        ("- a", "not a mapping"),
        ("just words", "not a mapping"),
        ("apiVersion: v1\nkind: ConfigMap\n", "metadata.name"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 7}", "metadata.name"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a-}", "metadata.name"),
        ("kind: ConfigMap\nmetadata: {name: a}", "apiVersion"),
        ("apiVersion: v1\nmetadata: {name: a}", "kind"),
        ("apiVersion: v1\nkind: [Pod]\nmetadata: {name: a}", "kind"),
        ("apiVersion: v1\nkind: List\nmetadata: {}", "without items"),
        ("apiVersion: v1\nkind: List\nitems: [3]", "not a mapping"),
        ("", "no object"),
        ("# nothing", "no object"),
        ("a: \x00", "no YAML"),
        (HEAD + "data: {a: \ud800}", "no YAML"),
        ("x" * (documents.MOST_BYTES + 1), "larger"),
        ("---\n".join(HEAD.replace("name: a", f"name: a{n}") for n in range(documents.MOST_OBJECTS + 1)), "more than"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(ReleaseError, match=said) as refused:
        documents.read(text)
    assert refused.value.error_key == "manifest_invalid"


def test_merge_keys_work() -> None:
    (found,) = documents.read(HEAD + "data:\n  x: &x {a: one, b: two}\n  y: {<<: *x, b: three}\n")
    assert found["data"]["y"] == {"a": "one", "b": "three"}
