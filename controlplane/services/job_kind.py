# SPDX-License-Identifier: Apache-2.0
"""What a kind of job has to say for itself. The worker knows this shape and nothing of releases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from controlplane.ports.runner import PlaybookRun, RunEvent, RunOutcome
from controlplane.services.core import Core
from controlplane.services.jobs import Lease


class JobKind(Protocol):
    """One job under one lease. Each method is a transaction of its own that first checks the lease."""

    def __init__(self, core: Core, lease: Lease) -> None: ...

    def begin(self) -> PlaybookRun | None:
        """Mark the work as begun and say what to run; None when there is nothing to do any more.

        Raises:
            LeaseLost: another worker has the job.
            Problem: it cannot be run; the worker calls `refuse` with it.
        """
        ...

    def record(self, batch: Sequence[RunEvent]) -> None:
        """Keep a batch of what happened. Raises LeaseLost."""
        ...

    def end(self, outcome: RunOutcome) -> PlaybookRun | None:
        """Take in how a run ended; a run that must follow (ending the remote work) is returned. Raises LeaseLost."""
        ...

    def refuse(self, error_key: str, detail: str) -> None:
        """End the job because it could not be run at all, or its workers were lost too often. Raises LeaseLost."""
        ...
