# SPDX-License-Identifier: Apache-2.0
"""What differs between two states of an object, and what is never shown of it."""

import json

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import comparison, fingerprint, kinds
from ansible_collections.tidegate.deploy.plugins.module_utils.release.veil import Veil

VEIL = Veil(b"k" * 32)


def deployment(**more: object) -> dict:
    container = {"name": "web", "image": "shop:1", "env": [{"name": "A", "value": "1"}]}
    container.update(more.pop("container", {}))
    spec = {
        "replicas": 2,
        "template": {"spec": {"containers": [{"name": "side", "image": "x"}, container]}},
        **more,
    }
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "spec": spec,
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "generation": 1},
    }  # fmt: skip


def test_fields_are_told_by_name() -> None:
    after = deployment(replicas=3, container={"image": "shop:2"})
    after["metadata"]["generation"] = 2
    after["status"] = {"replicas": 9}
    assert comparison.changes(deployment(), after, [], VEIL) == [
        {"path": "spec.replicas", "before": 2, "after": 3},
        {"path": "spec.template.spec.containers[web].image", "before": "shop:1", "after": "shop:2"},
    ]


def test_added_and_removed_parts_are_whole() -> None:
    after = deployment(container={"env": [{"name": "B", "value": "2"}]})
    assert comparison.changes(deployment(), after, [], VEIL) == [
        {
            "path": "spec.template.spec.containers[web].env[A]",
            "before": {"name": "A", "value": "1"},
            "after": None,
        },
        {
            "path": "spec.template.spec.containers[web].env[B]",
            "before": None,
            "after": {"name": "B", "value": "2"},
        },
    ]


def test_hidden_values_are_masked_on_both_sides_inside_and_around() -> None:
    place = "spec.template.spec.containers[web].env[A].value"
    after = deployment(container={"env": [{"name": "A", "value": "other"}]})
    (row,) = comparison.changes(deployment(), after, [place], VEIL)
    assert row["path"] == place
    assert row["before"] == VEIL.mask("1")
    assert row["after"] == VEIL.mask("other")
    gone = deployment(container={"env": []})
    rows = comparison.changes(deployment(), gone, [place], VEIL)
    assert all(str(row["before"]).startswith("hmac:") for row in rows)


def test_variables_that_look_secret_are_masked() -> None:
    before = deployment(container={"env": [{"name": "DB_PASSWORD", "value": "old1"}]})
    after = deployment(container={"env": [{"name": "DB_PASSWORD", "value": "new1"}]})
    (row,) = comparison.changes(before, after, [], VEIL)
    assert "old1" not in json.dumps(row)
    assert "new1" not in json.dumps(row)


KEY = {"name": "DB_PASSWORD", "value": "hunter22"}
PLAIN = {"name": "A", "value": "1"}


@pytest.mark.parametrize(
    ("other", "where"),
    [
        (deployment(), "spec.template.spec.containers[web].env[DB_PASSWORD]"),
        (deployment(container={"env": None}), "spec.template.spec.containers[web].env"),
        (deployment(container={"env": [PLAIN, PLAIN]}), "spec.template.spec.containers[web].env"),
        (deployment(container={"name": "old"}), "spec.template.spec.containers[web]"),
        ({**deployment(), "spec": {"replicas": 2}}, "spec.template"),
        ({**deployment(), "spec": None}, "spec"),
    ],
    ids=["variable", "variables", "twice", "container", "template", "all"],
)
def test_variables_that_look_secret_are_masked_where_they_come_and_go(other: dict, where: str) -> None:
    one = deployment(container={"env": [PLAIN, KEY]})
    for before, after, side in ((other, one, "after"), (one, other, "before")):
        rows = comparison.changes(before, after, [], VEIL)
        (row,) = [row for row in rows if row["path"] == where]
        # The same mask as in the text of the whole, so that both tell of the same value.
        assert VEIL.mask("hunter22") in json.dumps(row[side])
        assert "DB_PASSWORD" in json.dumps(row[side])
        assert "hunter22" not in json.dumps(rows)
    text = json.dumps(comparison.shown(one, [], VEIL))
    assert VEIL.mask("hunter22") in text
    assert "hunter22" not in text
    assert '{"name": "A", "value": "1"}' in text


def test_a_variable_that_is_there_twice_is_masked() -> None:
    before = deployment(container={"env": [KEY, KEY]})
    after = deployment(container={"env": [KEY, {**KEY, "value": "hunter33"}]})
    (row,) = comparison.changes(before, after, [], VEIL)
    assert "hunter" not in json.dumps([row, comparison.shown(after, [], VEIL)])
    assert row["before"] != row["after"]


def secret(**values: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "shop"},
        "data": values,
    }


def test_secrets_are_masked_in_diff_and_text() -> None:
    rows = comparison.changes(secret(a="b2xk", c="eA=="), secret(a="bmV3", b="bmV3"), [], VEIL)
    assert [row["path"] for row in rows] == ["data.a", "data.b", "data.c"]
    assert "b2xk" not in json.dumps(rows)
    assert "bmV3" not in json.dumps(rows)
    assert rows[0]["after"] == rows[1]["after"]
    text = json.dumps(comparison.shown({**secret(a="b2xk"), "stringData": {"x": "plain"}}, [], VEIL))
    assert "b2xk" not in text
    assert "plain" not in text
    assert comparison.changes({**secret(), "data": None}, secret(a="bmV3"), [], VEIL)[0]["after"].startswith(
        "hmac:"
    )
    assert comparison.texts_of_secret(secret(a="aHVudGVyMjI=")) == {"aHVudGVyMjI=", "hunter22"}


def test_the_release_label_alone_is_no_change_but_ownership_is() -> None:
    before, after = deployment(), deployment()
    before["metadata"]["labels"] = {"dev.tidegate.release": "rel_1"}
    after["metadata"]["labels"] = {"dev.tidegate.release": "rel_2"}
    assert comparison.is_same(before, after)
    after["metadata"]["managedFields"] = [
        {"manager": "tidegate", "operation": "Apply", "fieldsV1": {"f:spec": {}}}
    ]
    assert not comparison.is_same(before, after)
    assert comparison.changes(before, after, [], VEIL) == []


def test_risks() -> None:
    rows = [
        {
            "kind": "Deployment",
            "action": "change",
            "changes": [{"path": "spec.replicas", "before": 3, "after": 1}],
        },
        {"kind": "PersistentVolumeClaim", "action": "remove", "changes": []},
    ]
    privileged = deployment(container={"securityContext": {"privileged": True}})
    found = comparison.risk_facts(rows, [privileged], [{"pinned": False}])
    assert found == {"replica_loss", "deletes", "stateful_change", "privileged", "image_unpinned"}
    assert comparison.risk_facts([], [deployment()], [{"pinned": True}]) == set()


REF = kinds.ref(deployment())


def test_a_fingerprint_is_of_uid_and_generation_and_names_who_moved() -> None:
    before = deployment()
    before["metadata"]["managedFields"] = [
        {"manager": "tidegate", "operation": "Apply", "fieldsV1": {"f:spec": {}}}
    ]
    parts = fingerprint.parts({REF: before}, VEIL)
    assert list(parts) == ["Deployment/web"]
    breathing = json.loads(json.dumps(before))
    breathing["metadata"]["resourceVersion"] = "77"
    breathing["status"] = {"readyReplicas": 2}
    breathing["metadata"]["managedFields"].append(
        {"manager": "kcm", "subresource": "status", "operation": "Update"}
    )
    assert fingerprint.parts({REF: breathing}, VEIL) == parts
    moved = json.loads(json.dumps(before))
    moved["metadata"]["generation"] = 2
    moved["metadata"]["managedFields"].append({
        "manager": "kubectl", "operation": "Update", "subresource": "scale",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
    })  # fmt: skip
    now = fingerprint.parts({REF: moved}, VEIL)
    assert fingerprint.whole(now, VEIL) != fingerprint.whole(parts, VEIL)
    assert fingerprint.moved({REF: moved}, now, parts) == ["Deployment/web spec.replicas (kubectl)"]
    gone = fingerprint.parts({REF: None}, VEIL)
    assert gone == {"Deployment/web": "absent"}
    assert fingerprint.moved({REF: None}, gone, parts) == ["Deployment/web is gone"]


def test_what_has_no_generation_is_its_content() -> None:
    one = secret(a="b2xk")
    where = kinds.ref(one)
    parts = fingerprint.parts({where: one}, VEIL)
    relabelled = {
        **one,
        "metadata": {**one["metadata"], "labels": {"dev.tidegate.release": "x"}, "resourceVersion": "9"},
    }
    whole = fingerprint.whole(fingerprint.parts({where: relabelled}, VEIL), VEIL)
    assert whole == fingerprint.whole(
        fingerprint.parts({where: {**one, "metadata": {**one["metadata"], "labels": {}}}}, VEIL), VEIL
    )
    assert fingerprint.parts({where: secret(a="bmV3")}, VEIL) != parts
    assert "b2xk" not in json.dumps(parts)
