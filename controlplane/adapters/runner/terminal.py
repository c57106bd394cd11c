# SPDX-License-Identifier: Apache-2.0
"""How ansible-runner's ansible-playbook is started and read: bound to its parent, and in bounded memory."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import pexpect

from controlplane.adapters.runner.processes import die_with_parent

# Characters of plain output between two of the marks that runner's callback writes; what is beyond is left out.
PLAIN_MOST = 1 << 20
_CHUNK = 1 << 16
_EVENT_MARK = "\x1b[K"


class AnsibleTerminal(pexpect.spawn):  # type: ignore[misc]
    """What ansible-runner gets for `pexpect.spawn`.

    pexpect keeps all output of a process to look for prompts in it, and copies it at each look: hundreds of
    megabytes of output would be held several times. There is no prompt here; output is handed on and forgotten.
    """

    # Secrets that go to the process and into none of the files that ansible-runner writes about it.
    secret_environment: Mapping[str, str] = {}

    def __init__(self, command: str, arguments: list[str], *, env: Mapping[str, str], **options: Any) -> None:
        parent = os.getpid()
        self._plain = 0
        self._half_mark = ""
        options["preexec_fn"] = lambda: die_with_parent(parent)
        super().__init__(command, arguments, env={**env, **self.secret_environment}, **options)
        # It is closed once the process has ended and was waited for: the kernel needs no time for anything then.
        self.ptyproc.delayafterclose = 0

    def expect(self, pattern: Any, timeout: float = -1, searchwindowsize: int = -1, **_: Any) -> int:
        """Read for `timeout` seconds, or to the end; return the index of pexpect's TIMEOUT or EOF in `pattern`."""
        patterns = pattern if isinstance(pattern, list) else [pattern]
        until = time.monotonic() + timeout
        try:
            while pexpect.TIMEOUT not in patterns or time.monotonic() < until:
                self.read_nonblocking(_CHUNK, max(0.0, until - time.monotonic()))
        except pexpect.EOF:
            return patterns.index(pexpect.EOF)
        except pexpect.TIMEOUT:
            pass
        return patterns.index(pexpect.TIMEOUT) if pexpect.TIMEOUT in patterns else patterns.index(pexpect.EOF)

    def _log(self, s: str, direction: str) -> None:
        super()._log(self._bounded(s) if direction == "read" else s, direction)

    def _bounded(self, text: str) -> str:
        """Cut what comes after the first `PLAIN_MOST` characters since the last mark."""
        text = self._half_mark + text
        self._half_mark = next((half for half in ("\x1b[", "\x1b") if text.endswith(half)), "")
        text = text.removesuffix(self._half_mark) if self._half_mark else text
        head, mark, rest = text.partition(_EVENT_MARK)
        kept = head[: max(0, PLAIN_MOST - self._plain)]
        if not mark:
            self._plain += len(head)
            return kept
        self._plain = len(rest) - (rest.rfind(_EVENT_MARK) + len(_EVENT_MARK) if _EVENT_MARK in rest else 0)
        return kept + mark + rest
