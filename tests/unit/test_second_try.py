# SPDX-License-Identifier: Apache-2.0
"""What `make test` does with a test that fails: which get a second try, what is said, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import second_try

ALWAYS = "def test_always():\n    assert False\n"
NEVER = "def test_never():\n    pass\n"


def once(folder: Path) -> str:
    """A test that fails the first time only; with an id and a group that are easily taken for each other."""
    return (
        "import pathlib, pytest\n"
        "@pytest.mark.xdist_group('host')\n"
        "@pytest.mark.parametrize('who', ['a@b'])\n"
        "def test_once(who):\n"
        f"    mark = pathlib.Path({str(folder)!r}) / 'tried'\n"
        "    was = mark.exists()\n"
        "    mark.touch()\n"
        "    assert was\n"
    )


def run(folder: Path, files: dict[str, str], *options: str) -> int:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return second_try.main(["-q", "-n", "1", "-p", "no:cacheprovider", *options, "tests"], folder)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Each of these runs would load every plugin that is installed, most of the time that it takes.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib -p xdist\n")
    return tmp_path


def test_what_passes_alone_passes_and_is_named(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = {"tests/lab/test_a.py": once(folder), "tests/lab/test_b.py": NEVER}
    assert run(folder, files) == 0
    said = [line for line in capfd.readouterr().out.splitlines() if line.startswith("second try")]
    assert said == [
        "second try: passed alone after failing beside others: 1: tests/lab/test_a.py::test_once[a@b]"
    ]


@pytest.mark.parametrize("where", ["services", "crash", "ports", "store"])
def test_what_looks_for_races_is_not_tried_twice(
    folder: Path, capfd: pytest.CaptureFixture[str], where: str
) -> None:
    assert run(folder, {f"tests/{where}/test_a.py": once(folder)}) == 1
    told = f"second try: failed, and is never tried twice: 1: tests/{where}/test_a.py::test_once[a@b]"
    assert told in capfd.readouterr().out.splitlines()


def test_what_fails_twice_has_failed(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = {"tests/lab/test_a.py": once(folder), "tests/lab/test_b.py": ALWAYS}
    assert run(folder, files) == 1
    out = capfd.readouterr().out
    assert "failed twice: 1: tests/lab/test_b.py::test_always" in out
    assert "passed alone after failing beside others: 1: tests/lab/test_a.py" in out


def test_a_fixture_that_fails_is_a_failure(folder: Path) -> None:
    fixture = "import pytest\n@pytest.fixture\ndef bad():\n    yield\n    assert False\ndef test_x(bad):\n    pass\n"
    assert run(folder, {"tests/lab/test_a.py": fixture}) == 1


def test_a_run_that_fails_itself_is_not_tried_again(folder: Path) -> None:
    assert run(folder, {"tests/lab/test_a.py": "import nothing_of_that_name\n"}) != 0
    assert run(folder, {"tests/lab/test_a.py": NEVER}, "--no-such-option") != 0


def test_nothing_is_said_of_tests_that_pass(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(folder, {"tests/lab/test_a.py": NEVER}) == 0
    assert "second try: none was needed" in capfd.readouterr().out.splitlines()
