# SPDX-License-Identifier: Apache-2.0
"""What a worker makes of a run that the runner refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from controlplane.domain.errors import Problem
from controlplane.ports.runner import PlaybookRun, RunEvent, RunOutcome
from controlplane.services import jobs, releases
from controlplane.worker.loop import Worker
from tests.services import installation
from tests.services.installation import Installation
from tests.services.test_releases import previewed


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Installation]:
    made = installation.make(f"sqlite:///{tmp_path}/tidegate.db", tmp_path)
    yield made
    made.core.queue.close()
    made.core.database.engine.dispose()


class Refusing:
    """A runner that runs nothing: a host's key was taken back since the job was made."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def run(
        self,
        run: PlaybookRun,
        on_events: Callable[[Sequence[RunEvent]], None],
        should_stop: Callable[[], bool],
    ) -> RunOutcome:
        self.asked.set()
        raise Problem("host_key_unconfirmed", "the key of a is not confirmed")

    def close(self) -> None:
        pass


def test_what_the_runner_refuses_ends_at_once_with_the_reason(shop: Installation) -> None:
    release = previewed(shop)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    runner = Refusing()
    worker = Worker(shop.core, runner, slots=1)
    working = threading.Thread(target=worker.run)
    working.start()
    assert runner.asked.wait(10)
    worker.stop()
    working.join(20)
    ended = releases.get(shop.core, shop.releaser, release["release_id"])
    assert (ended["lifecycle_state"], ended["diagnostics_json"]["error_key"]) == (
        "failed",
        "host_key_unconfirmed",
    )
    shop.clock.pass_(minutes=5)
    assert jobs.claim(shop.core, "another") is None, "nothing is left for the lease to end"
