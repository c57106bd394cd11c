# SPDX-License-Identifier: Apache-2.0
"""A hook runs from what was verified, with what it was given, and ends with its time."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import hook, time_limit
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

CONTEXT: dict[str, Any] = {
    "variables": {"step": "verify", "host": "a", "role": None},
    "inputs": {"log_files": 3, "auth_pass": "s3cret"},
    "outputs": {},
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., hook.Ran]:
    monkeypatch.setattr(hook.state_folder, "path", lambda name: str(tmp_path / "state" / name))

    def run(script: str, timeout: float = 10, sha256: str | None = None) -> hook.Ran:
        file = tmp_path / "kept"
        file.write_text("#!/bin/sh\n" + script)
        known = sha256 or hashlib.sha256(file.read_bytes()).hexdigest()
        return hook.run(str(file), known, CONTEXT, timeout)

    return run


def test_it_gets_what_is_its_own_and_nothing_else(
    run: Callable[..., hook.Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SOMEBODYS_PASSWORD", "not for hooks")
    ran = run('env | cut -d= -f1 | sort | tr "\\n" " "; echo; cat "$TIDEGATE_CONTEXT"')
    names, told = ran.output.split("\n", 1)
    assert set(names.split()) - {"PWD", "OLDPWD", "SHLVL", "_"} == {
        "HOME", "LANG", "PATH", "TIDEGATE_AUTH_PASS", "TIDEGATE_CONTEXT", "TIDEGATE_HOST", "TIDEGATE_LOG_FILES",
        "TIDEGATE_STEP",
    }  # fmt: skip
    # It had the secret; what it says of it is not kept.
    assert json.loads(told) == {**CONTEXT, "inputs": {"log_files": 3, "auth_pass": "***"}}
    assert list((tmp_path / "state" / "hooks").iterdir()) == []


def test_its_lines_are_read(run: Callable[..., hook.Ran]) -> None:
    ran = run("echo '[INFO] version=28.2'; echo plain; echo '[WARNING] disk=nearly full'; echo '[BAD] x=y'")
    assert [(one["level"], one["key"], one["value"]) for one in ran.lines] == [
        ("INFO", "version", "28.2"), ("WARNING", "disk", "nearly full"),
    ]  # fmt: skip
    has_changed, detail = hook.outcome(ran, ["version"])
    assert not has_changed and detail["outputs"] == {"version": "28.2"}
    assert hook.outcome(run("echo '[INFO] changed=true'"), [])[0] is True


@pytest.mark.parametrize(
    ("script", "outputs", "said"),
    [
        ("echo '[ERROR] engine=down'; exit 3", [], "ended with 3: engine=down"),
        ("echo last words >&2; exit 1", [], "last words"),
        ("true", ["version"], "told no version"),
    ],
)
def test_what_went_wrong_is_said(
    run: Callable[..., hook.Ran], script: str, outputs: list[str], said: str
) -> None:
    with pytest.raises(ReleaseError, match=said) as caught:
        hook.outcome(run(script), outputs)
    assert caught.value.error_key == "hook_failed"


def test_what_is_not_the_bundle_s_does_not_run(run: Callable[..., hook.Ran], tmp_path: Path) -> None:
    with pytest.raises(ReleaseError) as caught:
        run(f"touch {tmp_path}/ran", sha256="0" * 64)
    assert caught.value.error_key == "artifact_checksum_mismatch"
    assert not (tmp_path / "ran").exists()


def test_its_time_is_over_for_all_that_it_started(run: Callable[..., hook.Ran], tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(ReleaseError) as caught:
        run(f"sleep 60 & echo $! > {tmp_path}/child; sleep 60", timeout=1)
    assert caught.value.error_key == "timeout"
    assert time.monotonic() - began < 10
    child = int((tmp_path / "child").read_text())
    until = time.monotonic() + 5
    while os.path.exists(f"/proc/{child}") and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_all_that_it_said_is_kept_up_to_a_bound_and_also_when_its_time_is_over(
    run: Callable[..., hook.Ran],
) -> None:
    ran = run("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done")
    assert ran.log.startswith("line 0\n") and len(ran.output) == 4000 and len(ran.log) > 15_000
    ran = run("head -c 300000 /dev/zero | tr '\\0' x; echo; echo '[INFO] last=1'")
    assert ran.log.startswith("[37") and ran.log.endswith("x\n[INFO] last=1\n")
    assert len(ran.log) < hook.MOST_LOG + 100
    with pytest.raises(ReleaseError) as caught:
        run("echo begun with s3cret; setsid sleep 4 & sleep 60", timeout=1)
    assert caught.value.detail["log"] == "begun with ***\n"


def test_a_step_s_time_is_over(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(ReleaseError, match="the step took longer") as caught:
        with time_limit.within(0.3, "the step"):
            time.sleep(30)
    assert caught.value.error_key == "timeout" and time.monotonic() - began < 5
    with time_limit.within(0.2, "the step"):
        pass
    time.sleep(0.3)
