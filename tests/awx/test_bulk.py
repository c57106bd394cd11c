# SPDX-License-Identifier: Apache-2.0
"""Several templates at once: each through its own gate or none, and followed as one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from controlplane.awx import launching
from controlplane.services import approvals
from controlplane.store.tables import AwxBulk, AwxJob, Release
from tests.awx.conftest import Door, extra_token


def count(door: Door, table: Any) -> int:
    with door.core.database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def items(door: Door, *stages: str, **more: Any) -> list[dict[str, Any]]:
    return [{"unified_job_template": door.template[stage], **more} for stage in stages]


def launch(door: Door, body: Any, **headers: str) -> Any:
    answer = door.releaser.post("bulk/job_launch/", body, **headers)
    assert answer.status_code == 201, answer.text
    return answer.json


def whole(door: Door, launched: Any) -> Any:
    return door.releaser.get(f"workflow_jobs/{launched['id']}/").json


def test_each_goes_through_its_own_gate_or_none(door: Door) -> None:
    good = [*items(door, "development"), *items(door, "production", extra_data={"port": 82})]
    wrong = [*good, *items(door, "staging", extra_data={"port": "x"})]
    refused = door.releaser.post("bulk/job_launch/", {"jobs": wrong})
    assert refused.status_code == 400
    assert any("jobs[2]" in name for name in refused.json["errors"])
    assert (count(door, Release), count(door, AwxBulk)) == (0, 0)
    launched = launch(door, {"jobs": good})
    for _ in good:
        door.made.work_preview()
    launching.ask_where_previewed(door.core)
    assert [door.job(job["id"])["status"] for job in launched["jobs"]] == ["waiting", "pending"]


@pytest.mark.parametrize(
    "jobs",
    [
        None,
        [],
        "x",
        [1],
        [{}],
        [{"unified_job_template": "seven"}],
        [{"unified_job_template": 0}],
        [{"unified_job_template": True}],
        [{"unified_job_template": "9" * 5000}],
        [{"unified_job_template": -1}],
    ],
)
def test_what_is_wrong_is_named(door: Door, jobs: Any) -> None:
    assert door.releaser.post("bulk/job_launch/", {"jobs": jobs}).status_code in (400, 404)


def test_a_number_may_come_as_text_which_a_playbook_makes_of_it(door: Door) -> None:
    jobs = [{"unified_job_template": str(door.template["development"])}]
    assert launch(door, {"jobs": jobs})["jobs"][0]["job_template"] == door.template["development"]


@pytest.mark.parametrize("end", ["successful", "failed"])
def test_they_are_followed_as_one_which_ends_with_the_last(door: Door, end: str) -> None:
    launched = launch(door, {"jobs": items(door, "development", "production"), "name": "nightly"})
    assert (launched["type"], launched["name"], launched["status"]) == ("workflow_job", "nightly", "pending")
    for _ in launched["jobs"]:
        door.made.work_preview()
    launching.ask_where_previewed(door.core)
    assert whole(door, launched)["finished"] is None
    door.made.clock.pass_(seconds=1)
    door.made.work_apply()
    now = whole(door, launched)
    assert (now["status"], now["failed"], now["finished"]) == ("running", False, None)
    assert now["started"]
    release_id = launched["jobs"][1]["artifacts"]["tidegate"]["release_id"]
    verb = "approve" if end == "successful" else "reject"
    approvals.decide_release(door.core, door.made.approver, release_id, verb, "seen")
    if end == "successful":
        door.made.work_apply()
    ended = whole(door, launched)
    assert (ended["status"], ended["failed"], bool(ended["finished"])) == (end, end == "failed", True)
    assert isinstance(ended["elapsed"], float)
    named = {"unified_job_node__workflow_job": launched["id"], "order_by": "finished"}
    found = door.releaser.get("unified_jobs/", **named).json["results"]
    assert {job["id"] for job in found} == {job["id"] for job in launched["jobs"]}
    assert found[0]["related"]["source_workflow_job"] == launched["url"]
    for status, here in ((end, 1), ("pending", 0)):
        assert door.releaser.get("workflow_jobs/", status=status).json["count"] == here
    assert door.releaser.get("workflow_jobs/", name="nightly").json["count"] == 1


def test_what_is_said_of_the_whole_is_said_of_each(door: Door) -> None:
    body = {"jobs": items(door, "development", "staging", extra_data={"port": 1, "greeting": "a"})}
    launched = launch(door, {**body, "scm_branch": "2", "extra_vars": "port: 83", "description": "x"})
    assert [job["scm_branch"] for job in launched["jobs"]] == ["2", "2"]
    assert all('"port": 83' in job["extra_vars"] for job in launched["jobs"])
    assert all('"greeting": "a"' in job["extra_vars"] for job in launched["jobs"])
    assert launched["ignored_fields"] == {"description": "x", "0": {}, "1": {}}
    refused = door.releaser.post("bulk/job_launch/", {**body, "limit": "a"})
    assert (refused.status_code, "jobs[0].limit" in refused.json["errors"]) == (400, True)


def test_the_same_request_id_is_one_launch(door: Door) -> None:
    body = {"jobs": items(door, "development", "staging")}
    first, again = (launch(door, body, X_Request_ID="ci-1") for _ in range(2))
    assert first["id"] == again["id"]
    assert [job["id"] for job in first["jobs"]] == [job["id"] for job in again["jobs"]]
    assert (count(door, AwxBulk), count(door, AwxJob), count(door, Release)) == (1, 2, 2)


def test_many_at_once_with_one_request_id_are_one_launch(door: Door) -> None:
    askers = [extra_token(door, door.releaser) for _ in range(4)]
    body = {"jobs": items(door, "development", "staging")}

    def number(asker: Any) -> int:
        answer = asker.post("bulk/job_launch/", body, X_Request_ID="race")
        assert answer.status_code == 201, answer.text
        return int(answer.json["id"])

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(number, askers))) == 1
    assert (count(door, AwxBulk), count(door, AwxJob)) == (1, 2)


def test_it_is_cancelled_as_one(door: Door) -> None:
    launched = launch(door, {"jobs": items(door, "development", "production")})
    path = f"workflow_jobs/{launched['id']}/cancel/"
    assert door.releaser.get(path).json == {"can_cancel": True}
    assert door.person("viewer", "viewer").post(path).status_code == 403
    assert door.releaser.post(path).status_code == 202
    assert {door.job(job["id"])["status"] for job in launched["jobs"]} == {"canceled"}
    assert (whole(door, launched)["status"], whole(door, launched)["failed"]) == ("canceled", True)
    assert door.releaser.get("workflow_jobs/", status="canceled").json["count"] == 1
    assert door.releaser.get(path).json == {"can_cancel": False}
    assert door.releaser.post(path).status_code == 409


def test_it_is_not_there_for_another_project(door: Door) -> None:
    launched = launch(door, {"jobs": items(door, "development")})
    elsewhere = door.person("elsewhere", project=door.people.project("other"))
    for rest in ("", "cancel/"):
        assert elsewhere.get(f"workflow_jobs/{launched['id']}/{rest}").status_code == 404
    assert elsewhere.get("workflow_jobs/").json["count"] == 0
    assert elsewhere.post(f"workflow_jobs/{launched['id']}/cancel/").status_code == 404
