# SPDX-License-Identifier: Apache-2.0
"""Launching: the gate holds whatever is sent, and a job is told of as it goes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import delete, event, func, select

from controlplane.awx import deliveries, launching, templates
from controlplane.awx.about import Asked
from controlplane.awx.launching import Origin
from controlplane.domain.errors import Problem
from controlplane.ports.runner import RunOutcome
from controlplane.services import approvals, releases
from controlplane.services.job_kinds import KINDS
from controlplane.store.tables import AwxId, AwxJob, Event, Job, Release
from tests.awx.conftest import SCHEMA, Asker, Door, extra_token
from tests.services.installation import an_event


def count(door: Door, table: Any) -> int:
    with door.core.database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def apply_jobs(door: Door) -> int:
    with door.core.database.read() as session:
        return session.scalar(select(func.count()).select_from(Job).where(Job.kind == "apply")) or 0


def release_of(job: Any) -> str:
    return str(job["artifacts"]["tidegate"]["release_id"])


def test_a_launch_is_previewed_asked_for_and_applied(door: Door) -> None:
    job = door.launch()
    assert (job["type"], job["job"], job["status"]) == ("job", job["id"], "pending")
    assert job["name"] == "shop / shop / development"
    launching.ask_where_previewed(door.core)
    assert apply_jobs(door) == 0
    door.made.work_preview()
    launching.ask_where_previewed(door.core)
    asked = door.job(job["id"])
    assert (asked["status"], asked["finished"], asked["event_processing_finished"]) == (
        "waiting",
        None,
        False,
    )
    door.made.work_apply()
    ended = door.job(job["id"])
    assert (ended["status"], ended["failed"], ended["event_processing_finished"]) == (
        "successful",
        False,
        True,
    )
    assert ended["started"]
    assert ended["finished"]
    assert ended["job_explanation"] == ""


def test_events_say_that_it_came_through_this_door(door: Door) -> None:
    job = door.previewed()
    with door.core.database.read() as session:
        found = session.execute(
            select(Event.action, Event.source, Event.actor_id).where(Event.resource_id == release_of(job))
        ).all()
    asked = [row for row in found if row.action == "release.apply_requested"]
    assert [(row.source, row.actor_id) for row in asked] == [("awx", door.releaser.caller.id)]


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"approval": "skip", "force": True, "preview_ref": "pvw_x", "approved": True, "stage": "development"},
        {"ask_variables_on_launch": True, "diff_mode": False, "verbosity": 4, "become_enabled": True},
        {"extra_vars": {"greeting": "stage: development"}},
    ],
)
def test_a_production_template_runs_nothing_without_a_decision(door: Door, flags: dict[str, Any]) -> None:
    job = door.previewed("production", flags)
    assert job["status"] == "pending"
    ticket = job["artifacts"]["tidegate"]["approval_ticket"]
    assert ticket in job["job_explanation"]
    assert f"/api/v1/approvals/inbox/{ticket}" in job["job_explanation"]
    for _ in range(3):
        launching.ask_where_previewed(door.core)
    assert apply_jobs(door) == 0
    assert door.made.claim() is None
    assert door.job(job["id"])["started"] is None


def test_an_approved_one_is_applied_and_a_rejected_one_has_failed(door: Door) -> None:
    first, second = door.previewed("production"), door.previewed("production")
    approvals.decide_release(door.core, door.made.approver, release_of(first), "approve", "looks right")
    approvals.decide_release(door.core, door.made.approver, release_of(second), "reject", "not today")
    assert door.job(first["id"])["status"] == "waiting"
    door.made.work_apply()
    assert door.job(first["id"])["status"] == "successful"
    rejected = door.job(second["id"])
    assert (rejected["status"], rejected["failed"], rejected["event_processing_finished"]) == (
        "failed",
        True,
        True,
    )
    assert "rejected" in rejected["job_explanation"]
    assert second["artifacts"]["tidegate"]["approval_ticket"] in rejected["job_explanation"]


def test_a_ticket_that_nobody_decided_is_a_failed_job(door: Door) -> None:
    job = door.previewed("production")
    door.made.clock.pass_(hours=1)
    approvals.expire_due(door.core)
    told = door.job(job["id"])
    assert told["status"] == "failed"
    assert "expired" in told["job_explanation"]


def test_who_launched_it_cannot_decide_it(door: Door) -> None:
    approver = door.person("both", "admin")
    job = door.previewed("production", by=approver)
    answer = approver.caller.post(
        f"/approvals/inbox/{job['artifacts']['tidegate']['approval_ticket']}/approve", {"comment": "mine"}
    )
    assert (answer.status_code, answer.json["error_key"]) == (403, "self_approval_denied")


def test_a_token_that_was_revoked_meanwhile_applies_nothing(door: Door) -> None:
    job = door.launch()
    door.made.work_preview()
    door.revoke(door.releaser)
    launching.ask_where_previewed(door.core)
    door.releaser = door.person("reader", "viewer")
    told = door.job(job["id"])
    assert told["status"] == "failed"
    assert "revoked" in told["job_explanation"]
    assert apply_jobs(door) == 0


def test_a_user_who_was_disabled_or_lost_the_role_meanwhile_applies_nothing(door: Door) -> None:
    leaver = door.person("leaver")
    job = door.launch(by=leaver)
    door.made.work_preview()
    door.disable(leaver)
    launching.ask_where_previewed(door.core)
    assert door.job(job["id"])["status"] == "failed"
    assert apply_jobs(door) == 0


def test_a_token_of_narrow_scopes_stays_narrow_when_the_scheduler_asks(door: Door) -> None:
    narrow = door.person(
        "narrow", scopes=["deploy:release:read", "deploy:target:read", "deploy:compose:read"]
    )
    answer = narrow.post(f"job_templates/{door.template['development']}/launch/")
    assert answer.status_code == 403
    assert count(door, AwxJob) == 0


def test_a_viewer_launches_nothing_and_another_project_is_not_there(door: Door) -> None:
    path = f"job_templates/{door.template['development']}/launch/"
    assert door.person("viewer", "viewer").post(path).status_code == 403
    elsewhere = door.person("elsewhere", project=door.people.project("other"))
    assert elsewhere.post(path).status_code == 404
    assert elsewhere.get(f"job_templates/{door.template['development']}/").status_code == 404
    assert elsewhere.get("job_templates/").json["count"] == 0
    job = door.launch()
    for rest in ("", "stdout/", "job_events/", "cancel/", "relaunch/"):
        assert elsewhere.get(f"jobs/{job['id']}/{rest}").status_code == 404
    for rest in ("cancel/", "relaunch/"):
        assert elsewhere.post(f"jobs/{job['id']}/{rest}").status_code == 404
    assert count(door, Release) == 1


def test_a_bad_token_is_told_so(door: Door) -> None:
    answer = door.app.test_client().get("/api/v2/jobs/", headers={"Authorization": "Bearer tg_wrong"})
    assert answer.status_code == 401
    assert answer.json["detail"]


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"limit": "a"}, "limit", "all hosts"),
        ({"job_tags": "web"}, "job_tags", "tags"),
        ({"skip_tags": "web"}, "skip_tags", "tags"),
        ({"job_type": "check"}, "job_type", "run"),
        ({"inventory": 4711}, "inventory", "target"),
        ({"extra_vars": {"port": "many"}}, "extra_vars", "'port'"),
        ({"extra_vars": {"nonsense": 1}}, "extra_vars", "'nonsense'"),
        ({"extra_vars": {"colour": "green"}}, "extra_vars", "'colour'"),
        ({"extra_vars": "[1, 2]"}, "extra_vars", "mapping"),
        ({"extra_vars": "a: [1"}, "extra_vars", "neither JSON nor YAML"),
        ({"extra_vars": "!!python/object/apply:os.system ['id']"}, "extra_vars", "tag"),
        ({"scm_branch": 7}, "scm_branch", "version"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_by_name(door: Door, body: Any, field: str, said: str) -> None:
    answer = door.releaser.post(f"job_templates/{door.template['development']}/launch/", body)
    assert answer.status_code == 400, answer.text
    assert said in str(answer.json[field])
    assert count(door, Release) == 0
    assert count(door, AwxJob) == 0


def test_what_means_nothing_here_is_listed_and_changes_nothing(door: Door) -> None:
    job = door.launch(body={"verbosity": 3, "credentials": [1], "extra_vars": {}})
    assert job["ignored_fields"] == {"verbosity": 3, "credentials": [1]}


@pytest.mark.parametrize("text", ['{"port": 81, "debug": true}', "port: 81\ndebug: true\n"])
def test_variables_come_as_json_or_yaml_text(door: Door, text: str) -> None:
    job = door.launch(body={"extra_vars": text})
    given = json.loads(job["extra_vars"])
    assert (given["port"], given["debug"]) == (81, True)


def test_yaml_that_grows_is_not_read(door: Door) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    answer = door.releaser.post(f"job_templates/{door.template['development']}/launch/", {"extra_vars": bomb})
    assert answer.status_code == 400


def test_a_secret_is_shown_nowhere(door: Door) -> None:
    job = door.previewed(body={"extra_vars": {"password": "canary-4711"}})
    door.made.work_apply()
    again = door.releaser.post(f"jobs/{job['id']}/relaunch/")
    for path in ("", "stdout/", "job_events/"):
        assert "canary-4711" not in door.releaser.get(f"jobs/{job['id']}/{path}").text
    assert "canary-4711" not in door.releaser.get("jobs/").text + again.text
    assert json.loads(again.json["extra_vars"])["password"] == "$encrypted$"


def test_a_version_is_chosen_as_a_branch(door: Door) -> None:
    assert door.launch()["scm_branch"] == "3"
    assert door.launch(body={"scm_branch": "1"})["scm_branch"] == "1"
    answer = door.releaser.post(f"job_templates/{door.template['development']}/launch/", {"scm_branch": "77"})
    assert answer.status_code == 404
    assert "77" in answer.json["detail"]


def test_the_same_request_id_is_one_job(door: Door) -> None:
    first = door.launch(body={"extra_vars": {"port": 81}}, X_Request_ID="ci-4711")
    again = door.launch(body={"extra_vars": {"port": 81}}, X_Request_ID="ci-4711")
    other = door.launch(body={"extra_vars": {"port": 82}}, X_Request_ID="ci-4711")
    somebody = door.launch(
        body={"extra_vars": {"port": 81}}, by=door.person("second"), X_Request_ID="ci-4711"
    )
    assert first["id"] == again["id"]
    assert len({first["id"], other["id"], somebody["id"]}) == 3
    assert count(door, Release) == 3
    relaunched = [
        door.releaser.post(f"jobs/{first['id']}/relaunch/", X_Request_ID="ci-9").json["id"] for _ in range(2)
    ]
    assert len(set(relaunched)) == 1
    assert count(door, Release) == 4


def test_an_idempotency_key_is_one_job(door: Door) -> None:
    first = door.launch(Idempotency_Key="once")
    assert door.launch(Idempotency_Key="once")["id"] == first["id"]
    assert count(door, Release) == 1


def test_a_refused_request_id_can_be_tried_again(door: Door) -> None:
    path = f"job_templates/{door.template['development']}/launch/"
    assert door.releaser.post(path, {"extra_vars": {"port": "x"}}, X_Request_ID="a").status_code == 400
    assert count(door, AwxJob) == 0


def test_a_launch_and_its_job_are_there_together_or_not_at_all(door: Door) -> None:
    template = templates.load(door.core, door.made.releaser, str(door.template["development"]))

    def fail(_session: Any, _job: AwxJob) -> None:
        raise Problem("conflict", "the power went")

    with pytest.raises(Problem, match="conflict"):
        launching.launch(door.core, door.made.releaser, template, Asked(), Origin(request_key="k", also=fail))
    assert (count(door, Release), count(door, Job), count(door, AwxJob)) == (0, 0, 0)
    number = launching.launch(door.core, door.made.releaser, template, Asked(), Origin(request_key="k"))
    assert (
        launching.launch(door.core, door.made.releaser, template, Asked(), Origin(request_key="k")) == number
    )
    assert (count(door, Release), count(door, Job), count(door, AwxJob)) == (1, 1, 1)


def test_a_launch_is_on_disk_once(door: Door) -> None:
    """A commit waits for the disk: what a launch writes is one."""
    door.launch()
    commits: list[str] = []
    event.listen(door.core.database.engine, "commit", lambda _connection: commits.append("commit"))
    door.launch()
    door.launch(X_Request_ID="ci-1")
    assert len(commits) == 2


def test_many_at_once_with_one_request_id_are_one_job(door: Door) -> None:
    askers = [extra_token(door, door.releaser) for _ in range(6)]

    def launch(asker: Asker) -> int:
        path = f"job_templates/{door.template['development']}/launch/"
        answer = asker.post(path, {}, X_Request_ID="race")
        assert answer.status_code == 201, answer.text
        return int(answer.json["id"])

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(launch, askers))) == 1
    assert count(door, Release) == 1


def test_a_preview_that_shows_what_stands_against_it_has_failed(door: Door) -> None:
    job = door.launch()
    check = {"level": "blocking", "code": "image_missing", "message": "shop:3 is not there", "hint": ""}
    door.made.work_preview(checks=[check])
    launching.ask_where_previewed(door.core)
    told = door.job(job["id"])
    assert (told["status"], told["event_processing_finished"]) == ("failed", True)
    assert "image_missing: shop:3 is not there" in told["job_explanation"]
    assert told["finished"]
    door.made.clock.pass_(hours=2)
    assert door.job(job["id"])["finished"] == told["finished"]


def test_a_failed_release_is_a_failed_job_that_says_why(door: Door) -> None:
    job = door.previewed()
    door.made.work_apply("failed", {"error_key": "compose_unhealthy", "message": "web is not healthy"})
    told = door.job(job["id"])
    assert (told["status"], told["failed"]) == ("failed", True)
    assert told["job_explanation"]


def test_one_that_waits_for_a_lock_is_pending_and_names_the_holder(door: Door) -> None:
    jobs = [door.launch("development"), door.launch("staging")]
    for _ in jobs:
        door.made.work_preview()
    launching.ask_where_previewed(door.core)
    holder = door.made.claim()
    assert holder is not None
    assert door.made.claim() is None
    told = door.job(jobs[1]["id"])
    assert told["status"] == "pending"
    assert holder.job_id in told["job_explanation"]


def test_cancel_before_the_preview_applies_nothing(door: Door) -> None:
    job = door.launch()
    assert door.releaser.get(f"jobs/{job['id']}/cancel/").json == {"can_cancel": True}
    assert door.releaser.post(f"jobs/{job['id']}/cancel/").status_code == 202
    door.made.work_preview()
    launching.ask_where_previewed(door.core)
    assert door.job(job["id"])["status"] == "canceled"
    assert door.releaser.get(f"jobs/{job['id']}/cancel/").json == {"can_cancel": False}
    assert apply_jobs(door) == 0
    again = door.releaser.post(f"jobs/{job['id']}/cancel/")
    assert (again.status_code, again.json["error_key"]) == (409, "release_state_invalid")


def test_cancel_voids_the_ticket_and_ends_what_waits(door: Door) -> None:
    waiting = door.previewed("production")
    assert door.releaser.post(f"jobs/{waiting['id']}/cancel/").status_code == 202
    assert door.job(waiting["id"])["status"] == "canceled"
    with pytest.raises(Problem):
        approvals.decide_release(door.core, door.made.approver, release_of(waiting), "approve", "too late")
    assert door.made.claim() is None


def test_who_may_only_read_cancels_nothing(door: Door) -> None:
    job = door.launch()
    assert door.person("viewer", "viewer").post(f"jobs/{job['id']}/cancel/").status_code == 403
    assert door.job(job["id"])["status"] == "pending"


def test_what_was_canceled_and_applied_through_another_door_is_what_it_is(door: Door) -> None:
    job = door.launch()
    door.releaser.post(f"jobs/{job['id']}/cancel/")
    door.made.work_preview()
    shown = door.releaser.caller.get(f"/deploy/releases/{release_of(job)}").json
    releases.apply(door.core, door.made.releaser, shown["preview_ref"], {})
    assert door.job(job["id"])["status"] == "waiting"


def test_a_relaunch_asks_for_the_same_with_a_gate_of_its_own(door: Door) -> None:
    job = door.previewed("production", {"scm_branch": "2", "extra_vars": {"port": 99}})
    again = door.releaser.post(f"jobs/{job['id']}/relaunch/").json
    assert again["id"] != job["id"]
    assert (again["launch_type"], again["scm_branch"]) == ("relaunch", "2")
    assert json.loads(again["extra_vars"])["port"] == 99
    door.made.work_preview()
    launching.ask_where_previewed(door.core)
    told = door.job(again["id"])
    assert told["status"] == "pending"
    assert told["artifacts"]["tidegate"]["approval_ticket"] != job["artifacts"]["tidegate"]["approval_ticket"]
    refused = door.releaser.post(f"jobs/{job['id']}/relaunch/", {"hosts": "failed"})
    assert refused.status_code == 400


class Running:
    """A job whose release is applied right now, as a worker does it."""

    def __init__(self, door: Door) -> None:
        self.job = door.previewed()
        lease = door.made.claim()
        assert lease is not None
        assert lease.kind == "apply"
        self.kind = KINDS[lease.kind](door.core, lease)
        assert self.kind.begin() is not None

    def print(self, counter: int, step: str) -> None:
        """Have a step print its line."""
        steps = [{"step": step, "status": "succeeded"}]
        self.kind.record([an_event(counter, data={"changed": True, "steps": steps}, changed=True)])

    def end(self, status: str) -> None:
        """Have the run end."""
        live = {"services": [{"name": "web", "running": 1}]}
        results = {"a.apply": {"live": live}} if status == "successful" else {}
        following = self.kind.end(RunOutcome(status, 0 if status == "successful" else 1, results))
        if following is not None:
            assert following.playbook == "release_cancel.yml"
            self.kind.end(RunOutcome("successful", 0, {"a.cancel": {"ended": True}}))


def test_nothing_that_a_running_job_is_of_can_be_deleted(door: Door) -> None:
    running = Running(door)
    root = door.person("root", "admin", project=None).caller
    for path in (
        "/deploy/targets/tgt_development", "/services/svc", "/environments/env_development", "/projects/prj",
    ):  # fmt: skip
        answer = root.delete(path)
        assert (answer.status_code, answer.json["error_key"]) == (409, "resource_in_use"), (path, answer.text)
    assert door.job(running.job["id"])["status"] == "running"
    running.end("successful")
    assert door.job(running.job["id"])["status"] == "successful"


@pytest.mark.parametrize("end", ["successful", "failed", "canceled"])
def test_a_template_that_goes_while_its_job_runs_takes_nothing_of_it_along(door: Door, end: str) -> None:
    """No service lets that happen; whoever restores a part of a database may."""
    running = Running(door)
    number, template = running.job["id"], running.job["job_template"]
    running.print(1, "images_pull")
    with door.core.database.write() as session:
        session.execute(delete(AwxId).where(AwxId.id == template))
    for rest in ("", "launch/", "survey_spec/", "jobs/"):
        assert door.releaser.get(f"job_templates/{template}/{rest}").status_code == 404
    assert door.releaser.post(f"job_templates/{template}/launch/").status_code == 404
    job = door.job(number)
    assert (job["status"], job["name"], job["event_processing_finished"]) == (
        "running", "shop / shop / development", False,
    )  # fmt: skip
    assert [each["id"] for each in door.releaser.get("jobs/", job_template=template).json["results"]] == [
        number
    ]
    events = door.releaser.get(f"jobs/{number}/job_events/", order_by="start_line").json["results"]
    assert [each["stdout"] for each in events] == ["ok: [a]"]
    running.print(2, "project_up")
    since = {"order_by": "start_line", "start_line__gte": events[-1]["end_line"]}
    more = door.releaser.get(f"jobs/{number}/job_events/", **since).json["results"]
    assert [(each["counter"], each["start_line"]) for each in more] == [(2, events[-1]["end_line"])]
    assert door.releaser.get(f"jobs/{number}/cancel/").json == {"can_cancel": True}
    if end == "canceled":
        assert door.releaser.post(f"jobs/{number}/cancel/").status_code == 202
    running.end(end)
    deliveries.note_changes(door.core)
    ended = door.job(number)
    assert (ended["status"] == "successful") is (end == "successful"), ended
    assert ended["status"] in ("error", "failed") if end == "failed" else ended["status"] == end
    assert (ended["event_processing_finished"], bool(ended["finished"])) == (True, True)
    assert door.releaser.get(f"jobs/{number}/stdout/").text == "ok: [a]\nok: [a]\n"
    assert door.releaser.post(f"jobs/{number}/relaunch/").status_code == 404
    # It comes back under a number of its own: the old one is never used again.
    found = {each["name"]: each["id"] for each in door.releaser.get("job_templates/").json["results"]}
    assert found["shop / shop / development"] > max(door.template.values())


def test_the_launch_document_and_the_survey_tell_what_is_asked_for(door: Door) -> None:
    path = f"job_templates/{door.template['development']}"
    document = door.releaser.get(f"{path}/launch/").json
    assert document["ask_variables_on_launch"] is True
    assert document["ask_limit_on_launch"] is False
    assert document["variables_needed_to_start"] == []
    survey = {each["variable"]: each for each in door.releaser.get(f"{path}/survey_spec/").json["spec"]}
    assert set(survey) == set(SCHEMA)
    assert (survey["port"]["type"], survey["port"]["min"], survey["port"]["default"]) == ("integer", 1, 8080)
    assert (survey["colour"]["type"], survey["colour"]["choices"]) == ("multiplechoice", ["red", "blue"])
    assert survey["password"]["type"] == "password"


def test_a_scheduler_that_did_not_come_back_is_stood_in_for(door: Door) -> None:
    job = door.launch()
    door.made.work_preview()
    with door.core.database.write() as session:
        row = session.get_one(AwxJob, job["id"])
        row.asking, row.asked_at = "asking", door.core.clock.now()
    launching.ask_where_previewed(door.core)
    assert door.job(job["id"])["status"] == "pending"
    door.made.clock.pass_(seconds=61)
    launching.ask_where_previewed(door.core)
    assert door.job(job["id"])["status"] == "waiting"
    assert apply_jobs(door) == 1


def test_two_schedulers_ask_once(door: Door) -> None:
    jobs = [door.launch()["id"] for _ in range(4)]
    for _ in jobs:
        door.made.work_preview()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(launching.ask_where_previewed, [door.core] * 3))
    assert apply_jobs(door) == 4
    assert {door.job(number)["job_explanation"] for number in jobs} == {""}


def test_a_preview_that_expired_meanwhile_is_told(door: Door) -> None:
    job = door.launch()
    door.made.work_preview()
    door.made.clock.pass_(minutes=31)
    launching.ask_where_previewed(door.core)
    told = door.job(job["id"])
    assert told["status"] == "failed"
    assert "preview_expired" in told["job_explanation"]
    assert apply_jobs(door) == 0
