# SPDX-License-Identifier: Apache-2.0
"""The real `awx` command against a served Tidegate that releases to a real host."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest

from tests.awx.command import Awx, Ran
from tests.awx.shop import DEVELOPMENT, PASSWORD, PRODUCTION, Shop
from tests.demo.rest import Person, Refused

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.xdist_group("awx")]

SOON = ("--interval", "2.5")
CONTROL = ("ping", "me", "config", "metrics")


def monitored(ran: Ran) -> list[str]:
    """Return the lines that `--monitor` printed."""
    between = re.search(r"Starting Standard Out Stream------\n(.*)------End of Standard", ran.out, re.DOTALL)
    assert between is not None, ran.out + ran.err
    return between[1].rstrip("\n").split("\n")


def test_me(shop: Shop) -> None:
    ran = shop.awx("me")
    assert (ran.code, ran.json["results"][0]["username"]) == (0, "requester")


def test_templates_are_listed(shop: Shop) -> None:
    ran = shop.awx("job_templates", "list", "-f", "human")
    assert ran.code == 0
    assert DEVELOPMENT in ran.out
    assert PRODUCTION in ran.out


def test_a_launch_is_monitored_to_its_good_end(shop: Shop) -> None:
    ran = shop.awx(*shop.launch(DEVELOPMENT, "1", "--monitor", *SOON))
    assert ran.code == 0, ran.out + ran.err
    job = shop.newest()
    assert (job["status"], job["name"], job["launched_by"]["name"]) == (
        "successful",
        DEVELOPMENT,
        "requester",
    )
    assert monitored(ran) == shop.stdout(job["id"])
    assert any("PLAY RECAP" in line for line in monitored(ran))
    headers = {"Authorization": f"Bearer {shop.awx.token}"}
    events = httpx.get(f"{shop.awx.url}{job['url']}job_events/", headers=headers).json()["results"]
    assert {"release_compose", ""} == {event["role"].rpartition(".")[2] for event in events}
    assert "The project is healthy" in {event["task"].rpartition(" : ")[2] for event in events}
    assert any(event["changed"] and event["host_name"] for event in events)
    answer = httpx.get(f"http://{_address(shop)}:8081/").text.strip()
    assert answer == "shop 1"


def test_a_production_launch_waits_is_approved_and_ends_well(shop: Shop) -> None:
    running = shop.awx.start(*shop.launch(PRODUCTION, "2", "--monitor", *SOON, port=8080))
    job = _until(shop, lambda job: "waits for approval" in job["job_explanation"])
    assert job["status"] == "pending"
    assert job["started"] is None
    ticket = re.search(r"tkt_\w+", job["job_explanation"])
    assert ticket is not None
    time.sleep(3)
    assert running.poll() is None
    assert shop.newest()["status"] == "pending"
    shop.walked.approver.post(f"/approvals/inbox/{ticket[0]}/approve", {"comment": "looks right"})
    out, err = running.communicate(timeout=180)
    assert running.returncode == 0, out + err
    assert monitored(Ran(0, out, err)) == shop.stdout(job["id"])
    assert shop.newest()["status"] == "successful"
    events = shop.walked.requester.get(f"/deploy/releases/{_release(job)}/timeline")["items"]
    sources = {event["action"]: event["source"] for event in events}
    assert sources["release.apply_requested"] == "awx"


def test_a_rejected_launch_ends_badly(shop: Shop) -> None:
    running = shop.awx.start(*shop.launch(PRODUCTION, "2", "--wait", *SOON, port=8080))
    job = _until(shop, lambda job: "waits for approval" in job["job_explanation"])
    shop.walked.approver.post(f"/deploy/releases/{_release(job)}/reject", {"comment": "not today"})
    out, _err = running.communicate(timeout=60)
    assert running.returncode == 1, out
    assert "rejected" in shop.newest()["job_explanation"]


def test_a_failed_release_ends_with_1(shop: Shop) -> None:
    ran = shop.awx(*shop.launch(DEVELOPMENT, "3", "--monitor", *SOON))
    assert ran.code == 1, ran.out + ran.err
    job = shop.newest()
    assert job["status"] == "failed"
    assert "compose_unhealthy" in job["job_explanation"]
    assert monitored(ran) == shop.stdout(job["id"])


def test_cancel_and_relaunch(shop: Shop) -> None:
    """awxkit 24.6.1 has no command for either; its library has them, as `related`."""
    ran = shop.awx(*shop.launch(PRODUCTION, "2", port=8080))
    assert ran.code == 0, ran.err
    script = (
        "import os, sys; from awxkit import api, config; from awxkit.api.client import Connection\n"
        "config.base_url = os.environ['CONTROLLER_HOST']; connection = Connection(config.base_url)\n"
        "connection.login(token=os.environ['CONTROLLER_OAUTH_TOKEN'])\n"
        f"job = api.Api(connection=connection).get().current_version.get().jobs.get(id={ran.json['id']}).results[0]\n"
        "job = job.cancel(); job.wait_until_status('canceled', timeout=60)\n"
        "again = job.relaunch(); again.cancel(); print(job.status, again.id > job.id, again.launch_type)\n"
    )
    done = _python(shop, script)
    assert done == "canceled True relaunch\n"


def test_a_session_of_name_and_password(shop: Shop) -> None:
    named = Awx(shop.awx.url, username="requester", password=PASSWORD)
    assert named("me").json["results"][0]["username"] == "requester"
    assert named(*shop.launch(PRODUCTION, "2", port=8080)).json["launch_type"] == "manual"
    assert Awx(shop.awx.url, username="requester", password="wrong")("me").code == 1
    assert Awx(shop.awx.url, token="tg_wrong")("me").code == 1


def test_people_are_listed_for_people(shop: Shop) -> None:
    ran = shop.admin("-f", "human", "users", "list")
    assert ran.code == 0, ran.out + ran.err
    assert ran.out.split("\n")[0].split() == ["id", "username"]
    assert {"admin", "requester", "approver"} <= set(ran.out.split())


def test_each_resource_has_a_help(shop: Shop) -> None:
    index = httpx.get(f"{shop.awx.url}/api/v2/").json()
    for name in index:
        ran = shop.awx(name, "--help")
        # The command wants an action even then, and ends with 2; of what has none it ends with 0.
        assert ran.code == (0 if name in CONTROL else 2), (name, ran.out, ran.err)
        assert f"usage: awx {name}" in ran.out + ran.err
    launching = shop.awx("job_templates", "launch", "--help")
    told = launching.out + launching.err
    assert "--extra_vars" in told
    assert "--scm_branch" in told
    assert "--limit" not in told
    assert "--status {pending,waiting,running," in shop.awx("jobs", "list", "--help").out


def test_each_list_and_each_first_one_can_be_read(shop: Shop) -> None:
    index = httpx.get(f"{shop.awx.url}/api/v2/").json()
    for name in index:
        if name in CONTROL:
            assert shop.awx(name).code == 0
        if name in (*CONTROL, "bulk"):
            continue
        ran = shop.awx(name, "list", "--all")
        assert ran.code == 0, (name, ran.out, ran.err)
        for each in ran.json["results"][:1]:
            if not name.startswith("unified_"):
                assert shop.awx(name, "get", str(each["id"])).json["id"] == each["id"]


def test_what_is_wrong_is_told_and_ends_badly(shop: Shop) -> None:
    wrong = shop.awx("job_templates", "launch", DEVELOPMENT, "--extra_vars", '{"port": "many"}')
    assert wrong.code == 1
    assert "port" in wrong.out + wrong.err
    missing = shop.awx("job_templates", "launch", "no / such / one")
    assert missing.code != 0


def test_a_schedule_is_made_launches_and_is_deleted(shop: Shop) -> None:
    found = shop.awx("unified_job_templates", "list", "--name", PRODUCTION).json["results"]
    # Later than the command takes to get there, also on a machine that has much to do.
    start = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + 12))
    made = shop.awx(
        "schedules", "create", "--name", "soon", "--unified_job_template", str(found[0]["id"]),
        "--rrule", f"DTSTART:{start} RRULE:FREQ=DAILY;COUNT=1", "--scm_branch", "2",
        "--extra_data", '{"version": "2", "port": 8080}',
    )  # fmt: skip
    assert made.code == 0, made.out + made.err
    job = _until(shop, lambda job: job["schedule"] == made.json["id"])
    assert job["launch_type"] == "scheduled"
    assert shop.awx("schedules", "delete", "soon").code == 0


def bulk(shop: Shop, *more: str) -> Ran:
    """Launch version 1 in development and version 2 in production at once."""
    found = {each["name"]: each["id"] for each in shop.awx("job_templates", "list").json["results"]}
    jobs = [
        {
            "unified_job_template": found[name], "scm_branch": version,
            "extra_data": {"version": version, "port": port},
        }
        for name, version, port in ((DEVELOPMENT, "1", 8081), (PRODUCTION, "2", 8080))
    ]  # fmt: skip
    return shop.awx("bulk", "job_launch", "--jobs", json.dumps(jobs), *more)


def test_several_are_launched_at_once_and_followed_as_one(shop: Shop) -> None:
    ran = bulk(shop, "--name", "nightly")
    assert ran.code == 0, ran.out + ran.err
    assert (ran.json["type"], ran.json["name"]) == ("workflow_job", "nightly")
    newest = shop.awx("jobs", "list", "--order_by=-id").json["results"][:2]
    assert {job["related"]["source_workflow_job"] for job in newest} == {ran.json["url"]}
    number = str(ran.json["id"])
    launched = shop.awx("workflow_jobs", "get", number).json
    assert (launched["status"] in ("pending", "running"), launched["finished"]) == (True, None)
    monitoring = shop.awx.start("workflow_jobs", "monitor", number)
    waiting = _until(shop, lambda job: "waits for approval" in job["job_explanation"])
    assert monitoring.poll() is None
    shop.walked.approver.post(f"/deploy/releases/{_release(waiting)}/approve", {"comment": "looks right"})
    out, err = monitoring.communicate(timeout=180)
    assert monitoring.returncode == 0, out + err
    for job in newest:
        assert f"{job['id']} - {job['name']} successful" in out
    listed = shop.awx("workflow_jobs", "list", "--name", "nightly", "--status", "successful").json
    assert [each["id"] for each in listed["results"]] == [ran.json["id"]]
    again = shop.awx("workflow_jobs", "monitor", number)
    assert "Unable to monitor finished job" in again.out


def test_several_are_cancelled_as_one(shop: Shop) -> None:
    """awxkit has no command for it; its library has."""
    ran = bulk(shop)
    _until(shop, lambda job: "waits for approval" in job["job_explanation"])
    script = (
        "import os; from awxkit import api, config; from awxkit.api.client import Connection\n"
        "config.base_url = os.environ['CONTROLLER_HOST']; connection = Connection(config.base_url)\n"
        "connection.login(token=os.environ['CONTROLLER_OAUTH_TOKEN'])\n"
        "v2 = api.Api(connection=connection).get().current_version.get()\n"
        f"job = v2.workflow_jobs.get(id={ran.json['id']}).results[0].cancel()\n"
        "job.wait_until_completed(timeout=120); print(job.get().finished is not None)\n"
    )
    assert _python(shop, script) == "True\n"
    assert shop.newest()["status"] == "canceled"
    assert shop.awx("workflow_jobs", "monitor", str(ran.json["id"])).code == 0


def test_what_the_command_cannot_monitor_by_itself_is_launched_all_the_same(shop: Shop) -> None:
    """awxkit 24.6.1 compares a number with nothing there: docs/awx.md says so."""
    ran = bulk(shop, "--monitor")
    assert ran.code != 0
    assert "not supported between instances" in ran.out + ran.err
    job = _until(shop, lambda job: "waits for approval" in job["job_explanation"])
    assert job["name"] == PRODUCTION
    shop.walked.approver.post(f"/deploy/releases/{_release(job)}/reject", {"comment": "not today"})


def test_what_a_running_job_releases_to_is_not_deleted_and_the_job_goes_on(shop: Shop) -> None:
    monitoring = shop.awx.start(*shop.launch(DEVELOPMENT, "2", "--monitor", *SOON))
    job = _until(shop, lambda job: job["status"] == "running")
    admin = Person(shop.admin.url, "admin", shop.admin.token)
    release = admin.get(f"/deploy/releases/{_release(job)}")
    for path in (f"/deploy/targets/{release['target_id']}", f"/services/{release['service_id']}"):
        with pytest.raises(Refused, match="resource_in_use"):
            admin.delete(path)
    out, err = monitoring.communicate(timeout=180)
    assert monitoring.returncode == 0, out + err
    assert monitored(Ran(0, out, err)) == shop.stdout(job["id"])


def test_a_notification_is_set_up_linked_and_taken_away(shop: Shop) -> None:
    made = shop.admin(
        "notification_templates", "create", "--name", "bell", "--project", "shop",
        "--notification_type", "webhook",
        "--notification_configuration", '{"url": "http://example.org/", "secret": "k"}',
    )  # fmt: skip
    assert made.code == 0, made.out + made.err
    assert made.json["notification_configuration"]["secret"] == "$encrypted$"
    for verb, there in (("associate", 1), ("disassociate", 0)):
        ran = shop.admin("job_templates", verb, DEVELOPMENT, "--success_notification", "bell")
        assert ran.code == 0, ran.out + ran.err
        assert ran.json["count"] == there
    changed = shop.admin("notification_templates", "modify", "bell", "--description", "rings")
    assert (changed.code, changed.json["description"]) == (0, "rings")
    assert shop.admin("notification_templates", "delete", "bell").code == 0
    assert shop.admin("notification_templates", "list").json["count"] == 0


def test_an_install_is_launched_and_followed_to_what_stands_against_it(shop: Shop) -> None:
    """The shop has no bundle: its preview says so, and nothing is installed."""
    admin = Person(shop.admin.url, "admin", shop.admin.token)
    hosts = [host["id"] for host in admin.get("/hosts")["items"]]
    made = {
        "project_id": shop.walked.project_id,
        "name": "bare",
        "stage": "development",
        "mode": "platform_managed",
    }
    admin.post("/environments", {**made, "host_ids": hosts})
    name = "shop / bare / install"
    launch = ["job_templates", "launch", name, "--extra_vars", '{"profile": "standard"}', "--monitor", *SOON]
    ran = shop.awx(*launch)
    assert ran.code == 1, ran.out + ran.err
    job = shop.newest()
    assert (job["name"], job["status"], job["started"]) == (name, "failed", None)
    assert "bundle" in job["job_explanation"]
    assert monitored(ran) == shop.stdout(job["id"])


def _until(shop: Shop, is_so: Any) -> Any:
    until = time.monotonic() + 60
    while True:
        job = shop.newest()
        if is_so(job) or time.monotonic() > until:
            assert is_so(job), job
            return job
        time.sleep(0.5)


def _release(job: Any) -> str:
    return str(job["artifacts"]["tidegate"]["release_id"])


def _address(shop: Shop) -> str:
    return str(shop.walked.requester.get("/hosts")["items"][0]["address"])


def _python(shop: Shop, script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=shop.awx.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
