# SPDX-License-Identifier: Apache-2.0
"""The real modules of `awx.awx` in a playbook, where TIDEGATE_TEST_AWX_COLLECTIONS names a folder that has them.

They are made of AWX's public source: its `awx_collection` as `ansible_collections/awx/awx` in that folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.awx.command import Awx
from tests.awx.shop import DEVELOPMENT, PASSWORD, PRODUCTION, Shop

FOLDER = os.environ.get("TIDEGATE_TEST_AWX_COLLECTIONS", "")
pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("awx"),
    pytest.mark.skipif(
        not FOLDER, reason="TIDEGATE_TEST_AWX_COLLECTIONS names no folder with ansible_collections/awx"
    ),
]
VALUES = {"version": "2", "port": 8080}


def played(
    awx: Awx, folder: Path, tasks: list[dict[str, Any]], who: dict[str, str] | None = None
) -> dict[str, Any]:
    """Play tasks and return what each registered, by its name."""
    told = [
        {"ansible.builtin.copy": {"content": "{{ " + name + " | to_json }}", "dest": str(folder / name)}}
        for name in (task["register"] for task in tasks)
    ]
    play: dict[str, Any] = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": tasks + told,
    }
    play["vars"] = {"ansible_python_interpreter": sys.executable}
    book = folder / "play.yml"
    book.write_text(yaml.safe_dump([play], sort_keys=False))
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": FOLDER,
        "ANSIBLE_LOCALHOST_WARNING": "false", "CONTROLLER_HOST": awx.url,
        "CONTROLLER_VERIFY_SSL": "false", **(who or {"CONTROLLER_OAUTH_TOKEN": awx.token}),
    }  # fmt: skip
    line = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(book)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=280, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return {task["register"]: json.loads((folder / task["register"]).read_text()) for task in tasks}


def test_launch_wait_list_and_cancel(shop: Shop, tmp_path: Path) -> None:
    tasks: list[dict[str, Any]] = [
        {
            "awx.awx.job_launch": {
                "job_template": DEVELOPMENT, "scm_branch": "1", "wait": True, "timeout": 200,
                "extra_vars": {"version": "1", "port": 8081},
            },
            "register": "launched",
        },
        {
            "awx.awx.job_launch": {"job_template": PRODUCTION, "scm_branch": "2", "extra_vars": VALUES},
            "register": "waiting",
        },
        {
            "awx.awx.job_wait": {"job_id": "{{ waiting.id }}", "timeout": 5, "interval": 1},
            "register": "waited", "ignore_errors": True,
        },
        {"awx.awx.job_list": {"status": "pending"}, "register": "listed"},
        {"awx.awx.job_cancel": {"job_id": "{{ waiting.id }}"}, "register": "cancelled"},
        {"awx.awx.job_cancel": {"job_id": "{{ waiting.id }}"}, "register": "again"},
        {"awx.awx.job_wait": {"job_id": "{{ launched.id }}"}, "register": "ended"},
        {
            "awx.awx.job_launch": {"job_template": DEVELOPMENT, "limit": "a"},
            "register": "limited", "ignore_errors": True,
        },
        {
            "awx.awx.schedule": {
                "name": "collection", "unified_job_template": PRODUCTION, "extra_data": VALUES, "enabled": False,
                "rrule": "DTSTART:20300115T120000Z RRULE:FREQ=DAILY;INTERVAL=1", "scm_branch": "2",
            },
            "register": "scheduled",
        },
    ]  # fmt: skip
    found = played(shop.awx, tmp_path, tasks)
    assert (found["launched"]["status"], found["launched"]["changed"]) == ("successful", True)
    assert found["waiting"]["status"] == "pending"
    assert found["waited"]["failed"] is True
    assert found["waiting"]["id"] in [job["id"] for job in found["listed"]["results"]]
    assert found["cancelled"]["changed"] is True
    assert found["again"]["changed"] is False
    assert found["ended"]["status"] == "successful"
    assert found["limited"]["failed"] is True
    assert found["scheduled"]["changed"] is True
    assert shop.newest()["status"] == "canceled"


def template(name: str) -> str:
    """Return what a playbook says for the id of a template."""
    query = f"'job_templates', query_params={{'name': '{name}'}}, return_ids=True, expect_one=True"
    return f"{{{{ lookup('awx.awx.controller_api', {query}) }}}}"


def test_several_at_once_and_what_they_come_to(shop: Shop, tmp_path: Path) -> None:
    one = {"unified_job_template": template(DEVELOPMENT), "scm_branch": "1"}
    tasks: list[dict[str, Any]] = [
        {
            "awx.awx.bulk_job_launch": {
                "name": "from a playbook", "interval": 1,
                "jobs": [{**one, "extra_data": {"version": "1", "port": 8081}}],
            },
            "register": "launched",
        },
        {
            "awx.awx.bulk_job_launch": {
                "interval": 1, "scm_branch": "3", "extra_vars": {"version": "3", "port": 8081}, "jobs": [one],
            },
            "register": "broken", "ignore_errors": True,
        },
        {
            "awx.awx.bulk_job_launch": {"limit": "a", "jobs": [one]},
            "register": "limited", "ignore_errors": True,
        },
        {
            "awx.awx.bulk_job_launch": {
                "wait": False,
                "jobs": [
                    {"unified_job_template": template(PRODUCTION), "scm_branch": "2", "extra_data": VALUES}
                ],
            },
            "register": "waiting",
        },
        {
            "awx.awx.job_cancel": {"job_id": "{{ waiting.job_info.jobs[0].id }}"},
            "register": "cancelled",
        },
    ]  # fmt: skip
    found = played(shop.awx, tmp_path, tasks)
    launched = found["launched"]
    assert (launched["status"], launched["changed"], launched["job_info"]["type"]) == (
        "successful", True, "workflow_job",
    )  # fmt: skip
    assert launched["elapsed"] > 0
    assert (found["broken"]["failed"], found["broken"]["status"]) == (True, "failed")
    assert found["limited"]["failed"] is True
    assert "all hosts" in str(found["limited"]["response"]["json"])
    assert found["waiting"]["status"] == "pending"
    assert found["cancelled"]["changed"] is True
    ended = shop.awx("workflow_jobs", "get", str(found["waiting"]["id"])).json
    assert (ended["status"], ended["failed"]) == ("canceled", True)


def test_a_name_and_a_password_are_taken_where_there_are_no_tokens_to_be_made(
    shop: Shop, tmp_path: Path
) -> None:
    who = {"CONTROLLER_USERNAME": "requester", "CONTROLLER_PASSWORD": PASSWORD}
    tasks: list[dict[str, Any]] = [
        {"awx.awx.job_list": {"status": "successful"}, "register": "listed"},
        {
            "awx.awx.job_launch": {"job_template": PRODUCTION, "scm_branch": "2", "extra_vars": VALUES},
            "register": "launched",
        },
        {"awx.awx.job_cancel": {"job_id": "{{ launched.id }}"}, "register": "cancelled"},
    ]
    found = played(shop.awx, tmp_path, tasks, who)
    assert "results" in found["listed"]
    assert found["launched"]["status"] == "pending"
    assert found["cancelled"]["changed"] is True
