# SPDX-License-Identifier: Apache-2.0
"""The lock of a project, held by real processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import operation
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

HOLD = """
import sys, time
from pathlib import Path
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import operation
operation.folder = lambda project: Path(sys.argv[1]) / project
with operation.exclusive("shop", int(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(operation, "folder", lambda project: tmp_path / project)
    # Taking the lock makes a process group, which is pytest's business and not a test's.
    monkeypatch.setattr(operation.os, "setpgid", lambda *_: None)
    return tmp_path


def hold(state: Path, token: int) -> subprocess.Popen[str]:
    path = [entry for entry in sys.path if entry]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state), str(token)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={"PYTHONPATH": ":".join(path)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_cancel_ends_the_holder_and_says_when_there_is_none(state: Path) -> None:
    assert operation.cancel("shop") == "none"
    process = hold(state, 1)
    assert operation.cancel("shop") == "ended"
    assert process.wait(timeout=10) != 0
    assert operation.cancel("shop") == "none"


def test_an_operation_with_a_token_ends_the_one_before(state: Path) -> None:
    process = hold(state, 1)
    with operation.exclusive("shop", 2) as folder:
        assert process.wait(timeout=10) != 0
        assert json.loads((folder / "operation.lock").read_text())["fencing_token"] == 2


def test_one_without_a_token_waits_for_nobody(state: Path) -> None:
    process = hold(state, 1)
    with pytest.raises(ReleaseError) as refused, operation.exclusive("shop", None):
        pass
    assert refused.value.error_key == "target_locked"
    process.kill()
    process.wait()


def test_a_token_that_was_overtaken_is_refused(state: Path) -> None:
    (state / "shop").mkdir()
    operation.write(state / "shop" / "release.json", json.dumps({"fencing_token": 5}))
    with pytest.raises(ReleaseError) as refused, operation.exclusive("shop", 4):
        pass
    assert refused.value.error_key == "target_locked"
    with operation.exclusive("shop", 5):
        pass


def test_a_process_id_that_was_given_again_is_left_alone(state: Path) -> None:
    process = hold(state, 1)
    lock = state / "shop" / "operation.lock"
    lock.write_text(json.dumps({**json.loads(lock.read_text()), "started": "1"}))
    assert operation.cancel("shop") == "alive"
    time.sleep(0.2)
    assert process.poll() is None
    process.kill()
    process.wait()


def test_files_are_written_whole_and_for_their_owner(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    assert operation.write(path, "a") is True
    assert operation.write(path, "a") is False
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["compose.yaml"]


@pytest.mark.parametrize("name", ["", "../etc", "Shop", "a/b", "x" * 64])
def test_what_is_no_project_name(name: str) -> None:
    with pytest.raises(ReleaseError) as refused:
        operation.folder(name)
    assert refused.value.error_key == "validation_error"
