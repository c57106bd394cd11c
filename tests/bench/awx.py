# SPDX-License-Identifier: Apache-2.0
"""The door for AWX's clients: launches a second, a page of events far behind, and many clients that poll."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import insert, select

from controlplane.awx import lines
from controlplane.domain.identifier import new_id
from controlplane.services.core import Core
from controlplane.store.tables import AwxJob, Job, JobLog, Release, ServiceVersion
from tests.api.releases import add_release
from tests.bench.figure import Figure, percentile, seconds, side_by_side
from tests.bench.installation import core_of, served
from tests.demo import server
from tests.demo.rest import Person

LAUNCHES = 200
# The queue fills: nobody works on what is launched.
LEAST_A_SECOND = 20.0
FEW, MANY = 100, 100_000
PAGE = 50
REQUESTS = 20
CLIENTS = 1_000
EVERY_SECONDS = 2.5
POLLING_SECONDS = 10.0


def measure(folder: Path, rounds: int = 9) -> list[Figure]:
    """Return the figures."""
    home = folder / "awx"
    _make(home)
    with served(home) as (admin, _process):
        project_id = str(admin.post("/projects", {"name": "bench"})["id"])
        core = core_of(home)
        release_id = add_release(core, project_id, state="applying", status="running")
        job = _job(core, release_id)
        figures = [_launches(admin, core, release_id), _events(admin, core, project_id, rounds)]
        figures.append(_polls(admin, job, release_id))
        core.database.engine.dispose()
    return figures


def _make(home: Path) -> None:
    """Make an installation whose server has no workers: what is launched stays in the queue."""
    home.with_suffix(".token").write_text(server.initialise(home))
    with (home / "tidegate.toml").open("a") as settings:
        settings.write("workers = 0\n")


def _launches(admin: Person, core: Core, release_id: str) -> Figure:
    """Launch one after another; the figure is the time of one, held against what so many a second leave for it."""
    with core.database.write() as session:
        release = session.get_one(Release, release_id)
        session.add(
            ServiceVersion(
                id=new_id("ver"), service_id=release.service_id, version="1", number=1, template="services: {}\n",
                digest="sha256:1", created_by="usr", created_at=core.clock.now(),
            )
        )  # fmt: skip
    with httpx.Client(base_url=admin.url, headers=_bearer(admin)) as client:
        (template,) = client.get("/api/v2/job_templates/").json()["results"]

        def launch() -> None:
            for _ in range(LAUNCHES):
                answer = client.post(template["related"]["launch"], json={})
                assert answer.status_code == 201, answer.text

        taken = seconds(launch)
    return Figure(
        f"launch through the AWX door ({LAUNCHES / taken:.0f} a second)", taken / LAUNCHES * 1000, "ms",
        1000 / LEAST_A_SECOND,
    )  # fmt: skip


def _events(admin: Person, core: Core, project_id: str, rounds: int) -> Figure:
    paths = {}
    for count in (FEW, MANY):
        release_id = add_release(core, project_id, state="applying", status="running")
        job = _job(core, release_id)
        _fill(core, release_id, count)
        paths[count] = (f"/api/v2/jobs/{job}/job_events/", count)
    with httpx.Client(base_url=admin.url, headers=_bearer(admin), timeout=120) as client:

        def pages(path: str, count: int) -> float:
            def ask() -> None:
                for number in range(REQUESTS):
                    line = count - PAGE - number
                    query = {"order_by": "start_line", "start_line__gte": line, "page_size": PAGE}
                    found = client.get(path, params=query).json()["results"]
                    assert len(found) == PAGE, found
                    assert found[0]["start_line"] == line

            return seconds(ask) / REQUESTS

        many, (few,) = side_by_side(lambda: pages(*paths[MANY]), [lambda: pages(*paths[FEW])], rounds)
    return Figure(
        f"job_events page of {PAGE} at {MANY:,} lines", many * 1000, "ms", 2.0, f"at {FEW} lines", few * 1000
    )


def _polls(admin: Person, job: int, release_id: str) -> Figure:
    """Many clients that wait for a job, each asking every 2.5 s; then as many that ask the API for its release."""
    ours = _polled(admin, f"/api/v2/jobs/{job}/")
    native = _polled(admin, f"/api/v1/deploy/releases/{release_id}")
    return Figure(
        f"p95 of a poll, {CLIENTS:,} clients each {EVERY_SECONDS:g} s", percentile(ours, 0.95) * 1000, "ms", 2.0,
        "the API's own", percentile(native, 0.95) * 1000,
    )  # fmt: skip


def _polled(admin: Person, path: str) -> list[float]:
    taken: list[float] = []
    stop = time.monotonic() + POLLING_SECONDS
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    with httpx.Client(base_url=admin.url, headers=_bearer(admin), timeout=120, limits=limits) as client:
        # Threads that each stand for many clients: they ask as often as all of these would, one behind the other.
        askers = 32
        each = CLIENTS // askers

        def poll() -> None:
            while time.monotonic() < stop:
                begun = time.monotonic()
                for _ in range(each):
                    if time.monotonic() > stop:
                        return
                    taken.append(seconds(lambda: client.get(path).raise_for_status()))
                time.sleep(max(0.0, begun + EVERY_SECONDS - time.monotonic()))

        _together(poll, askers)
    return taken


def _together(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _job(core: Core, release_id: str) -> int:
    """Make a launched job of a release that is there, with the job of a worker."""
    now = core.clock.now()
    with core.database.write() as session:
        release = session.get_one(Release, release_id)
        session.add(
            Job(
                id=new_id("job"), kind="apply", resource_type="release", resource_id=release_id,
                project_id=release.project_id, state="paused", params={}, resources=[], created_at=now, due_at=now,
            )
        )  # fmt: skip
        row = AwxJob(
            release_id=release_id, template_id=1, template_name="bench", user_id="usr", launch_type="manual",
            asking="asked", created_at=now,
        )  # fmt: skip
        session.add(row)
        session.flush()
        return row.id


def _fill(core: Core, release_id: str, count: int) -> None:
    with core.database.write() as session:
        job_id = session.scalar(select(Job.id).where(Job.resource_id == release_id))
        rows: list[dict[str, Any]] = [
            {
                "job_id": job_id, "run": 1, "counter": number, "kind": "runner_on_ok", "host": "a", "play": "x",
                "task": None, "role": None,
                "changed": False, "failed": False, "at": "2026-01-01T12:00:00Z", "stdout": "ok: [a]",
            }
            for number in range(1, count + 1)
        ]  # fmt: skip
        session.execute(insert(JobLog), rows)
    with core.database.read() as session:
        number = session.scalar(select(AwxJob.id).where(AwxJob.release_id == release_id))
    assert number is not None
    lines.open_log(core, number, release_id)


def _bearer(admin: Person) -> dict[str, str]:
    return {"Authorization": f"Bearer {admin.token}"}
