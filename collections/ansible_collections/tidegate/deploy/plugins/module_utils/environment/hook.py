# SPDX-License-Identifier: Apache-2.0
"""A hook of the bundle, run on its host: from what was verified, with what it was given, and nothing else.

It gets `TIDEGATE_*` variables and a `context.json` (its path is TIDEGATE_CONTEXT), prints lines `[LEVEL] key=value`,
and ends with 0 when all is well. Other lines are output.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from typing import Any, Dict, List, NamedTuple, Tuple

from ..host import state_folder
from ..release.errors import ReleaseError
from .step_plan import MASKED, is_secret

_LINE = re.compile(r"\[(DEBUG|INFO|WARNING|ERROR)\] ([a-z][a-z0-9_]{0,63})=(.*)\Z")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TAIL = 4000
# Characters of an output that are kept for the task's log.
MOST_LOG = 256 * 1024
_MOST_LINES = 500
_MOST_VALUE = 2000


class Ran(NamedTuple):
    """How a hook ended, and what it said: `log` is all of its output, `output` the end of it."""

    exit_code: int
    log: str
    lines: List[Dict[str, str]]

    @property
    def output(self) -> str:
        return self.log[-_TAIL:]

    def values(self) -> Dict[str, str]:
        """What it told, by key; the last word counts."""
        return {one["key"]: one["value"] for one in self.lines}


def read_lines(output: str) -> List[Dict[str, str]]:
    """The lines of a hook's output that tell something: [{"level", "key", "value"}]."""
    matches = [_LINE.match(line) for line in output.splitlines()]
    found = [
        {"level": one[1], "key": one[2], "value": one[3].strip()[:_MOST_VALUE]} for one in matches if one
    ]
    return found[-_MOST_LINES:]


def run(path: str, sha256: str, context: Dict[str, Any], timeout: float) -> Ran:
    """Run a hook whose content is at `path`. Raises ReleaseError hook_missing, artifact_checksum_mismatch, timeout."""
    content = _content(path, sha256)
    folder = tempfile.mkdtemp(prefix="hook-", dir=_private())
    try:
        # The bytes that were verified are those that run, whatever becomes of the file meanwhile.
        program, told = os.path.join(folder, "hook"), os.path.join(folder, "context.json")
        _write(program, content, 0o700)
        _write(told, json.dumps(context).encode(), 0o600)
        given = {**_variables(context), "TIDEGATE_CONTEXT": told}
        hidden = [_text(value) for name, value in context.get("inputs", {}).items() if is_secret(name)]
        return _ran(program, given, timeout, hidden)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _private() -> str:
    folder = state_folder.path("hooks")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return folder


def _content(path: str, sha256: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ReleaseError("hook_missing", f"the hook cannot be read on the host: {error}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ReleaseError(
            "artifact_checksum_mismatch",
            "the hook on the host is not the bundle's",
            "Deliver the bundle again.",
        )
    return content


def _write(path: str, content: bytes, mode: int) -> None:
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags | os.O_EXCL, mode)) as file:
        file.write(content)


def _variables(context: Dict[str, Any]) -> Dict[str, str]:
    named = {**context.get("inputs", {}), **context.get("variables", {})}
    variables = {
        f"TIDEGATE_{name.upper()}": _text(value) for name, value in named.items() if value is not None
    }
    return {**variables, "PATH": _PATH, "LANG": "C.UTF-8", "HOME": os.path.expanduser("~")}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _ran(program: str, environment: Dict[str, str], timeout: float, hidden: List[str]) -> Ran:
    # A session of its own, so that all that it started ends with it.
    started = subprocess.Popen(
        [program], env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        said, _none = started.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _end(started.pid)
        ran = _read(started.wait(), _left(started), hidden)
        hint = "See what it waits for, then try again."
        raise ReleaseError(
            "timeout", f"the hook took longer than {timeout:g} s", hint, **_detail(ran, [])
        ) from None
    finally:
        _end(started.pid)
        started.wait()
    return _read(started.returncode, said, hidden)


def _left(started: "subprocess.Popen[bytes]") -> bytes:
    """What it said before its time was over; whoever left its session may hold its output open for ever."""
    try:
        return started.communicate(timeout=1)[0]
    except subprocess.TimeoutExpired as error:
        return error.stdout or b""


def _read(exit_code: int, said: bytes, hidden: List[str]) -> Ran:
    output = said.decode("utf-8", "replace")
    # Before anything is cut: a secret that is cut in two would not be known for one.
    for secret in filter(None, hidden):
        output = output.replace(secret, MASKED)
    over = len(output) - MOST_LOG
    log = f"[{over} characters before this are not kept]\n{output[over:]}" if over > 0 else output
    return Ran(exit_code, log, read_lines(output))


def _end(pid: int) -> None:
    """End what is left of the hook's session."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def outcome(ran: Ran, outputs: List[str]) -> Tuple[bool, Dict[str, Any]]:
    """Whether it says that it changed something, and the step's detail. Raises ReleaseError hook_failed."""
    values, detail = ran.values(), _detail(ran, outputs)
    missing = [name for name in outputs if name not in values]
    if ran.exit_code != 0 or missing:
        errors = [f"{one['key']}={one['value']}" for one in ran.lines if one["level"] == "ERROR"]
        said = "; ".join(errors) or (ran.output.strip().splitlines() or [""])[-1][:500]
        why = f"ended with {ran.exit_code}" if ran.exit_code else f"told no {', '.join(missing)}"
        raise ReleaseError(
            "hook_failed", f"the hook {why}: {said}".rstrip(": "), "Read its output.", **detail
        )
    return values.get("changed") == "true", detail


def _detail(ran: Ran, outputs: List[str]) -> Dict[str, Any]:
    values = ran.values()
    return {
        "exit_code": ran.exit_code,
        "stdout": ran.output,
        "log": ran.log,
        "lines": ran.lines,
        "outputs": {name: values[name] for name in outputs if name in values},
    }
