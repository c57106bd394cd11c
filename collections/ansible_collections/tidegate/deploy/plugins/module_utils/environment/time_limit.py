# SPDX-License-Identifier: Apache-2.0
"""How long a step may take on its host: then it ends, with the program that it waits for."""

from __future__ import annotations

import contextlib
import signal
from typing import Any, Iterator

from ..release.errors import ReleaseError


@contextlib.contextmanager
def within(seconds: float, step: str) -> Iterator[None]:
    """Raises ReleaseError timeout in what runs here when it takes longer; a program that is waited for is killed.

    0 is no limit. For the main thread of a module only.
    """

    def over(_number: int, _frame: Any) -> None:
        raise ReleaseError(
            "timeout",
            f"{step} took longer than {seconds:g} s",
            "See what the host is busy with, then try again; or raise the step's timeout in the bundle's index.",
        )

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
