# SPDX-License-Identifier: Apache-2.0
"""A page of a timeline in an installation with many events, and in one with few."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from controlplane.domain.permission import system_actor
from controlplane.services.core import Core
from controlplane.store import events
from tests.api.releases import add_release
from tests.bench.figure import Figure, seconds, side_by_side
from tests.bench.installation import core_of, served
from tests.demo.rest import Person

FEW, MANY = 1_000, 1_000_000
BATCH = 2_000
REQUESTS = 20


def measure(folder: Path, many: int = MANY, rounds: int = 15) -> list[Figure]:
    """Return the figure of a page of 100 in the middle of a release's timeline."""
    with ExitStack() as stack:
        asked = {}
        for count in (many, FEW):
            home = folder / f"events-{count}"
            admin, _process = stack.enter_context(served(home))
            project_id = str(admin.post("/projects", {"name": "bench"})["id"])
            core = core_of(home)
            release_id = add_release(core, project_id, state="applying", status="running")
            _fill(core, release_id, project_id, count)
            core.database.engine.dispose()
            asked[count] = (admin, release_id, count // 2)
        ours, (few,) = side_by_side(lambda: _pages(*asked[many]), [lambda: _pages(*asked[FEW])], rounds)
    return [
        Figure(
            f"timeline page of 100 at {many:,} events",
            ours * 1000,
            "ms",
            2.0,
            f"at {FEW:,} events",
            few * 1000,
        )
    ]


def _pages(admin: Person, release_id: str, after: int) -> float:
    """Return the mean seconds of a page."""

    def ask() -> None:
        for number in range(REQUESTS):
            page = admin.get(f"/deploy/releases/{release_id}/timeline", limit=100, after=after + number)
            assert len(page["items"]) == 100, page

    return seconds(ask) / REQUESTS


def _fill(core: Core, release_id: str, project_id: str, count: int) -> None:
    """Write a release's steps as a worker does, in batches."""
    actor = system_actor("worker")
    detail = {"host": "host-a", "step": "health", "status": "succeeded", "duration_ms": 1200, "exit_code": 0}
    step = events.NewEvent(
        "release.step_succeeded", "release", release_id, project_id=project_id, detail=detail
    )
    for _ in range(count // min(BATCH, count)):
        with core.database.write() as session:
            events.append(session, actor, core.clock.now(), [step] * min(BATCH, count))
