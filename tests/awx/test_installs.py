# SPDX-License-Identifier: Apache-2.0
"""Installs of environments as job templates: the same gate, told of in the same words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import func, select

from controlplane.awx import deliveries, launching
from controlplane.domain.errors import Problem
from controlplane.ports.runner import RunOutcome
from controlplane.services import approvals, environments, expiry
from controlplane.services import installs as services
from controlplane.services.job_kinds import KINDS
from controlplane.store.tables import AwxJob, Event, InstallTask, Job
from tests.awx.conftest import Asker, Door
from tests.awx.test_notifications import make, receiver, within
from tests.services.test_installs import DIGEST, PLAN, begun, environment, operator, step, told, work

NAME = "shop / installed-{} / install"


class Installer:
    """An environment that the platform manages, and an operator who launches its install."""

    def __init__(self, door: Door, stage: str = "development") -> None:
        self.door, self.made = door, door.made
        self.environment = environment(door.made, stage)
        self.by: Asker = door.person(f"operator-{stage}", "operator")
        self.name = NAME.format(stage)
        self.template = self.find()["id"]

    def find(self, by: Asker | None = None) -> Any:
        found = (by or self.by).get("job_templates/", name=self.name).json["results"]
        return found[0] if found else None

    def launch(self, body: Any = None, by: Asker | None = None) -> Any:
        answer = (by or self.by).post(f"job_templates/{self.template}/launch/", body)
        assert answer.status_code == 201, answer.text
        return answer.json

    def preview(self, checks: tuple[dict[str, Any], ...] = ()) -> Any:
        """Do what the worker does that previews, and then what the scheduler does. Returns what was run."""
        kind, run = work(self.made, "install_preview")
        seen = step("bundle_verify", "unchanged", digest=DIGEST)
        kind.record([told(1, seen, action="bundle_verify")])
        document = {"facts": {}, "plan": PLAN, "checks": list(checks), "fingerprint": self.made.live}
        kind.end(RunOutcome("successful", 0, {"a.preflight": document}))
        launching.ask_where_previewed(self.door.core)
        return run

    def run(self, status: str = "successful") -> None:
        """Do what the worker does that installs."""
        self.made.clock.pass_(seconds=1)
        kind, _run = work(self.made, "install")
        kind.record([begun(1, "container_runtime")])
        if status == "successful":
            kind.record([told(2, step("container_runtime"), action="container_runtime")])
        else:
            broken = step("container_runtime", "failed", error_key="storage_full")
            said = {"error_key": "storage_full", "msg": "no room"}
            kind.record([told(2, broken, action="container_runtime", **said)])
        kind.end(RunOutcome(status, 0 if status == "successful" else 2, {}))

    def job(self, launched: Any) -> Any:
        answer = self.by.get(f"jobs/{launched['id']}/")
        assert answer.status_code == 200, answer.text
        return answer.json

    def install_jobs(self) -> int:
        with self.door.core.database.read() as session:
            return session.scalar(select(func.count()).select_from(Job).where(Job.kind == "install")) or 0


def test_each_environment_that_is_managed_here_has_a_template_and_keeps_its_number(door: Door) -> None:
    shop = Installer(door)
    environment(door.made, "staging", mode="external_managed")
    found = shop.by.get("job_templates/", name__endswith="/ install").json["results"]
    assert [each["name"] for each in found] == [shop.name]
    assert found[0]["ask_scm_branch_on_launch"] is False
    assert found[0]["summary_fields"]["inventory"]["name"] == "shop / installed-development"
    assert shop.template not in door.template.values()
    assert shop.find()["id"] == shop.template
    assert len(shop.by.get("job_templates/").json["results"]) == len(door.template) + 1
    environments.delete(door.core, operator(door.made), shop.environment)
    assert shop.find() is None
    assert shop.by.get(f"job_templates/{shop.template}/launch/").status_code == 404
    environment(door.made)
    assert shop.find()["id"] > shop.template


def test_a_launch_says_what_it_may_be_told(door: Door) -> None:
    shop = Installer(door)
    asked = shop.by.get(f"job_templates/{shop.template}/launch/").json
    assert (asked["survey_enabled"], asked["variables_needed_to_start"]) == (True, [])
    assert asked["can_start_without_user_input"] is True
    survey = shop.by.get(f"job_templates/{shop.template}/survey_spec/").json
    assert [(each["variable"], each["type"]) for each in survey["spec"]] == [
        ("profile", "text"), ("runtime_version", "text"), ("inputs", "textarea"),
    ]  # fmt: skip


def test_it_is_previewed_applied_and_told_of(door: Door) -> None:
    shop = Installer(door)
    values = {"profile": "standard", "runtime_version": "2.40", "inputs": 'mirror: "hidden words"'}
    job = shop.launch({"extra_vars": values, "verbosity": 4})
    assert (job["status"], job["name"], job["ignored_fields"]) == ("pending", shop.name, {"verbosity": 4})
    assert job["job_explanation"] == "waits for its preview"
    assert launching.ask_where_previewed(door.core) == 0
    spec = shop.preview().documents["environment_spec_file"]
    assert (spec["profile"], spec["runtime_version"]) == ("standard", "2.40")
    assert spec["inputs"] == {"mirror": "hidden words"}
    waiting = shop.job(job)
    assert (waiting["status"], waiting["started"]) == ("waiting", None)
    assert waiting["extra_vars"] == '{"profile": "standard", "runtime_version": "2.40"}'
    shop.run()
    done = shop.job(job)
    assert (done["status"], done["failed"], done["event_processing_finished"]) == ("successful", False, True)
    assert done["started"] and done["finished"] and done["job_explanation"] == ""
    assert "hidden words" not in str(done)
    assert environments.get(door.core, operator(door.made), shop.environment)["status"] == "ready"


def test_its_lines_are_those_of_preview_and_install(door: Door) -> None:
    shop = Installer(door)
    job = shop.launch()
    shop.preview()
    shop.run()
    found = shop.by.get(f"jobs/{job['id']}/job_events/").json["results"]
    assert [each["counter"] for each in found] == list(range(1, len(found) + 1))
    assert [(each["start_line"], each["end_line"]) for each in found] == [
        (number, number + 1) for number in range(len(found))
    ]
    text = shop.by.get(f"jobs/{job['id']}/stdout/", format="txt").text
    said = [line for line in text.split("\n") if line]
    assert said == ["bundle_verify said so", "container_runtime said so"]


def test_events_say_that_it_came_through_this_door(door: Door) -> None:
    shop = Installer(door)
    job = shop.launch()
    shop.preview()
    task_id = job["artifacts"]["tidegate"]["task_id"]
    with door.core.database.read() as session:
        found = session.execute(
            select(Event.action, Event.source, Event.actor_id).where(Event.resource_id == task_id)
        ).all()
    asked = [row for row in found if row.action == "environment.install_requested"]
    assert [(row.source, row.actor_id) for row in asked] == [("awx", shop.by.caller.id)]


@pytest.mark.parametrize("flags", [{}, {"approved": True, "force": True, "preview_ref": "pvw_x"}])
def test_in_production_nothing_runs_without_a_decision(door: Door, flags: dict[str, Any]) -> None:
    shop = Installer(door, "production")
    job = shop.launch(flags)
    shop.preview()
    waiting = shop.job(job)
    ticket = waiting["artifacts"]["tidegate"]["approval_ticket"]
    assert waiting["status"] == "pending"
    assert ticket and f"/api/v1/approvals/inbox/{ticket}" in waiting["job_explanation"]
    launching.ask_where_previewed(door.core)
    assert (shop.install_jobs(), door.made.claim()) == (0, None)
    approvals.approve(door.core, door.made.approver, ticket)
    assert shop.job(job)["status"] == "waiting"
    shop.run()
    assert shop.job(job)["status"] == "successful"


@pytest.mark.parametrize("end", ["rejected", "expired"])
def test_one_that_nobody_lets_through_has_failed(door: Door, end: str) -> None:
    shop = Installer(door, "production")
    job = shop.launch()
    shop.preview()
    ticket = shop.job(job)["artifacts"]["tidegate"]["approval_ticket"]
    if end == "rejected":
        approvals.reject(door.core, door.made.approver, ticket, "not today")
    else:
        door.made.clock.pass_(hours=1)
        approvals.expire_due(door.core)
    told_of = shop.job(job)
    assert (told_of["status"], told_of["failed"]) == ("failed", True)
    assert end in told_of["job_explanation"] and ticket in told_of["job_explanation"]
    assert shop.install_jobs() == 0


def test_what_stands_against_it_and_what_fails_is_told(door: Door) -> None:
    shop = Installer(door)
    blocked = shop.launch()
    check = {"level": "blocking", "code": "storage_full", "message": "no room", "hint": "", "host": "a"}
    shop.preview((check,))
    found = shop.job(blocked)
    assert (found["status"], found["event_processing_finished"]) == ("failed", True)
    assert "storage_full: no room" in found["job_explanation"]
    failing = shop.launch()
    shop.preview()
    shop.run("failed")
    found = shop.job(failing)
    assert (found["status"], found["failed"]) == ("failed", True)
    assert "storage_full" in found["job_explanation"]
    statuses = shop.by.get("jobs/", status="failed").json["results"]
    assert [each["id"] for each in statuses] == [blocked["id"], failing["id"]]
    samples = shop.by.get("metrics/").json["tidegate_awx_jobs"]["samples"]
    assert {each["labels"]["status"]: each["value"] for each in samples}["failed"] == 2


@pytest.mark.parametrize("before", ["previewing", "queued", "running"])
def test_it_is_cancelled(door: Door, before: str) -> None:
    shop = Installer(door)
    job = shop.launch()
    path = f"jobs/{job['id']}/cancel/"
    if before != "previewing":
        shop.preview()
    kind = work(shop.made, "install")[0] if before == "running" else None
    assert shop.by.get(path).json == {"can_cancel": True}
    assert shop.by.post(path).status_code == 202
    if kind is not None:
        kind.end(RunOutcome("canceled", 254, {}))
    found = shop.job(job)
    assert (found["status"], found["event_processing_finished"]) == ("canceled", True)
    assert found["canceled_on"]
    assert shop.by.get(path).json == {"can_cancel": False}
    assert shop.by.post(path).status_code == 409
    launching.ask_where_previewed(door.core)
    lease = door.made.claim()
    assert lease is None or KINDS[lease.kind](door.core, lease).begin() is None
    task = services.get(
        door.core, operator(door.made), job["artifacts"]["tidegate"]["task_id"], shop.environment
    )
    assert task["state"] == ("failed" if before == "running" else "cancelled")


def test_a_relaunch_asks_for_the_same_with_a_preview_of_its_own(door: Door) -> None:
    shop = Installer(door)
    job = shop.launch({"extra_vars": {"profile": "small", "inputs": {"mirror": "m"}}})
    shop.preview()
    shop.run()
    shop.made.clock.pass_(seconds=1)
    answer = shop.by.post(f"jobs/{job['id']}/relaunch/")
    assert (answer.status_code, answer.json["launch_type"]) == (201, "relaunch")
    assert answer.json["id"] != job["id"]
    spec = shop.preview().documents["environment_spec_file"]
    assert (spec["profile"], spec["inputs"]) == ("small", {"mirror": "m"})


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ({"extra_vars": {"colour": "red"}}, "variables.colour"),
        ({"extra_vars": {"profile": 4}}, "variables.profile"),
        ({"extra_vars": {"inputs": [1]}}, "variables.inputs"),
        ({"extra_vars": {"inputs": {"": 1}}}, "variables.inputs"),
        ({"scm_branch": "1.0"}, "scm_branch"),
        ({"limit": "a"}, "limit"),
        ({"job_tags": "x"}, "job_tags"),
        ({"job_type": "check"}, "job_type"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_by_name(door: Door, sent: Any, named: str) -> None:
    shop = Installer(door)
    answer = shop.by.post(f"job_templates/{shop.template}/launch/", sent)
    assert answer.status_code == 400
    assert named in answer.json["errors"]
    with door.core.database.read() as session:
        assert session.scalar(select(func.count()).select_from(InstallTask)) == 0
        assert session.scalar(select(func.count()).select_from(AwxJob)) == 0


def test_only_who_may_install_launches_and_cancels_and_another_project_is_not_there(door: Door) -> None:
    shop = Installer(door)
    job = shop.launch()
    for verb, path in (
        ("launch", f"job_templates/{shop.template}/launch/"),
        ("cancel", f"jobs/{job['id']}/cancel/"),
    ):
        assert door.releaser.post(path).status_code == 403, verb
    assert door.releaser.get(f"jobs/{job['id']}/").status_code == 200
    elsewhere = door.person("elsewhere", "operator", project=door.people.project("other"))
    assert shop.find(elsewhere) is None
    assert elsewhere.post(f"job_templates/{shop.template}/launch/").status_code == 404
    for rest in ("", "stdout/", "job_events/", "cancel/"):
        assert elsewhere.get(f"jobs/{job['id']}/{rest}").status_code == 404
    narrow = door.person("narrow", "operator", scopes=["deploy:release:read", "deploy:target:read"])
    assert shop.find(narrow) is None
    assert narrow.get(f"jobs/{job['id']}/").status_code == 404


def test_who_lost_the_token_meanwhile_installs_nothing(door: Door) -> None:
    shop = Installer(door)
    job = shop.launch()
    door.revoke(shop.by)
    shop.preview()
    found = door.job(job["id"])
    assert found["status"] == "failed" and "revoked" in found["job_explanation"]
    assert shop.install_jobs() == 0


def test_several_at_once_are_launched_each_through_its_gate_or_none(door: Door) -> None:
    shop = Installer(door)
    items = [{"unified_job_template": shop.template}, {"unified_job_template": door.template["development"]}]
    wrong = [*items, {"unified_job_template": shop.template, "extra_data": {"colour": "red"}}]
    assert shop.by.post("bulk/job_launch/", {"jobs": wrong}).status_code == 400
    with door.core.database.read() as session:
        assert session.scalar(select(func.count()).select_from(AwxJob)) == 0
    answer = shop.by.post("bulk/job_launch/", {"jobs": items})
    assert answer.status_code == 201
    assert [
        set(each["artifacts"]["tidegate"]) & {"task_id", "release_id"} for each in answer.json["jobs"]
    ] == [
        {"task_id"},
        {"release_id"},
    ]


def test_a_schedule_keeps_no_inputs_and_launches_the_install(door: Door) -> None:
    shop = Installer(door)
    body = {
        "name": "nightly", "unified_job_template": shop.template, "extra_data": {"inputs": {"token": "t"}},
        "rrule": "DTSTART:20300115T120000Z RRULE:FREQ=DAILY;INTERVAL=1",
    }  # fmt: skip
    assert shop.by.post("schedules/", body).status_code == 400
    answer = shop.by.post("schedules/", {**body, "extra_data": {"profile": "small"}})
    assert answer.status_code == 201, answer.text
    path = f"schedules/{answer.json['id']}/"
    door.made.clock.pass_(days=5 * 365)
    door.tick()
    launched = shop.by.get(f"{path}jobs/").json["results"]
    assert [(each["name"], each["launch_type"]) for each in launched] == [(shop.name, "scheduled")]
    assert shop.preview().documents["environment_spec_file"]["profile"] == "small"
    assert door.releaser.send("DELETE", path).status_code == 403
    assert shop.by.send("DELETE", path).status_code == 204


def test_a_token_that_may_only_install_launches_installs_and_nothing_else(door: Door) -> None:
    shop = Installer(door, "production")
    only = door.person("only", "operator", scopes=["deploy:environment:install"])
    assert shop.find(only)["id"] == shop.template
    assert only.get("job_templates/").json["count"] == 1
    assert only.get(f"job_templates/{shop.template}/launch/").json["survey_enabled"] is True
    job = shop.launch({"extra_vars": {"profile": "small"}}, by=only)
    assert (job["status"], job["launched_by"]["name"]) == ("pending", "only")
    assert only.post(f"job_templates/{door.template['development']}/launch/").status_code == 404
    items = [{"unified_job_template": door.template["development"]}]
    assert only.post("bulk/job_launch/", {"jobs": items}).status_code == 404
    body = {
        "name": "weekly", "unified_job_template": shop.template,
        "rrule": "DTSTART:20300115T120000Z RRULE:FREQ=WEEKLY;INTERVAL=1",
    }  # fmt: skip
    assert only.post("schedules/", body).status_code == 201
    assert only.get("schedules/").json["count"] == 1
    # Launching is not reading: what it printed is for who may read environments.
    for rest in ("", "stdout/", "job_events/", "cancel/"):
        assert only.get(f"jobs/{job['id']}/{rest}").status_code == 403
    shop.preview()
    found = shop.job(job)
    assert (found["status"], "waits for approval" in found["job_explanation"]) == ("pending", True)
    # Where nobody has to approve, the matrix asks for a permission of its own, as it does of who comes through the API.
    at_once = Installer(door)
    job = at_once.launch(by=only)
    at_once.preview()
    found = at_once.job(job)
    assert (found["status"], found["job_explanation"]) == (
        "failed", "permission_denied: this needs deploy:release:apply",
    )  # fmt: skip


def test_a_token_for_installs_follows_and_cancels_what_it_launched(door: Door) -> None:
    shop = Installer(door, "production")
    scopes = ["deploy:environment:install", "deploy:environment:read"]
    installer = door.person("installer", "operator", scopes=scopes)
    job = shop.launch(by=installer)
    shop.preview()
    released = door.launch()
    assert installer.get(f"jobs/{job['id']}/").json["status"] == "pending"
    for rest in ("stdout/", "job_events/", "cancel/", "relaunch/"):
        assert installer.get(f"jobs/{job['id']}/{rest}").status_code == 200
        assert installer.get(f"jobs/{released['id']}/{rest}").status_code == 404
    assert [each["id"] for each in installer.get("jobs/").json["results"]] == [job["id"]]
    assert installer.post(f"jobs/{released['id']}/cancel/").status_code == 404
    assert installer.post(f"jobs/{job['id']}/cancel/").status_code == 202
    assert shop.job(job)["status"] == "canceled"


def test_a_token_for_releases_launches_no_install(door: Door) -> None:
    shop = Installer(door)
    scopes = ["deploy:release:apply", "deploy:compose:apply"]
    releaser = door.person("narrow-releaser", "operator", scopes=scopes)
    assert shop.find(releaser) is None
    assert releaser.post(f"job_templates/{shop.template}/launch/").status_code == 404
    assert door.launch(by=releaser)["status"] == "pending"


def test_a_push_launches_the_install_with_what_the_mapping_takes(door: Door) -> None:
    shop = Installer(door, "production")
    body = {"webhook_service": "gitlab", "mapping": {"profile": "object_attributes.profile"}}
    path = f"job_templates/{shop.template}/"
    assert door.releaser.post(f"{path}webhook_key/", body).status_code == 403
    key = shop.by.post(f"{path}webhook_key/", body).json["webhook_key"]
    sent = {"X-Gitlab-Token": key, "X-Gitlab-Event": "Push Hook"}
    forge = door.app.test_client()
    address, payload = f"/api/v2/{path}gitlab/", {"object_attributes": {"profile": "small"}}
    assert forge.post(address, json=payload, headers={**sent, "X-Gitlab-Token": "x"}).status_code == 403
    answer = forge.post(address, json=payload, headers=sent)
    assert answer.status_code == 202, answer.text
    assert forge.post(address, json=payload, headers=sent).status_code == 409
    wrong = {"object_attributes": {"profile": 4}}
    assert forge.post(address, json=wrong, headers=sent).status_code == 400
    assert shop.preview().documents["environment_spec_file"]["profile"] == "small"
    job = shop.job({"id": answer.json["job"]})
    assert (job["launch_type"], job["status"]) == ("webhook", "pending")
    assert "waits for approval" in job["job_explanation"]
    assert shop.install_jobs() == 0
    with door.core.database.read() as session:
        assert session.scalar(select(func.count()).select_from(InstallTask)) == 1


@pytest.mark.parametrize("end", ["successful", "failed"])
def test_its_start_and_its_end_are_told(door: Door, end: str) -> None:
    shop = Installer(door)
    with receiver() as seen:
        notifier = make(shop.by, "webhook", {"url": f"http://127.0.0.1:{seen.port}/", "secret": "s"})
        for event in ("started", "success", "error"):
            path = f"job_templates/{shop.template}/notification_templates_{event}/"
            assert shop.by.post(path, {"id": notifier["id"], "associate": True}).status_code == 204
        job = shop.launch()
        shop.preview()
        deliveries.note_changes(door.core)
        shop.run(end)
        deliveries.note_changes(door.core)
        deliveries.deliver_due(within(door))
        told_of = [json.loads(body) for _, body in seen.got]
    assert [each["event"] for each in told_of] == ["started", "success" if end == "successful" else "error"]
    assert {each["id"] for each in told_of} == {job["id"]}
    assert told_of[-1]["status"] == end
    assert told_of[-1]["task_id"] == job["artifacts"]["tidegate"]["task_id"]
    assert shop.name in told_of[-1]["text"]
    if end == "failed":
        assert told_of[-1]["job_explanation"]
    # What is told of an install is for who may read environments.
    scopes = ["deploy:release:read"]
    assert door.person("blind", "operator", scopes=scopes).get("notifications/").json["count"] == 0
    assert shop.by.get("notifications/").json["count"] == 2


def test_one_that_waits_for_what_another_holds_says_who_holds_it(door: Door) -> None:
    shop = Installer(door)
    other = Installer(door, "staging")
    first, second = shop.launch(), other.launch()
    for each in (shop, other):
        each.preview()
    kind, _run = work(door.made, "install")
    assert door.made.claim() is None
    with door.core.database.read() as session:
        holder = session.scalar(select(Job.id).where(Job.state == "running"))
    waiting = other.job(second)
    assert (waiting["status"], waiting["started"]) == ("pending", None)
    assert waiting["job_explanation"] == f"waits for what {holder} holds"
    assert shop.job(first)["status"] == "running"
    kind.record([begun(1, "container_runtime")])
    kind.record([told(2, step("container_runtime"), action="container_runtime")])
    kind.end(RunOutcome("successful", 0, {}))
    other.run()
    assert (shop.job(first)["status"], other.job(second)["status"]) == ("successful", "successful")


def test_an_environment_is_not_deleted_while_its_install_runs(door: Door) -> None:
    shop = Installer(door)
    job = shop.launch()
    shop.preview()
    kind, _run = work(shop.made, "install")
    with pytest.raises(Problem, match="resource_in_use"):
        environments.delete(door.core, operator(door.made), shop.environment)
    kind.record([begun(1, "container_runtime")])
    kind.record([told(2, step("container_runtime"), action="container_runtime")])
    kind.end(RunOutcome("successful", 0, {}))
    assert shop.job(job)["status"] == "successful"


def test_an_environment_is_deleted_with_the_jobs_of_its_installs(door: Door) -> None:
    shop = Installer(door)
    job = shop.launch()
    shop.preview()
    shop.run()
    environments.delete(door.core, operator(door.made), shop.environment)
    assert shop.by.get(f"jobs/{job['id']}/").status_code == 404
    assert shop.by.get("jobs/").json["count"] == 0
    door.tick()


def test_a_preview_that_nobody_asked_for_expires(door: Door) -> None:
    shop = Installer(door)
    job = shop.launch()
    kind, _run = work(shop.made, "install_preview")
    seen = step("bundle_verify", "unchanged", digest=DIGEST)
    kind.record([told(1, seen, action="bundle_verify")])
    document = {"facts": {}, "plan": PLAN, "checks": [], "fingerprint": shop.made.live}
    kind.end(RunOutcome("successful", 0, {"a.preflight": document}))
    shop.made.clock.pass_(hours=1)
    assert expiry.expire_install_previews(door.core) == 1
    launching.ask_where_previewed(door.core)
    found = shop.job(job)
    assert found["status"] == "failed" and "expired" in found["job_explanation"]
