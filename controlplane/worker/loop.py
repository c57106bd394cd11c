# SPDX-License-Identifier: Apache-2.0
"""The worker: takes a job, keeps its lease alive, runs it and hands its events to the services."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from controlplane.domain.errors import Problem
from controlplane.ports.runner import RunEvent, Runner
from controlplane.services import jobs
from controlplane.services.core import Core
from controlplane.services.job_kind import JobKind
from controlplane.services.job_kinds import KINDS
from controlplane.services.jobs import Lease, LeaseLost

log = logging.getLogger(__name__)

# A wake-up may be lost; this is how long a job can lie unseen then. Seconds.
POLL_SECONDS = 1.0


@dataclass
class _Pulse:
    """What the heartbeat of one job has learnt. `stop` ends the job's run."""

    is_lost: bool = False
    is_cancelled: bool = False
    done: threading.Event = field(default_factory=threading.Event)

    def should_stop(self, worker_stops: threading.Event) -> bool:
        """Say whether the run is to be ended: cancelled, lease lost, or the worker stops."""
        return self.is_lost or self.is_cancelled or worker_stops.is_set()


class Worker:
    """Runs up to `slots` jobs at once, a thread each. `stop()` gives unfinished ones back."""

    def __init__(self, core: Core, runner: Runner, slots: int = 4) -> None:
        self._core = core
        self._runner = runner
        self._stopping = threading.Event()
        self._free = threading.Semaphore(slots)
        self._threads: set[threading.Thread] = set()
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    def run(self) -> None:
        """Take jobs until `stop` is called, then wait for those that run."""
        self._core.queue.prepare()
        log.info("worker started", extra={"worker": self.name})
        while not self._stopping.is_set():
            if not self._free.acquire(timeout=POLL_SECONDS):
                continue
            lease = self._claim()
            if lease is None:
                self._free.release()
                self._core.queue.wait(POLL_SECONDS)
                continue
            thread = threading.Thread(target=self._work, args=(lease,), name=lease.job_id, daemon=True)
            self._threads.add(thread)
            thread.start()
        for thread in list(self._threads):
            thread.join()
        log.info("worker stopped", extra={"worker": self.name})

    def stop(self) -> None:
        """Take no more jobs; end the runs of those at work and give their leases back."""
        self._stopping.set()

    def _claim(self) -> Lease | None:
        try:
            return jobs.claim(self._core, self.name)
        except Exception:
            # The database may be away for a while; a worker outlives that.
            log.exception("no job could be claimed")
            time.sleep(POLL_SECONDS)
            return None

    def _work(self, lease: Lease) -> None:
        pulse = _Pulse()
        beat = threading.Thread(target=self._beat, args=(lease, pulse), daemon=True)
        beat.start()
        try:
            self._run_job(lease, KINDS[lease.kind](self._core, lease), pulse)
        except LeaseLost:
            log.warning("lease lost", extra={"job_id": lease.job_id})
        except Exception:
            # The lease runs out by itself and the job is taken up again, or given up after its attempts.
            log.exception("job broke off", extra={"job_id": lease.job_id})
        finally:
            pulse.done.set()
            beat.join()
            self._threads.discard(threading.current_thread())
            self._free.release()
            # What waited for this job's resources is due now.
            self._core.queue.wake(lease.job_id)

    def _run_job(self, lease: Lease, kind: JobKind, pulse: _Pulse) -> None:
        log.info("job begins", extra={"job_id": lease.job_id, "kind": lease.kind, "attempt": lease.attempt})
        try:
            run = kind.begin()
        except Problem as problem:
            kind.refuse(problem.error_key, problem.detail)
            return
        is_ending = False
        while run is not None:
            try:
                outcome = self._runner.run(
                    run,
                    lambda batch: self._record(kind, batch, pulse),
                    (lambda: pulse.is_lost) if is_ending else (lambda: pulse.should_stop(self._stopping)),
                )
            except Problem as problem:
                # Said by what was asked for, so another try would say it again.
                kind.refuse(problem.error_key, problem.detail)
                return
            if pulse.is_lost:
                raise LeaseLost(lease.job_id)
            if outcome.status == "canceled" and self._stopping.is_set() and not pulse.is_cancelled:
                jobs.release_to_others(self._core, lease)
                return
            run = kind.end(outcome)
            is_ending = True
        log.info("job ended", extra={"job_id": lease.job_id})

    def _record(self, kind: JobKind, batch: Sequence[RunEvent], pulse: _Pulse) -> None:
        try:
            kind.record(batch)
        except LeaseLost:
            pulse.is_lost = True

    def _beat(self, lease: Lease, pulse: _Pulse) -> None:
        settings = self._core.settings
        last = time.monotonic()
        while not pulse.done.wait(min(settings.heartbeat_seconds, 0.5)):
            try:
                # A cancellation is looked for more often than the lease has to be prolonged.
                if time.monotonic() - last >= settings.heartbeat_seconds:
                    pulse.is_cancelled = jobs.heartbeat(self._core, lease) or pulse.is_cancelled
                    last = time.monotonic()
                else:
                    pulse.is_cancelled = jobs.is_cancel_requested(self._core, lease) or pulse.is_cancelled
            except LeaseLost:
                pulse.is_lost = True
                return
            except Exception:
                log.exception("heartbeat failed", extra={"job_id": lease.job_id})
                if time.monotonic() - last > settings.lease_seconds:
                    pulse.is_lost = True
                    return
