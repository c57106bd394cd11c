# SPDX-License-Identifier: Apache-2.0
"""Programs run on a host, with an end to waiting for them."""

from __future__ import annotations

import subprocess
from typing import Dict, List, NamedTuple, Optional


class Done(NamedTuple):
    """How a program ended: its exit code (124 when it took too long) and all it said."""

    exit_code: int
    said: str


def run(argv: List[str], environment: Optional[Dict[str, str]] = None, timeout: float = 60) -> Done:
    """Run a program to its end. A program that is not there ends with 127."""
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment,
            timeout=timeout, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        return Done(127, f"{argv[0]} is not there")
    except subprocess.TimeoutExpired:
        return Done(124, f"{argv[0]} took longer than {timeout:g} s")
    return Done(done.returncode, done.stdout.decode("utf-8", "replace").replace("\0", ""))
