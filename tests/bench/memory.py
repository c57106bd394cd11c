# SPDX-License-Identifier: Apache-2.0
"""The memory of `tidegate serve` with its workers while nothing runs."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.bench.figure import Figure
from tests.bench.installation import served

SETTLE_SECONDS = 3.0


def measure(folder: Path) -> list[Figure]:
    """Return the proportional set size of all processes, in MB, after the API document was read once."""
    with served(folder / "idle") as (admin, process):
        admin.get("/openapi.json")
        time.sleep(SETTLE_SECONDS)
        used = sum(_proportional(pid) for pid in _family(process.pid))
    return [Figure("idle memory of tidegate serve with workers", used * 1024 / 1e6, "MB", 150.0)]


def _family(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in listed for each in _family(int(child)))]


def _proportional(pid: int) -> int:
    """Return kB; what processes share counts by share (proc_pid_smaps(5))."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])
