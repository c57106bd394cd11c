# SPDX-License-Identifier: Apache-2.0
"""Several templates launched at once by the real `awx` command and the real modules of `awx.awx`, against a server that
has no host: what a worker would do to the releases is written to their rows.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from controlplane.domain.identifier import new_id
from controlplane.domain.release import State
from controlplane.services.core import Core
from controlplane.store.tables import Release, ServiceVersion
from tests.api.releases import add_release
from tests.awx.command import Awx, Ran
from tests.awx.test_collection import FOLDER, played
from tests.bench.installation import core_of, served
from tests.demo import server

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("awx")]


@dataclass
class Counter:
    """A server with one template, and `awx` as its administrator."""

    core: Core
    awx: Awx
    template: int
    name: str

    def launch(self, *more: str) -> Any:
        """Launch the template twice at once; return what was answered."""
        jobs = json.dumps([{"unified_job_template": self.template}] * 2)
        ran = self.awx("bulk", "job_launch", "--jobs", jobs, *more)
        assert ran.code == 0, ran.out + ran.err
        return ran.json

    def monitored(self, number: str, state: State) -> Ran:
        """Monitor what was launched, and end it once that has begun."""
        running = self.awx.start("workflow_jobs", "monitor", number)
        assert running.stdout is not None
        begun = ""
        while "Launching" not in begun and (line := running.stdout.readline()):
            begun += line
        with self.worked(state):
            out, err = running.communicate(timeout=120)
        return Ran(running.returncode, begun + out, err)

    @contextmanager
    def worked(self, state: State) -> Iterator[None]:
        """End whatever is launched, until the block is left."""
        over = threading.Event()

        def work() -> None:
            while not over.wait(1):
                self._end(state)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _end(self, state: State) -> None:
        now = self.core.clock.now()
        with self.core.database.write() as session:
            for release in session.scalars(select(Release).where(Release.status == "previewing")):
                release.state, release.status = state, "failed" if state == State.FAILED else "success"
                release.started_at = release.finished_at = now
                release.diagnostics = {"failure_domain": "application"} if state == State.FAILED else None


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    """The server, without workers."""
    home = tmp_path_factory.mktemp("several") / "home"
    home.with_suffix(".token").write_text(server.initialise(home))
    with (home / "tidegate.toml").open("a") as settings:
        settings.write("workers = 0\n")
    with served(home) as (admin, _process):
        core = core_of(home)
        release_id = add_release(
            core, str(admin.post("/projects", {"name": "shop"})["id"]), State.APPLIED, "success"
        )
        with core.database.write() as session:
            session.add(
                ServiceVersion(
                    id=new_id("ver"), service_id=session.get_one(Release, release_id).service_id, version="1",
                    number=1, template="services: {}\n", digest="sha256:1", created_by="usr",
                    created_at=core.clock.now(),
                )
            )  # fmt: skip
        awx = Awx(admin.url, admin.token)
        (template,) = awx("job_templates", "list").json["results"]
        yield Counter(core, awx, template["id"], template["name"])
        core.database.engine.dispose()


def test_they_are_listed_shown_and_monitored_to_their_good_end(counter: Counter) -> None:
    launched = counter.launch("--name", "nightly")
    assert (launched["type"], launched["name"], launched["status"]) == ("workflow_job", "nightly", "pending")
    number = str(launched["id"])
    shown = counter.awx("workflow_jobs", "get", number).json
    assert (shown["status"], shown["finished"], shown["failed"]) == ("pending", None, False)
    ran = counter.monitored(number, State.APPLIED)
    assert ran.code == 0, ran.out + ran.err
    for job in counter.awx("jobs", "list", "--order_by=-id").json["results"][:2]:
        assert job["related"]["source_workflow_job"] == launched["url"]
        assert f"{job['id']} - {counter.name} successful" in ran.out
    listed = counter.awx("workflow_jobs", "list", "--name", "nightly", "--status", "successful").json
    assert [each["id"] for each in listed["results"]] == [launched["id"]]
    assert "Unable to monitor finished job" in counter.awx("workflow_jobs", "monitor", number).out


def test_one_that_failed_is_told_so_by_the_monitor(counter: Counter) -> None:
    """Its exit code is 0 all the same: awxkit 24.6.1 drops what `monitor` came to, of jobs too."""
    launched = counter.launch()
    ran = counter.monitored(str(launched["id"]), State.FAILED)
    assert ran.out.count(f"- {counter.name} failed") == 2
    assert counter.awx("workflow_jobs", "get", str(launched["id"])).json["status"] == "failed"


@pytest.mark.skipif(
    not FOLDER, reason="TIDEGATE_TEST_AWX_COLLECTIONS names no folder with ansible_collections/awx"
)
def test_the_module_waits_for_all_of_them(counter: Counter, tmp_path: Path) -> None:
    looked_up = (
        f"{{{{ lookup('awx.awx.controller_api', 'job_templates', query_params={{'name': '{counter.name}'}}, "
        "return_ids=True, expect_one=True) }}"
    )
    one = {"unified_job_template": looked_up}
    tasks: list[dict[str, Any]] = [
        {"awx.awx.bulk_job_launch": {"jobs": [one, one], "name": "x", "interval": 1}, "register": "waited"},
        {"awx.awx.bulk_job_launch": {"jobs": [one], "wait": False}, "register": "launched"},
        {
            "awx.awx.bulk_job_launch": {"jobs": [one], "limit": "a"},
            "register": "limited", "ignore_errors": True,
        },
    ]  # fmt: skip
    with counter.worked(State.APPLIED):
        found = played(counter.awx, tmp_path, tasks)
    assert (found["waited"]["status"], found["waited"]["changed"]) == ("successful", True)
    assert len(found["waited"]["job_info"]["jobs"]) == 2
    assert found["launched"]["status"] == "pending"
    assert "all hosts" in str(found["limited"]["response"]["json"])
