# SPDX-License-Identifier: Apache-2.0
"""A node that cannot be reached keeps no VIP from its cluster: it is named, and led there by the next apply."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controlplane.ports.runner import PlaybookRun, RunOutcome
from controlplane.services import network_entry_check, network_entry_connection, tasks
from controlplane.services.network_entries import SUBJECT
from controlplane.store import tables
from tests.services.installation import Installation
from tests.services.test_network_entries import LVS_VIP, NAMES, Entries, found, operator, step, told
from tests.services.test_network_entry_connection import PlayedCluster, made

WORKER = "wk"


@pytest.fixture
def entries(shop: Installation, monkeypatch: pytest.MonkeyPatch) -> Entries:
    """A cluster of three control planes and a worker, which has no part in the entry."""
    monkeypatch.setattr(network_entry_connection, "PAUSE_SECONDS", 0.0)
    return made(shop, PlayedCluster())


def unreached(host: str) -> dict[str, Any]:
    """What the playbook says of a node that it goes on without."""
    check = {
        "level": "warning", "code": "ssh_unreachable", "reason": "node_unreachable", "host": host,
        "message": f"{host} cannot be reached", "hint": "later",
    }  # fmt: skip
    return {"host": host, "not_led": True, "files": [], "checks": [check]}


def previewed(
    entries: Entries, host: str = WORKER, leaves_vip: str | None = None, **asked: Any
) -> dict[str, Any]:
    """Preview while a host cannot be reached."""
    task = entries.request(**asked)
    kind, run = entries.work("network_entry_preview")
    answers = entries.answers(run, task, ())
    for each in answers.values():
        each["entry"]["leaves_vip"] = leaves_vip
    answers[f"{host}.preview"] = unreached(host)
    kind.end(RunOutcome("successful", 0, answers))
    return tasks.await_preview(entries.shop.core, operator(entries.shop), SUBJECT, task["task_id"], 0)


def applied(entries: Entries, preview: dict[str, Any], *, is_led: bool) -> dict[str, Any]:
    """Apply; the worker answers by then, or not."""
    entries.start(preview)
    entries.shop.clock.pass_(seconds=1)
    kind, run = entries.work("network_entry")
    status = "succeeded" if is_led else "failed"
    row = step("endpoint", status, error_key="ssh_unreachable", remediation="apply it again")
    kind.record([replace(told(row), host=WORKER)])
    results = found(run, "verify")
    results[f"{WORKER}.endpoint"] = {"host": WORKER, "steps": [row], **({} if is_led else {"not_led": True})}
    kind.end(RunOutcome("successful", 0, results))
    entries.shop.clock.pass_(seconds=1)
    return entries.task(preview)


def looked_at(entries: Entries, **entry: Any) -> PlaybookRun:
    """Let the scheduled check find this, and return what it was asked to run."""
    entries.shop.clock.pass_(minutes=2)
    assert network_entry_check.look_where_due(entries.shop.core) == 1
    kind, run = entries.work("network_entry_check")
    kind.end(RunOutcome("successful", 0, found(run, **entry)))
    return run


def hosts_of(run: PlaybookRun) -> list[str]:
    return [host.name for host in run.hosts]


def test_the_preview_warns_and_is_bound_to_the_others(entries: Entries) -> None:
    task = previewed(entries)
    assert (task["status"], bool(task["preview_ref"])) == ("previewed", True)
    (check,) = task["preview"]["checks"]
    assert (check["level"], check["reason"], check["host"]) == ("warning", "node_unreachable", WORKER)
    assert sorted(task["preview"]["hosts"]) == sorted(NAMES)
    entries.start(task)
    _kind, run = entries.work("network_entry")
    expect = run.documents["network_entry_spec_file"]["expect"]
    assert (expect["unreached"], sorted(expect["fingerprints"])) == ([WORKER], sorted(NAMES))
    assert WORKER in hosts_of(run), "it may answer by then"


def test_a_director_or_back_end_that_cannot_be_reached_stands_in_the_way(entries: Entries) -> None:
    task = entries.request()
    kind, run = entries.work("network_entry_preview")
    answers = entries.answers(run, task, ())
    del answers["cp-b.preview"]
    kind.end(RunOutcome("failed", 4, answers))
    shown = tasks.await_preview(entries.shop.core, operator(entries.shop), SUBJECT, task["task_id"], 0)
    assert (shown["status"], shown["preview_ref"]) == ("preview_failed", None)


def test_a_node_that_may_be_led_to_a_vip_that_goes_stands_in_the_way(entries: Entries) -> None:
    entries.applied()
    other = {**LVS_VIP, "vip_address": "192.0.2.241/24"}
    task = previewed(entries, leaves_vip="192.0.2.240", lvs_vip=other)
    assert (task["status"], task["preview_ref"]) == ("preview_failed", None)
    (check,) = task["preview"]["checks"]
    assert (check["level"], check["code"], check["host"]) == ("blocking", "ssh_unreachable", WORKER)
    assert "192.0.2.240, which goes" in check["message"] and "as lost" in check["hint"]


def test_the_apply_goes_on_names_it_and_says_degraded(entries: Entries) -> None:
    task = applied(entries, previewed(entries), is_led=False)
    assert task["state"] == "succeeded", task["diagnostics_json"]
    (row,) = [one for one in task["steps"] if one["step"] == "endpoint"]
    assert (row["host"], row["status"], row["error_key"]) == (WORKER, "failed", "ssh_unreachable")
    assert row["remediation"] == "apply it again"
    shown = entries.show()
    assert (shown["status"], shown["connection"]["through_vip"]) == ("degraded", True)
    (problem,) = shown["problems"]
    assert (problem["reason"], problem["host"]) == ("node_not_led", WORKER)
    assert "apply the entry again" in problem["hint"]
    (event,) = [one for one in entries.told_of_cluster() if one["action"] == "network_entry.degraded"]
    assert [one["host"] for one in event["problems"]] == [WORKER]


def test_the_check_looks_at_it_until_it_is_led(entries: Entries) -> None:
    applied(entries, previewed(entries), is_led=False)
    waits = {"level": "warning", "reason": "node_not_led", "host": WORKER, "message": "", "code": "x"}
    run = looked_at(entries, status="degraded", problems=[waits])
    assert hosts_of(run) == [*NAMES, WORKER]
    assert run.documents["network_entry_spec_file"]["not_led"] == [WORKER]
    # A check that could not be made forgets nothing.
    entries.checked(run_outcome=RunOutcome("error", 4, {}, "no Ansible"))
    assert hosts_of(looked_at(entries, status="degraded", problems=[waits])) == [*NAMES, WORKER]
    assert entries.show()["status"] == "degraded"

    task = applied(entries, entries.preview(), is_led=True)
    assert task["state"] == "succeeded" and entries.show()["status"] == "ready"
    run = looked_at(entries)
    assert (hosts_of(run), run.documents["network_entry_spec_file"]["not_led"]) == (list(NAMES), [])


def test_one_that_left_the_cluster_is_waited_for_no_more(entries: Entries) -> None:
    applied(entries, previewed(entries), is_led=False)
    with entries.shop.core.database.write() as session:
        session.delete(session.get_one(tables.EnvironmentNode, ("env_development", f"hst_{WORKER}")))
    assert hosts_of(looked_at(entries)) == list(NAMES)
    assert entries.show()["status"] == "ready"
