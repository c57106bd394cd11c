# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.second_try -n 2 tests`: every test, and once more alone what failed beside others.

A machine that has much to do makes tests on real hosts late now and then, so those get a second try, and which ones
needed it is said at the end. Tests of what happens at the same moment get none: a race that is lost once in two runs
is lost. As a pytest plugin the module writes down how each test ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Races, crashes and what two processes do to one database: a second try would hide what these look for.
ONCE = ("tests/services/", "tests/crash/", "tests/ports/", "tests/store/")
OUTCOMES = "TIDEGATE_TEST_OUTCOMES"


def main(arguments: Sequence[str], folder: Path = ROOT) -> int:
    """Run the tests, the second try, and say what came of it. Returns what pytest would: 0 when all passed."""
    first, ended = _pytest(["--dist", "loadgroup", *arguments], folder)
    failed = sorted(test for test, outcome in ended.items() if outcome == "failed")
    if first != pytest.ExitCode.TESTS_FAILED or not failed:
        print(f"second try: {'none was needed' if first == 0 else 'none, the run itself failed'}", flush=True)
        return first
    once = [test for test in failed if test.startswith(ONCE)]
    again = [test for test in failed if not test.startswith(ONCE)]
    passed: list[str] = []
    if again:
        # On one worker still, as the tests of one group share a host.
        _status, later = _pytest(["-n", "1", "--dist", "loadgroup", *again], folder)
        passed = [test for test in again if later.get(test) == "passed"]
    _tell("second try: passed alone after failing beside others", passed)
    _tell("second try: failed twice", [test for test in again if test not in passed])
    _tell("second try: failed, and is never tried twice", once)
    return 0 if len(passed) == len(failed) else 1


def _pytest(arguments: Iterable[str], folder: Path) -> tuple[int, dict[str, str]]:
    """Run pytest in a process; return its status, and how each test ended: passed, skipped or failed."""
    with tempfile.TemporaryDirectory() as kept:
        file = Path(kept) / "outcomes.json"
        path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH")) if part)
        status = subprocess.run(
            [sys.executable, "-m", "pytest", "-rs", "-p", "tests.second_try", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, OUTCOMES: str(file)},
            check=False,
        ).returncode
        return status, json.loads(file.read_text()) if file.exists() else {}


def _tell(what: str, tests: Sequence[str]) -> None:
    if tests:
        print(f"{what}: {len(tests)}: {', '.join(tests)}", flush=True)


class _Outcomes:
    """The plugin: how each test ended, the worst of its phases, in the process that gathers the reports."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ended: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = _without_group(report.nodeid)
        if self._ended.get(test) != "failed" and (report.when == "call" or report.outcome != "passed"):
            self._ended[test] = report.outcome

    def pytest_sessionfinish(self) -> None:
        self._file.write_text(json.dumps(self._ended))


def pytest_configure(config: pytest.Config) -> None:
    """Gather outcomes, where they are asked for; workers hand theirs to the process that started them."""
    if OUTCOMES in os.environ and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Outcomes(Path(os.environ[OUTCOMES])))


def _without_group(nodeid: str) -> str:
    """Return a test's id without the `@group` that pytest-xdist puts behind it."""
    test, at, group = nodeid.rpartition("@")
    return test if at and "]" not in group and "/" not in group else nodeid


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
