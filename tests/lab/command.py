# SPDX-License-Identifier: Apache-2.0
"""Running a program on this machine: argument lists only, and a failure that shows what the program said."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence


class LabError(RuntimeError):
    """The lab could not do what was asked; the message names the command and ends with its output."""


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    text: str | None = None,
    timeout: float = 300,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `argv`, giving it `text` on stdin (nothing otherwise).

    With `check`, an exit code other than 0 raises LabError; so does a program that is not there or does not
    end within `timeout` seconds, whatever `check` says.
    """
    stdin = {"input": text} if text is not None else {"stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run(
            list(argv), capture_output=True, text=True, errors="replace", timeout=timeout, env=env, **stdin
        )
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(argv)}: no end after {timeout:g} s") from error
    if check and done.returncode != 0:
        raise LabError(
            f"{' '.join(argv)}: exit code {done.returncode}\n{(done.stderr or done.stdout)[-4000:]}"
        )
    return done


def run_bytes(argv: Sequence[str], data: bytes, timeout: float = 300) -> bytes:
    """Run `argv` with `data` on stdin and answer what it wrote; a failure is a LabError with its output."""
    done = subprocess.run(list(argv), input=data, capture_output=True, timeout=timeout)
    if done.returncode != 0:
        raise LabError(
            f"{' '.join(argv)}: exit code {done.returncode}\n{done.stderr.decode(errors='replace')[-4000:]}"
        )
    return done.stdout
