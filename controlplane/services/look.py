# SPDX-License-Identifier: Apache-2.0
"""What jobs that only look at hosts have in common: they keep the log, and note who failed and who was not reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controlplane.domain.diagnostics import Findings
from controlplane.ports.runner import RunEvent, RunHost
from controlplane.services import connection, jobs
from controlplane.services.core import Core
from controlplane.services.jobs import Lease


class Look:
    """The half of a `job_kind.JobKind` that does not depend on what is looked for."""

    def __init__(self, core: Core, lease: Lease) -> None:
        self._core = core
        self._lease = lease
        self._findings = Findings()
        self._hosts: Mapping[str, RunHost] = {}

    def record(self, batch: Sequence[RunEvent]) -> None:
        """Keep the log and note failures. Raises LeaseLost."""
        with self._core.database.write() as session:
            jobs.fenced(session, self._lease)
            jobs.write_logs(session, self._lease, batch)
        for event in batch:
            self._findings.note(event.host, event.data, failed=event.failed, unreachable=event.unreachable)

    def _unreached(self) -> Mapping[str, tuple[str, str]]:
        """Those that were not reached: see `connection.explain`."""
        return connection.explain(self._core, self._hosts, self._findings.unreachable)
