# SPDX-License-Identifier: Apache-2.0
"""Variables in manifests: values stay values, secrets stay where nobody looks."""

import base64
import textwrap

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import comparison, manifests
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: %s}\n"
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: "{{ count }}"
  template:
    spec:
      containers:
      - name: web
        image: "shop:{{ version }}"
        env:
        - {name: PLAIN, value: a}
        - {name: KEY, value: "prefix-{{ key }}"}
"""
SCHEMA = {
    "count": {"type": "integer"},
    "version": {"type": "string"},
    "key": {"type": "string", "secret": True},
}
VALUES = {"count": 3, "version": "2", "key": "hunter22"}


@pytest.mark.parametrize(
    "hostile", ["{{ lookup('pipe','id') }}", '"\n- x: y', "a: b", "*anchor", "---\nkind: Pod", "$(id)", "no"]
)
@pytest.mark.parametrize("placeholder", ['"{{ value }}"', "{{ value }}"])
def test_a_value_stays_a_value(hostile: str, placeholder: str) -> None:
    found = manifests.render(CONFIG % placeholder, {"value": hostile}, {"value": {"type": "string"}})
    assert found.objects[0]["data"]["x"] == hostile


def test_whole_placeholders_keep_their_type_and_the_text_is_canonical() -> None:
    found = manifests.render(DEPLOYMENT, VALUES, SCHEMA)
    assert found.objects[0]["spec"]["replicas"] == 3
    again = manifests.stored(found.text())
    assert again == found
    assert manifests.render(DEPLOYMENT, dict(reversed(VALUES.items())), SCHEMA).text() == found.text()


def test_places_of_secrets_are_known_by_name() -> None:
    found = manifests.render(DEPLOYMENT, VALUES, SCHEMA)
    assert comparison.hidden_paths(found) == {0: ["spec.template.spec.containers[web].env[KEY].value"]}
    # What is printed may be the secret without what is around it.
    assert comparison.secret_texts(found) == {"prefix-hunter22", "hunter22"}
    assert comparison.secret_texts(manifests.stored(found.text())) == {"prefix-hunter22", "hunter22"}


def test_a_secret_is_kept_from_what_is_told_by_line_as_json_and_in_a_url() -> None:
    pem = "-----BEGIN-----\nbm90IGEga2V5\n-----END-----"
    for key, told in (
        (pem, "read bm90IGEga2V5 of a file"), ('a "word"', r'{"key": "a \"word\""}'), ("a/b c", "db://x:a%2Fb%20c@db"),
    ):  # fmt: skip
        found = manifests.render(DEPLOYMENT, {**VALUES, "key": key}, SCHEMA)
        assert [one for one in comparison.secret_texts(found) if one in told], told
    short = manifests.render(DEPLOYMENT, {**VALUES, "key": "abc"}, SCHEMA)
    assert "abc" not in comparison.secret_texts(short), "a short one is likely to be another word"


def test_a_release_that_was_stored_without_its_secrets_texts_is_read_as_it_was() -> None:
    text = '{"objects":[{"data":{"x":"hunter22"},"kind":"ConfigMap"}],"secrets":[[0,"data","x"]]}'
    found = manifests.stored(text)
    assert comparison.secret_texts(found) == {"hunter22"}
    assert found.text() == text


GENERATED = """
apiVersion: v1
kind: Secret
metadata: {name: keys-d6k2m2cdm2}
data:
  key: %s
  lines: |
    %s
  plain: cGxhaW4=
  binary: /wA=
"""


def generated(key: str, lines: str = "x") -> str:
    """What `kubectl kustomize` makes of a secretGenerator: long values come in lines."""
    first, second = (base64.b64encode(text.encode()).decode() for text in (key, lines))
    return GENERATED % (first, "\n    ".join(textwrap.wrap(second, 70)))


def test_variables_in_what_a_kustomization_encoded_are_filled_in_and_known_as_secrets() -> None:
    lines = "count={{ count }}\n" + "x" * 80 + "\nkey={{ key }}\n{{ .Values.notOurs }}"
    found = manifests.render(generated("{{ key }}", lines), VALUES, SCHEMA, is_generated=True)
    data = found.objects[0]["data"]
    assert base64.b64decode(data["key"]) == b"hunter22"
    told = base64.b64decode(data["lines"]).decode().splitlines()
    assert [told[0], *told[2:]] == ["count=3", "key=hunter22", "{{ .Values.notOurs }}"]
    assert (data["plain"], data["binary"]) == ("cGxhaW4=", "/wA=")
    assert comparison.hidden_paths(found) == {0: ["data.key", "data.lines"]}
    assert "hunter22" in comparison.secret_texts(found)


def test_a_value_is_not_read_again_in_what_a_kustomization_encoded() -> None:
    hostile = base64.b64encode(b"{{ key }}").decode()
    text = generated("{{ version }}").replace("cGxhaW4=", '"{{ version }}"')
    found = manifests.render(text, {**VALUES, "version": hostile}, SCHEMA, is_generated=True)
    assert base64.b64decode(found.objects[0]["data"]["key"]).decode() == hostile
    assert found.objects[0]["data"]["plain"] == hostile


def test_what_is_no_variable_is_refused_in_what_a_kustomization_encoded() -> None:
    for text, said in (("{{ nothing }}", "undefined variable nothing"), ("{{ key | x }}", "no expressions")):
        with pytest.raises(ReleaseError, match=said):
            manifests.render(generated(text), VALUES, SCHEMA, is_generated=True)


def test_base64_that_somebody_wrote_into_plain_manifests_is_theirs() -> None:
    text = generated("{{ key }}")
    found = manifests.render(text, VALUES, SCHEMA)
    assert base64.b64decode(found.objects[0]["data"]["key"]) == b"{{ key }}"
    assert found.secrets == []


def test_the_text_of_base64_in_lines_is_kept_from_what_is_told() -> None:
    long = "hunter22 " * 20
    found = manifests.render(generated("x", long), VALUES, SCHEMA)
    assert long in comparison.secret_texts(found)


@pytest.mark.parametrize(
    "text",
    [
        CONFIG.replace("name: a", 'name: "{{ key }}"') % "a",
        CONFIG.replace("{name: a}", '{name: a, labels: {x: "{{ key }}"}}') % "a",
        DEPLOYMENT.replace("{{ version }}", "{{ key }}"),
        DEPLOYMENT.replace("PLAIN", "{{ key }}"),
        'apiVersion: x.io/v1\nkind: Widget\nmetadata: {name: a}\nspec: {data: "{{ key }}"}',
        'apiVersion: v1\nkind: Service\nmetadata: {name: a}\ndata: {x: {y: "{{ key }}"}}',
    ],
)
def test_a_secret_in_a_shown_place_is_refused(text: str) -> None:
    with pytest.raises(ReleaseError, match="secret in shown place: key") as refused:
        manifests.render(text, VALUES, SCHEMA)
    assert refused.value.error_key == "validation_error"


@pytest.mark.parametrize(
    ("text", "values", "said"),
    [
        (CONFIG % '"{{ nothing }}"', {}, "undefined variable nothing"),
        (CONFIG % '"{{ count + 1 }}"', {"count": 3}, "no expressions"),
        (CONFIG % "a", {"other": 1}, "unknown variable other"),
        (CONFIG % "a", {"count": "3"}, "not of type integer"),
        (CONFIG.replace("x:", '"{{ version }}":') % "a", {"version": "2"}, "cannot be a key"),
    ],
)
def test_variables_that_cannot_be(text: str, values: dict[str, object], said: str) -> None:
    with pytest.raises(ReleaseError, match=said) as refused:
        manifests.render(text, values, SCHEMA)
    assert refused.value.error_key == "validation_error"


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: ../../v1\nkind: Pod\nmetadata: {name: a}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: ../../secrets}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: 'a?dryRun=None'}",
        "apiVersion: a/b/c\nkind: Pod/x\nmetadata: {name: a}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: words",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: words}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, securityContext: [x]}]}",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: many}",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: [x]}",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {selector: {matchLabels: x}}",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: words",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a, labels: [x]}",
    ],
)
def test_objects_that_no_server_would_take(text: str) -> None:
    with pytest.raises(ReleaseError) as refused:
        manifests.render(text, {}, {})
    assert refused.value.error_key == "manifest_invalid"
