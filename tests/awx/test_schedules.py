# SPDX-License-Identifier: Apache-2.0
"""Schedules: launched when due, once, as who set them, through the same gate."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controlplane.awx import recurrence, schedules
from controlplane.awx.recurrence import NotTaken
from controlplane.services import targets
from tests.awx.conftest import Door

DAILY = "DTSTART:20260101T130000Z RRULE:FREQ=DAILY;INTERVAL=1"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def make(door: Door, stage: str = "development", rrule: str = DAILY, **more: Any) -> Any:
    body = {"name": "nightly", "unified_job_template": door.template[stage], "rrule": rrule, **more}
    answer = door.releaser.post("schedules/", body)
    assert answer.status_code == 201, answer.text
    return answer.json


def jobs_of(door: Door, schedule: Any) -> Any:
    return door.releaser.get(f"schedules/{schedule['id']}/jobs/").json["results"]


def test_it_launches_when_it_is_due_and_only_once(door: Door) -> None:
    schedule = make(door, extra_data={"port": 82}, scm_branch="2")
    assert schedule["next_run"] == "2026-01-01T13:00:00.000000Z"
    schedules.launch_due(door.core)
    assert jobs_of(door, schedule) == []
    door.made.clock.pass_(hours=1)
    for _ in range(3):
        schedules.launch_due(door.core)
    (job,) = jobs_of(door, schedule)
    assert (job["launch_type"], job["schedule"], job["scm_branch"]) == ("scheduled", schedule["id"], "2")
    assert '"port": 82' in job["extra_vars"]
    told = door.releaser.get(f"schedules/{schedule['id']}/").json
    assert told["next_run"] == "2026-01-02T13:00:00.000000Z"
    assert told["last_result"] == f"launched job {job['id']}"


def test_what_was_missed_is_made_up_for_once(door: Door) -> None:
    schedule = make(door)
    door.made.clock.pass_(days=5, hours=2)
    schedules.launch_due(door.core)
    schedules.launch_due(door.core)
    assert len(jobs_of(door, schedule)) == 1
    told = door.releaser.get(f"schedules/{schedule['id']}/").json
    assert told["next_run"] == "2026-01-07T13:00:00.000000Z"


def test_in_production_it_waits_for_a_decision(door: Door) -> None:
    schedule = make(door, "production")
    door.made.clock.pass_(hours=1)
    schedules.launch_due(door.core)
    door.made.work_preview()
    door.tick()
    (job,) = jobs_of(door, schedule)
    assert job["status"] == "pending"
    assert "tkt_" in job["job_explanation"]
    assert door.made.claim() is None


def test_it_launches_nothing_for_who_may_not_any_more(door: Door) -> None:
    schedule = make(door)
    door.revoke(door.releaser)
    door.releaser = door.person("second")
    door.made.clock.pass_(hours=1)
    schedules.launch_due(door.core)
    assert jobs_of(door, schedule) == []
    assert "revoked" in door.releaser.get(f"schedules/{schedule['id']}/").json["last_result"]


def test_one_whose_template_is_gone_says_so_goes_on_and_can_be_deleted(door: Door) -> None:
    schedule = make(door, "staging")
    path = f"schedules/{schedule['id']}/"
    targets.delete(door.core, door.made.actor("operator", "operator"), door.made.targets["staging"])
    for following in ("2026-01-03", "2026-01-04"):
        door.made.clock.pass_(days=1, hours=2)
        schedules.launch_due(door.core)
        told = door.releaser.get(path).json
        assert told["last_result"].startswith("not launched: not_found"), told
        assert told["next_run"] == f"{following}T13:00:00.000000Z"
    assert jobs_of(door, schedule) == []
    assert door.releaser.send("DELETE", path).status_code == 204


def test_a_disabled_one_launches_nothing_and_a_changed_one_as_it_says(door: Door) -> None:
    schedule = make(door, enabled=False)
    path = f"schedules/{schedule['id']}/"
    door.made.clock.pass_(hours=1)
    schedules.launch_due(door.core)
    assert jobs_of(door, schedule) == []
    second = door.person("second")
    changed = second.send("PATCH", path, json={"enabled": True, "extra_data": {"port": 83}})
    assert changed.status_code == 200, changed.text
    assert changed.json["summary_fields"]["modified_by"]["username"] == "second"
    door.made.clock.pass_(days=1)
    schedules.launch_due(door.core)
    (job,) = jobs_of(door, schedule)
    assert job["launched_by"]["name"] == "second"
    assert second.send("DELETE", path).status_code == 204
    assert second.get(path).status_code == 404
    assert door.job(job["id"])["schedule"] == schedule["id"]


def test_who_may_not_release_schedules_nothing(door: Door) -> None:
    schedule = make(door)
    viewer = door.person("viewer", "viewer")
    elsewhere = door.person("elsewhere", project=door.people.project("other"))
    body = {"name": "x", "unified_job_template": door.template["development"], "rrule": DAILY}
    assert viewer.post("schedules/", body).status_code == 403
    assert elsewhere.post("schedules/", body).status_code == 404
    assert elsewhere.get("schedules/").json["count"] == 0
    for method, sent in (("PATCH", {"enabled": False}), ("DELETE", None)):
        path = f"schedules/{schedule['id']}/"
        assert viewer.send(method, path, json=sent or {}).status_code == 403
        assert elsewhere.send(method, path, json=sent or {}).status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"rrule": "daily"}, "rrule"),
        ({"enabled": "yes"}, "enabled"),
        ({"colour": "red"}, "colour"),
        ({"extra_data": {"nonsense": 1}}, "extra_vars"),
        ({"extra_data": {"password": "canary"}}, "extra_data"),
        ({"unified_job_template": None}, "unified_job_template"),
        ({"unified_job_template": True}, "unified_job_template"),
    ],
)
def test_what_is_wrong_is_named(door: Door, change: Any, field: str) -> None:
    body = {"name": "x", "unified_job_template": door.template["development"], "rrule": DAILY, **change}
    answer = door.releaser.post("schedules/", body)
    assert answer.status_code == 400, answer.text
    assert field in answer.json
    assert "canary" not in answer.text


def test_a_name_is_there_once_at_a_template(door: Door) -> None:
    make(door)
    make(door, "staging")
    body = {"name": "nightly", "unified_job_template": door.template["staging"], "rrule": DAILY}
    assert door.releaser.post("schedules/", body).status_code == 400
    path = f"job_templates/{door.template['staging']}/schedules/"
    assert door.releaser.post(path, {"name": "weekly", "rrule": DAILY}).status_code == 201
    assert door.releaser.get(path).json["count"] == 2


@pytest.mark.parametrize(
    ("text", "following"),
    [
        (DAILY, "2026-01-01T13:00:00+00:00"),
        ("DTSTART:20251225T120000Z RRULE:FREQ=MINUTELY;INTERVAL=90", "2026-01-01T13:30:00+00:00"),
        (
            "DTSTART;TZID=Europe/Vienna:20250101T083000 RRULE:FREQ=WEEKLY;BYDAY=FR",
            "2026-01-02T07:30:00+00:00",
        ),
        ("DTSTART:20200131T000000Z RRULE:FREQ=MONTHLY;BYMONTHDAY=-1", "2026-01-31T00:00:00+00:00"),
        ("DTSTART:20250101T000000Z RRULE:FREQ=DAILY;COUNT=3", None),
        ("DTSTART:20250101T000000Z RRULE:FREQ=DAILY;UNTIL=20250301T000000Z", None),
    ],
)
def test_rules_are_followed(text: str, following: str | None) -> None:
    found = recurrence.read(text, NOW).after(NOW)
    assert (found.isoformat() if found else None) == following


@pytest.mark.parametrize(
    "text",
    [
        "",
        "RRULE:FREQ=DAILY",
        "DTSTART:20260101T000000Z",
        DAILY + " RRULE:FREQ=DAILY",
        DAILY + " EXDATE:20260101T000000Z",
        "DTSTART:20260101T000000Z RRULE:FREQ=SECONDLY",
        "DTSTART:20260101T000000Z RRULE:FREQ=DAILY;COUNT=1000000",
        "DTSTART:20260101T000000Z RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "DTSTART:19700101T000000Z RRULE:FREQ=MINUTELY",
        "DTSTART;TZID=Nowhere/At_All:20260101T000000 RRULE:FREQ=DAILY",
        "DTSTART;TZID=/etc/passwd:20260101T000000 RRULE:FREQ=DAILY",
        "DTSTART;TZID=../../etc/passwd:20260101T000000 RRULE:FREQ=DAILY",
        "DTSTART:20260101T000000Z RRULE:FREQ=DAILY;INTERVAL=0",
        "DTSTART:20261301T000000Z RRULE:FREQ=DAILY",
        "DTSTART:20260101T000000Z RRULE:FREQ=DAILY;BYHOUR=99",
    ],
)
def test_rules_that_are_none_or_would_take_for_ever_are_refused(text: str) -> None:
    with pytest.raises(NotTaken):
        recurrence.read(text, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "DTSTART:20260101T000000Z RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "DTSTART:20251202T000000Z RRULE:FREQ=HOURLY;INTERVAL=168;BYDAY=MO",
        "DTSTART:19000101T000000Z RRULE:FREQ=DAILY",
    ],
)
def test_whatever_is_let_in_is_counted_soon(text: str) -> None:
    begun = time.monotonic()
    recurrence.read(text, NOW).after(NOW)
    assert time.monotonic() - begun < 10


def test_counting_on_from_a_known_time_keeps_the_rule_s_step() -> None:
    rule = recurrence.read("DTSTART:20260101T000000Z RRULE:FREQ=MINUTELY;INTERVAL=7", NOW)
    anchor = rule.after(NOW)
    later = NOW + timedelta(days=9)
    assert rule.after(later, anchor) == rule.after(later)
