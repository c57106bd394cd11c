# SPDX-License-Identifier: Apache-2.0
"""An index is what its schema says, within bounds, and names only what there is."""

from __future__ import annotations

import copy
import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle import index as indexes
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle import steps as role_steps
from hypothesis import given
from hypothesis import strategies as st

from .small_bundle import TOOL, index


def told(document: Any) -> list[str]:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return [one.message for one in indexes.read(text)[1]]


def changed(path: str, value: Any) -> dict[str, Any]:
    document: Any = copy.deepcopy(index())
    *above, last = path.split(".")
    place = document
    for name in above:
        place = place[int(name)] if name.isdigit() else place[name]
    place[int(last) if last.isdigit() else last] = value
    return dict(document)


def test_the_schema_is_one_and_the_small_index_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(indexes.schema())
    assert told(index()) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("apiVersion", "tidegate.bundle/v2"), ("version", 2.4), ("platforms", []), ("more", 1), ("runtimes", {}),
        ("runtimes.compose.versions.0.status", "fine"), ("runtimes.compose.versions.0.artifacts", ["other"]),
        ("runtimes.compose.versions.0.version", "2.39"), ("artifacts.0.type", "script"), ("artifacts.0.path", "/etc/x"),
        ("artifacts.0.path", "../x"), ("artifacts.0.path", "a\nb"), ("artifacts.0.path", "hooks/tool"),
        ("artifacts.0.sha256", "F" * 64), ("artifacts.0.sha256", "0" * 64), ("artifacts.0.mode", "4755"),
        ("artifacts.0.source", {"url": "file:///etc/passwd"}), ("artifacts.0.source", {"url": "https://u:p@h/x"}),
        ("artifacts.0.source", {}), ("steps.0.timeout", 0), ("steps.0.role", "both"), ("steps.0.hook", "../x.sh"),
        ("steps.0.hook", "bin/x.sh"), ("steps.0.runtime", ["k8s"]), ("steps.0.runs_on", ["everywhere"]),
        ("checks", [{"id": "a", "kind": "port", "expect": {"ports": [0]}, "severity": "blocking", "message": "m"}]),
        ("checks", [{"id": "a", "kind": "magic", "expect": {}, "severity": "blocking", "message": "m"}]),
        ("features", {"vip": {"artifacts": ["nothing"], "inputs": []}}),
        ("features", {"vip": {"artifacts": [], "inputs": ["vip_address"]}}),
        ("features", {"lvs_vip": {"artifacts": [], "inputs": ["vip_name"]}}), ("compatibility", {"kernel": "5"}),
        ("steps.0.name", "container_runtime"), ("steps.0.name", "preflight"), ("steps.0.rollback", {"role": "look"}),
    ],
)  # fmt: skip
def test_what_an_index_may_not_say_is_told(path: str, value: Any) -> None:
    assert told(changed(path, value))


def step(name: str, role: str = "", **more: Any) -> dict[str, Any]:
    given = {
        "name": name,
        "role": role or name,
        "runtime": ["compose"],
        "runs_on": ["all"],
        "timeout": 5,
        **more,
    }
    return {field: value for field, value in given.items() if value is not None}


HOOK = {"name": "look", "hook": "hooks/look.sh", "runtime": ["compose"], "runs_on": ["all"], "timeout": 5}
DELIVERY = step("bundle_delivery", timeout=None)


@pytest.mark.parametrize(
    ("steps", "where"),
    [
        ([step("no_such_role")], "steps.0.name"), ([step("container_runtime", "worker")], "steps.0.role"),
        ([step("kubernetes_node")], "steps.0.runtime"), ([step("container_runtime", outputs=["x"])], "steps.0.outputs"),
        ([step("container_runtime", rollback={"hook": "hooks/look.sh"})], "steps.0.rollback"),
        ([step("container_runtime", rollback={"role": "bundle_delivery"})], "steps.0.rollback"),
        ([step("bundle_delivery", timeout=None, rollback={"role": "bundle_delivery"})], "steps.0.rollback"),
        ([step("bundle_delivery")], "steps.0.timeout"), ([{**DELIVERY, "retries": 1}], "steps.0.retries"),
        ([step("container_runtime", timeout=None)], "steps.0.timeout"),
        ([DELIVERY, HOOK, step("container_runtime")], "steps.2"),
        ([step("container_runtime"), DELIVERY], "steps.1"),
    ],
)  # fmt: skip
def test_what_an_install_would_not_do_as_a_step_says_is_told(steps: list[dict[str, Any]], where: str) -> None:
    (said,) = told(index(steps=steps))
    assert f"{where}: " in said


def test_each_role_of_a_step_is_there_and_does_it_for_these_runtimes() -> None:
    deploy = Path(indexes.__file__).parents[3]
    for name, its in role_steps.ROLE_STEPS.items():
        assert (deploy / "roles" / its.role / "tasks").is_dir()
        action = import_module(f"ansible_collections.tidegate.deploy.plugins.action.{name}").ActionModule
        assert set(getattr(action, "RUNTIMES", its.runtimes)) == set(its.runtimes)
    playbook = (deploy / "playbooks/environment_install.yml").read_text()
    roles = [its.role for its in role_steps.ROLE_STEPS.values()]
    assert list(dict.fromkeys(re.findall(r"name: (\w+)\n", playbook))) == list(dict.fromkeys(roles))


def test_an_index_with_roles_in_their_order_and_hooks_behind_is_valid() -> None:
    undone = step("container_runtime", rollback={"role": "container_runtime"})
    elsewhere = step("kubernetes_node", runtime=["k8s"])
    hook = {**HOOK, "outputs": ["x"], "rollback": {"hook": "hooks/look.sh"}}
    runtimes = {**index()["runtimes"], "k8s": index()["runtimes"]["compose"]}
    assert told(index(steps=[DELIVERY, undone, hook, elsewhere], runtimes=runtimes)) == []


def test_names_that_are_there_twice_are_told() -> None:
    twice = index(artifacts=[*index()["artifacts"], {"id": "tool", "type": "binary", "path": TOOL}])
    assert len(told(twice)) == 2


def test_several_faults_are_told_at_once() -> None:
    document = changed("version", 1)
    document["platforms"] = []
    document["more"] = True
    assert len(told(document)) == 3


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"a: [", b"a: 1\na: 2", b"a: &x 1\nb: *x", b"!!python/object/apply:os.system [id]", b"\xff\xfe",
     b"[" * 5000, b" " * (indexes.MOST_BYTES + 1), b"? {a: 1}\n: 2", b"? [a]\n: 2\n? [a]\n: 3"],
)  # fmt: skip
def test_what_is_no_plain_yaml_is_refused(text: bytes) -> None:
    document, faults = indexes.read(text)
    assert document is None
    assert {one.key for one in faults} == {"bundle_index_invalid"}


KEYS = st.sampled_from([*index(), "id", "path", "hook"])
LEAVES = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)))
def test_any_document_is_answered_with_faults(document: Any) -> None:
    assert told(document)
    assert isinstance(told({**index(), "steps": document}), list)
