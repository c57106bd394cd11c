# SPDX-License-Identifier: Apache-2.0
"""The queue says "there is work" and nothing else: what the work is stands in the jobs table."""

from __future__ import annotations

from typing import Protocol


class Queue(Protocol):
    """Wakes workers. Losing a wake-up costs latency, never a job: workers look at the table as well."""

    def prepare(self) -> None:
        """Begin to receive wake-ups. A worker calls it before its first look at the jobs table."""
        ...

    def wake(self, job_id: str) -> None:
        """Tell some worker that this job became due. Called after the commit that made it so."""
        ...

    def wait(self, timeout: float) -> str | None:
        """Block up to `timeout` seconds for a wake-up; return the job id it named, or None."""
        ...

    def close(self) -> None:
        """Give back connections and sockets."""
        ...
