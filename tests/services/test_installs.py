# SPDX-License-Identifier: Apache-2.0
"""The life of an install, as the services tell it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor
from controlplane.ports.runner import PlaybookRun, RunEvent, RunOutcome
from controlplane.services import approvals, environments, expiry, installs, jobs
from controlplane.services.job_kind import JobKind
from controlplane.services.job_kinds import KINDS
from controlplane.services.jobs import LeaseLost
from controlplane.store.pages import PageRequest
from tests.services.installation import Installation

DIGEST = "sha256:" + "b" * 64
PLAN = [{"step": "container_runtime", "action": "run", "detail": ""}]


def refused(error_key: str) -> Any:
    return pytest.raises(Problem, match=error_key)


def operator(shop: Installation) -> Actor:
    return shop.actor("releaser", "operator")


def environment(shop: Installation, stage: str = "development", **more: Any) -> str:
    """Make an environment of the shop's one host."""
    body = {"project_id": "prj", "name": f"installed-{stage}", "stage": stage, "mode": "platform_managed"}
    given = {**body, "host_ids": ["hst"], **more}
    return str(environments.create(shop.core, operator(shop), given)["id"])


def told(counter: int, *steps: dict[str, Any], action: str, **more: Any) -> RunEvent:
    """A result on host `a`, with the steps that it and those before it did."""
    failed = bool(steps) and steps[-1]["status"] == "failed"
    data = {"changed": True, "steps": list(steps), **more}
    return RunEvent(
        counter=counter, kind="runner_on_failed" if failed else "runner_on_ok", at="2026-01-01T12:00:00Z",
        host="a", action=f"tidegate.deploy.{action}", play="", task_id=str(counter), changed=True, failed=failed,
        ignored=False, unreachable=False, duration=0.1, stdout=f"{action} said so", data=data,
    )  # fmt: skip


def begun(counter: int, action: str) -> RunEvent:
    """The beginning of a task on host `a`."""
    return RunEvent(
        counter=counter, kind="runner_on_start", at="2026-01-01T12:00:00Z", host="a",
        action=f"tidegate.deploy.{action}", play="", task_id=str(counter), changed=False, failed=False,
        ignored=False, unreachable=False, duration=None, stdout="", data=None,
    )  # fmt: skip


def step(
    name: str, status: str = "succeeded", at: str = "2026-01-01T12:00:00Z", **detail: Any
) -> dict[str, Any]:
    return {
        "step": name,
        "status": status,
        "started_at": at,
        "duration_ms": 5,
        "exit_code": 0,
        "detail": detail,
    }


def work(shop: Installation, kind: str) -> tuple[JobKind, PlaybookRun]:
    """Take the next job, which must be of this kind, as far as its run."""
    lease = shop.claim()
    assert lease is not None and lease.kind == kind
    made = KINDS[kind](shop.core, lease)
    run = made.begin()
    assert run is not None
    return made, run


def previewed(
    shop: Installation, env: str, checks: tuple[dict[str, Any], ...] = (), **asked: Any
) -> dict[str, Any]:
    if asked.pop("kind", "install") == "rollback":
        task = installs.request_rollback(shop.core, operator(shop), env, asked.pop("task_id", None))
    else:
        task = installs.request_preview(shop.core, operator(shop), env, asked)
    kind, run = work(shop, "install_preview")
    kind.record([told(1, step("bundle_verify", "unchanged", digest=DIGEST), action="bundle_verify")])
    document = {"facts": {}, "plan": PLAN, "checks": list(checks), "fingerprint": shop.live}
    assert run.group == "environment_hosts" and run.hosts[0].role == "compose_worker"
    kind.end(RunOutcome("successful", 0, {"a.preflight": document}))
    return installs.await_preview(shop.core, operator(shop), task["task_id"], 0)


def applied(shop: Installation, env: str) -> dict[str, Any]:
    task = previewed(shop, env)
    installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    shop.clock.pass_(seconds=1)
    kind, _run = work(shop, "install")
    kind.record(
        [begun(1, "container_runtime"), told(2, step("container_runtime"), action="container_runtime")]
    )
    kind.end(RunOutcome("successful", 0, {}))
    shop.clock.pass_(seconds=1)
    return installs.get(shop.core, operator(shop), task["task_id"], env)


def names(shop: Installation, task: dict[str, Any]) -> list[str]:
    page = installs.timeline_of(shop.core, operator(shop), task["task_id"], task["environment_id"])
    return [event["action"].removeprefix("environment.install_") for event in page["items"]]


def test_development_needs_nobody(shop: Installation) -> None:
    env = environment(shop)
    task = applied(shop, env)
    assert (task["state"], task["bundle_digest"]) == ("succeeded", DIGEST)
    assert names(shop, task) == [
        "previewed", "requested", "approved", "started", "step_started", "step_succeeded", "succeeded",
    ]  # fmt: skip
    assert environments.get(shop.core, operator(shop), env)["status"] == "ready"


def test_a_step_of_another_runtime_that_is_begun_on_a_host_is_none_of_its_own(shop: Installation) -> None:
    env = environment(shop)
    task = previewed(shop, env)
    installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    kind, _run = work(shop, "install")
    kind.record(
        [begun(1, "container_runtime"), told(2, step("container_runtime"), action="container_runtime")]
    )
    kind.record([begun(3, "control_plane_init")])
    kind.end(RunOutcome("successful", 0, {}))
    found = installs.get(shop.core, operator(shop), task["task_id"], env)
    assert [(one["step"], one["status"]) for one in found["steps"]] == [("container_runtime", "succeeded")]


def test_production_waits_for_somebody_else(shop: Installation) -> None:
    env = environment(shop, "production")
    task = previewed(shop, env)
    waiting = installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    assert (waiting["status"], waiting["approval_required"]) == ("pending_approval", True)
    assert shop.claim() is None
    with refused("self_approval_denied"):
        approvals.approve(shop.core, operator(shop), waiting["approval_ticket"])
    ticket = approvals.approve(shop.core, shop.approver, waiting["approval_ticket"])
    assert (ticket["status"], ticket["scope_type"]) == ("approved", "install")
    assert ticket["release"] is None and ticket["install_task"]["status"] == "queued"
    work(shop, "install")


def test_no_decision_ends_it(shop: Installation) -> None:
    env = environment(shop, "production")
    first = installs.apply(shop.core, operator(shop), env, previewed(shop, env)["preview_ref"])
    approvals.reject(shop.core, shop.approver, first["approval_ticket"], "not today")
    second = installs.apply(shop.core, operator(shop), env, previewed(shop, env)["preview_ref"])
    shop.clock.pass_(hours=1)
    assert approvals.expire_due(shop.core) == 1
    shown = [installs.get(shop.core, operator(shop), one["task_id"], env) for one in (first, second)]
    assert [(one["state"], one["status"]) for one in shown] == [
        ("cancelled", "rejected"),
        ("cancelled", "expired"),
    ]
    assert shop.claim() is None


def test_a_preview_is_good_for_its_time_and_once(shop: Installation) -> None:
    env = environment(shop)
    old = previewed(shop, env)
    shop.clock.pass_(hours=1)
    with refused("preview_expired"):
        installs.apply(shop.core, operator(shop), env, old["preview_ref"])
    assert expiry.expire_install_previews(shop.core) == 1
    with refused("preview_expired"):
        installs.apply(shop.core, operator(shop), env, old["preview_ref"])
    done = applied(shop, env)
    with refused("preview_used"):
        installs.apply(shop.core, operator(shop), env, done["preview_ref"])


def test_a_blocking_check_gives_no_reference(shop: Installation) -> None:
    env = environment(shop)
    check = {"level": "blocking", "code": "storage_full", "message": "no room", "hint": "", "host": "a"}
    task = previewed(shop, env, (check,))
    assert (task["preview_ref"], task["status"]) == (None, "preview_failed")
    with refused("preview_required"):
        installs.apply(shop.core, operator(shop), env, task["preview_ref"])


@pytest.mark.parametrize("moved", ["nodes", "stage", "task", "environment", "kind"])
def test_what_moved_since_refuses(shop: Installation, moved: str) -> None:
    env = environment(shop)
    task = previewed(shop, env)
    if moved == "nodes":
        nodes = [{"host_id": "hst", "role": "compose_manager"}]
        environments.set_nodes(shop.core, operator(shop), env, nodes)
    elif moved == "stage":
        # What was shown for development is no preview of production.
        environments.update(shop.core, operator(shop), env, {"stage": "production"})
    elif moved == "task":
        shop.clock.pass_(seconds=1)
        applied(shop, env)
    other = environment(shop, "staging") if moved == "environment" else env
    kind = "rollback" if moved == "kind" else "install"
    key = "preview_mismatch" if moved in ("environment", "kind") else "preview_stale"
    with refused(key):
        installs.apply(shop.core, operator(shop), other, task["preview_ref"], kind)


def test_a_failed_step_is_kept_and_gone_on_with(shop: Installation) -> None:
    env = environment(shop)
    task = previewed(shop, env)
    installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    kind, _run = work(shop, "install")
    delivered = step("bundle_delivery")
    broken = step("container_runtime", "failed", error_key="storage_full", remediation="Make room.")
    kind.record([told(1, delivered, action="bundle_delivery"), begun(2, "container_runtime")])
    kind.record(
        [told(3, delivered, broken, action="container_runtime", error_key="storage_full", msg="no room")]
    )
    kind.end(RunOutcome("failed", 2, {}))
    failed = installs.get(shop.core, operator(shop), task["task_id"], env)
    assert (failed["state"], failed["diagnostics_json"]["error_key"]) == ("failed", "storage_full")
    assert [(one["step"], one["status"]) for one in failed["steps"]] == [
        ("bundle_delivery", "succeeded"), ("container_runtime", "failed"),
    ]  # fmt: skip
    assert failed["steps"][1]["remediation"] == "Make room."
    assert environments.get(shop.core, operator(shop), env)["status"] == "failed"

    shop.clock.pass_(seconds=1)
    installs.retry(shop.core, operator(shop), task["task_id"], env)
    kind, run = work(shop, "install")
    spec = run.documents["environment_spec_file"]
    assert (spec["resume"], spec["begun"]) == ({"a": ["bundle_delivery"]}, ["a"])
    assert spec["expect"] == {"bundle_digest": DIGEST, "fingerprints": {"a": shop.live}}
    later = step("container_runtime", at="2026-01-01T12:00:09Z")
    kind.record([begun(1, "container_runtime"), told(2, later, action="container_runtime")])
    kind.end(RunOutcome("successful", 0, {}))
    done = installs.get(shop.core, operator(shop), task["task_id"], env)
    assert (done["state"], done["steps"][1]["attempt"], done["steps"][1]["remediation"]) == (
        "succeeded",
        2,
        None,
    )
    with refused("conflict"):
        installs.retry(shop.core, operator(shop), task["task_id"], env)


def test_what_moved_before_anything_was_begun_is_refused_by_a_retry_too(shop: Installation) -> None:
    env = environment(shop)
    task = previewed(shop, env)
    installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    kind, _run = work(shop, "install")
    kind.record([told(1, step("bundle_verify", "unchanged", digest=DIGEST), action="bundle_verify")])
    stale = step("preflight", "failed", error_key="preview_stale")
    kind.record([begun(2, "environment_preflight"), told(3, stale, action="environment_preflight")])
    kind.end(RunOutcome("failed", 2, {}))
    assert environments.get(shop.core, operator(shop), env)["status"] == "draft"

    shop.clock.pass_(seconds=1)
    installs.retry(shop.core, operator(shop), task["task_id"], env)
    _kind, run = work(shop, "install")
    spec = run.documents["environment_spec_file"]
    assert (spec["resume"], spec["begun"]) == ({}, [])
    assert spec["expect"]["fingerprints"] == {"a": shop.live}


def test_an_environment_that_a_refused_install_did_not_touch_stays_ready(shop: Installation) -> None:
    env = environment(shop)
    applied(shop, env)
    task = previewed(shop, env)
    installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    kind, _run = work(shop, "install")
    full = step("preflight", "failed", error_key="storage_full")
    kind.record([begun(1, "environment_preflight"), told(2, full, action="environment_preflight")])
    kind.end(RunOutcome("failed", 2, {}))
    assert installs.get(shop.core, operator(shop), task["task_id"], env)["state"] == "failed"
    assert environments.get(shop.core, operator(shop), env)["status"] == "ready"


def while_(counter: int, name: str, **more: Any) -> RunEvent:
    """What the task of the hooks says of one while it works."""
    data = {"schema": "tidegate.progress/v1", "host": "a", "object": name, "progress": "said", **more}
    event = told(counter, action="environment_hooks")
    return replace(event, kind="runner_item_on_ok", data=data, stdout="")


def test_a_hook_is_under_way_until_it_ends_and_is_broken_off_with_its_task(shop: Installation) -> None:
    env = environment(shop)
    task = previewed(shop, env)
    installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    kind, _run = work(shop, "install")

    def steps() -> list[tuple[str, str, str | None]]:
        found = installs.get(shop.core, operator(shop), task["task_id"], env)["steps"]
        return [(one["step"], one["status"], one["error_key"]) for one in found]

    kind.record([begun(1, "environment_hooks"), while_(2, "first", begins=True)])
    assert steps() == [("first", "running", None)]
    first = step("first", log="[INFO] a=b\n")
    kind.record([while_(3, "first", steps=[first]), while_(4, "second", begins=True)])
    assert steps() == [("first", "succeeded", None), ("second", "running", None)]
    kind.refuse("worker_lost", "its worker is gone")
    assert steps()[1] == ("second", "failed", "worker_lost")
    assert names(shop, task)[-4:] == ["step_started", "step_succeeded", "step_started", "failed"]
    logs = installs.logs(shop.core, operator(shop), task["task_id"], env)["items"]
    assert [one["stdout"] for one in logs] == ["[INFO] a=b"]


def test_a_retry_knows_what_the_hooks_before_it_told(shop: Installation) -> None:
    env = environment(shop)
    task = previewed(shop, env)
    installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    kind, _run = work(shop, "install")
    first = step("first", outputs={"colour": "blue"}, lines=[])
    plain, broken = step("plain", outputs={}), step("second", "failed", outputs={"half": "1"})
    kind.record([told(1, first, plain, broken, action="environment_hooks", error_key="hook_failed")])
    kind.end(RunOutcome("failed", 2, {}))
    shop.clock.pass_(seconds=1)
    installs.retry(shop.core, operator(shop), task["task_id"], env)
    kind, run = work(shop, "install")
    assert run.documents["environment_spec_file"]["outputs"] == {"a": {"first": {"colour": "blue"}}}
    kind.record([told(1, step("second", at="2026-01-01T12:00:09Z"), action="environment_hooks")])
    kind.end(RunOutcome("successful", 0, {}))
    done = installs.get(shop.core, operator(shop), task["task_id"], env)["steps"]
    assert [(one["step"], one["status"], one["attempt"]) for one in done] == [
        ("first", "succeeded", 1), ("plain", "succeeded", 1), ("second", "succeeded", 2),
    ]  # fmt: skip
    assert done[0]["detail"] == {"outputs": {"colour": "blue"}, "lines": []}


def test_a_rollback_undoes_the_newest_install(shop: Installation) -> None:
    env = environment(shop)
    with refused("not_found"):
        installs.request_rollback(shop.core, operator(shop), env)
    done = applied(shop, env)
    task = previewed(shop, env, kind="rollback")
    assert (task["kind"], task["undoes"]) == ("rollback", done["task_id"])
    assert task["preview"]["risk_reasons"] == ["something that runs would be deleted"]
    with refused("preview_mismatch"):
        installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    installs.apply(shop.core, operator(shop), env, task["preview_ref"], "rollback")
    kind, run = work(shop, "install")
    assert run.playbook == "environment_rollback.yml"
    kind.end(RunOutcome("successful", 0, {}))
    assert installs.get(shop.core, operator(shop), done["task_id"], env)["state"] == "rolled_back"
    assert environments.get(shop.core, operator(shop), env)["status"] == "draft"


def rolled_back(shop: Installation, env: str, task: dict[str, Any]) -> dict[str, Any]:
    """Apply the preview of a rollback to its end; return what the hosts were told of it."""
    installs.apply(shop.core, operator(shop), env, task["preview_ref"], "rollback")
    shop.clock.pass_(seconds=1)
    kind, run = work(shop, "install")
    kind.end(RunOutcome("successful", 0, {}))
    shop.clock.pass_(seconds=1)
    return dict(run.documents["environment_spec_file"]["rollback"])


def test_a_rollback_leaves_what_an_earlier_install_made(shop: Installation) -> None:
    env = environment(shop)
    first, second = applied(shop, env), applied(shop, env)
    task = previewed(shop, env, kind="rollback")
    assert task["undoes"] == second["task_id"]
    (said,) = [one["message"] for one in task["preview"]["checks"]]
    assert first["task_id"] in said and "stays" in said
    assert rolled_back(shop, env, task) == {"undoes": tasks(second)}
    assert environments.get(shop.core, operator(shop), env)["status"] == "ready"
    states = {one: installs.get(shop.core, operator(shop), one, env)["state"] for one in tasks(first, second)}
    assert states == {first["task_id"]: "succeeded", second["task_id"]: "rolled_back"}
    task = previewed(shop, env, kind="rollback")
    assert task["undoes"] == first["task_id"]
    assert rolled_back(shop, env, task) == {"undoes": None}
    assert environments.get(shop.core, operator(shop), env)["status"] == "draft"


def test_an_install_that_is_undone_takes_with_it_those_that_came_after(shop: Installation) -> None:
    env = environment(shop)
    first, second, third = applied(shop, env), applied(shop, env), applied(shop, env)
    task = previewed(shop, env, kind="rollback", task_id=second["task_id"])
    said = " ".join(one["message"] for one in task["preview"]["checks"])
    assert third["task_id"] in said
    assert rolled_back(shop, env, task) == {"undoes": tasks(second, third)}
    fourth = applied(shop, env)
    task = previewed(shop, env, kind="rollback", task_id=first["task_id"])
    assert rolled_back(shop, env, task) == {"undoes": None}
    for one in tasks(first, second, third, fourth):
        assert installs.get(shop.core, operator(shop), one, env)["state"] == "rolled_back"
    assert environments.get(shop.core, operator(shop), env)["status"] == "draft"


def test_a_rollback_that_the_hosts_cannot_do_gets_no_reference(shop: Installation) -> None:
    env = environment(shop)
    applied(shop, env)
    check = {"level": "blocking", "code": "conflict", "message": "", "hint": "", "host": "a"}
    assert previewed(shop, env, (check,), kind="rollback")["preview_ref"]
    task = previewed(shop, env, ({**check, "check": "rollback"},), kind="rollback")
    assert (task["status"], task["preview_ref"]) == ("preview_failed", None)


def tasks(*made: dict[str, Any]) -> list[str]:
    return [str(one["task_id"]) for one in made]


def test_two_at_once_are_refused_and_hosts_are_locked(shop: Installation) -> None:
    env = environment(shop)
    first, second = previewed(shop, env), previewed(shop, env)

    def start(task: dict[str, Any]) -> str:
        try:
            return str(installs.apply(shop.core, operator(shop), env, task["preview_ref"])["status"])
        except Problem as problem:
            return problem.error_key

    with ThreadPoolExecutor() as pool:
        found = sorted(pool.map(start, (first, second)))
    assert found == ["conflict", "queued"]
    with refused("conflict"):
        installs.request_preview(shop.core, operator(shop), env, {})
    lease = shop.claim()
    assert lease is not None
    with shop.core.database.read() as session:
        assert session.get_one(jobs.Job, lease.job_id).resources == ["host:hst"]


def test_a_lost_worker_s_task_is_taken_up_or_ends(shop: Installation) -> None:
    env = environment(shop)
    task = previewed(shop, env)
    installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    kind, _run = work(shop, "install")
    kind.record([begun(1, "container_runtime")])
    shop.clock.pass_(minutes=5)
    again, run = work(shop, "install")
    with pytest.raises(LeaseLost):
        kind.end(RunOutcome("successful", 0, {}))
    assert run.documents["environment_spec_file"]["resume"] == {}
    shop.clock.pass_(minutes=5)
    work(shop, "install")
    shop.clock.pass_(minutes=5)
    assert expiry.end_abandoned(shop.core) == 1
    lost = installs.get(shop.core, operator(shop), task["task_id"], env)
    assert (lost["state"], lost["diagnostics_json"]["failure_domain"]) == ("failed", "lost")
    assert [(one["status"], one["error_key"]) for one in lost["steps"]] == [("failed", "worker_lost")]
    del again


def test_it_is_cancelled_before_and_while_it_runs(shop: Installation) -> None:
    env = environment(shop)
    early = previewed(shop, env)
    cancelled = installs.cancel(shop.core, operator(shop), early["task_id"], env)
    assert (cancelled["state"], cancelled["status"]) == ("cancelled", "cancelled")
    with refused("preview_used"):
        installs.apply(shop.core, operator(shop), env, early["preview_ref"])
    task = previewed(shop, env)
    installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    kind, _run = work(shop, "install")
    assert installs.cancel(shop.core, operator(shop), task["task_id"], env)["status"] == "cancelling"
    kind.end(RunOutcome("canceled", 254, {}))
    ended = installs.get(shop.core, operator(shop), task["task_id"], env)
    assert (ended["state"], ended["diagnostics_json"]["failure_domain"]) == ("failed", "cancelled")
    with refused("conflict"):
        installs.cancel(shop.core, operator(shop), task["task_id"], env)


@pytest.mark.parametrize("ended_by", ["outcome", "refusal"])
def test_it_is_cancelled_while_its_hosts_are_looked_at(shop: Installation, ended_by: str) -> None:
    env = environment(shop)
    task = installs.request_preview(shop.core, operator(shop), env, {})
    kind, _run = work(shop, "install_preview")
    installs.cancel(shop.core, operator(shop), task["task_id"], env)
    if ended_by == "outcome":
        document = {"facts": {}, "plan": PLAN, "checks": [], "fingerprint": shop.live}
        kind.end(RunOutcome("successful", 0, {"a.preflight": document}))
    else:
        kind.refuse("internal_error", "the worker could not")
    ended = installs.get(shop.core, operator(shop), task["task_id"], env)
    assert (ended["state"], ended["status"], ended["preview_ref"]) == ("cancelled", "cancelled", None)
    assert [(one["state"], one["outcome"]) for one in ended["jobs"]] == [("done", "cancelled")]


ASKS: list[Callable[[Installation, Actor, str, str], Any]] = [
    lambda shop, actor, env, _task: installs.request_preview(shop.core, actor, env, {}),
    lambda shop, actor, env, _task: installs.request_rollback(shop.core, actor, env),
    lambda shop, actor, env, task: installs.cancel(shop.core, actor, task, env),
    lambda shop, actor, env, task: installs.retry(shop.core, actor, task, env),
]


@pytest.mark.parametrize("ask", ASKS, ids=["preview", "rollback", "cancel", "retry"])
def test_it_needs_the_permission_to_install(shop: Installation, ask: Callable[..., Any]) -> None:
    env = environment(shop)
    task = applied(shop, env)
    with refused("permission_denied"):
        ask(shop, shop.releaser, env, task["task_id"])
    stranger = shop.actor("stranger", "operator", project="other")
    with refused("not_found"):
        ask(shop, stranger, env, task["task_id"])
    other = environment(shop, "staging")
    with refused("not_found"):
        installs.get(shop.core, operator(shop), task["task_id"], other)


def test_somebody_else_s_environment_is_left_alone(shop: Installation) -> None:
    env = environment(shop, mode="external_managed")
    with refused("conflict"):
        installs.request_preview(shop.core, operator(shop), env, {})


def test_an_environment_is_deleted_with_its_tasks_but_not_while_one_is_at_work(shop: Installation) -> None:
    env = environment(shop)
    applied(shop, env)
    task = previewed(shop, env)
    with refused("resource_in_use"):
        environments.delete(shop.core, operator(shop), env)
    installs.cancel(shop.core, operator(shop), task["task_id"], env)
    environments.delete(shop.core, operator(shop), env)
    with refused("not_found"):
        installs.list_(shop.core, operator(shop), env, {}, PageRequest())


def test_what_a_hook_says_is_in_the_log_line_by_line_and_once(shop: Installation) -> None:
    env = environment(shop)
    task = previewed(shop, env)
    installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    kind, _run = work(shop, "install")
    lines = [{"level": "INFO", "key": "version", "value": "28"}]
    log = "[INFO] version=28\nplain one\nplain two\n[ERROR] disk=full\n"
    done = step("hooked", lines=lines, log=log)
    kind.record([told(1, done, action="environment_hooks"), told(2, done, action="environment_hooks")])
    kind.record([told(3, done, action="environment_hooks")])
    kind.end(RunOutcome("successful", 0, {}))

    def logged(q: str | None = None, **page: int) -> list[str]:
        found = installs.logs(shop.core, operator(shop), task["task_id"], env, q=q, **page)
        return [one["stdout"] for one in found["items"]]

    words = "environment_hooks said so"
    said = ["[INFO] version=28", "plain one\nplain two", "[ERROR] disk=full"]
    assert logged() == [words, *said, words, words]
    assert logged("DISK=") == ["[ERROR] disk=full"]
    shown = installs.get(shop.core, operator(shop), task["task_id"], env)["steps"][0]
    assert shown["detail"] == {"lines": lines}
    first = installs.logs(shop.core, operator(shop), task["task_id"], env, limit=2)
    assert logged(after=first["next"]) == [*said[1:], words, words]


def test_the_log_is_searched(shop: Installation) -> None:
    env = environment(shop)
    task = applied(shop, env)
    page = installs.logs(shop.core, operator(shop), task["task_id"], env, q="CONTAINER_runtime")
    assert [one["stdout"] for one in page["items"]] == ["container_runtime said so"]
    assert installs.logs(shop.core, operator(shop), task["task_id"], env, q="100%")["items"] == []
