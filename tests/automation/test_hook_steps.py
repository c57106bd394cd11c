# SPDX-License-Identifier: Apache-2.0
"""The hooks of a bundle are steps like others: run in their order, tried again, ended in time, taken back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.automation.environment import Environments
from tests.lab import bundle as lab_bundle
from tests.lab.host import LabHost
from tests.lab.lab import Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(900),
]

FIRST = """\
#!/bin/sh
echo "$TIDEGATE_STEP $TIDEGATE_SITE_PASS" > /run/first
echo "[WARNING] told=$TIDEGATE_SITE_PASS"
echo '[INFO] changed=true'
echo '[INFO] colour=blue'
"""
FLAKY = """\
#!/bin/sh
# What the step before told is in the context.
grep -o '"colour": "blue"' "$TIDEGATE_CONTEXT" | sed 's/.*: "\\(.*\\)"/[INFO] seen=\\1/'
if [ ! -e /run/tried ]; then touch /run/tried; echo '[ERROR] reason=the first time'; exit 1; fi
"""
AGAIN = "#!/bin/sh\ntouch /run/again\necho '[INFO] changed=true'\n"
UNDO = "#!/bin/sh\nrm /run/$TIDEGATE_STEP\n"
SLOW = "#!/bin/sh\necho begun\nsleep 300\n"
BAD = "#!/bin/sh\necho '[ERROR] disk=broken'\nexit 3\n"


@pytest.fixture(scope="module")
def host(lab: Lab) -> Iterator[LabHost]:
    made = lab.host("env-hooks", docker=False)
    yield made
    made.remove()


def with_hooks(folder: Path, hooks: dict[str, str], steps: list[dict[str, Any]]) -> Path:
    """The lab's bundle with other hooks: the same files (links to them), another index, locked anew."""
    shutil.copytree(lab_bundle.make(), folder, copy_function=os.link)
    index_file = folder / "manifests/index.yaml"
    index = yaml.safe_load(index_file.read_text())
    index["steps"] = [one for one in index["steps"] if "hook" not in one] + [
        {"runtime": ["compose"], "runs_on": ["all"], "timeout": 60, **one} for one in steps
    ]
    for name in ("manifests/index.yaml", "checksums/SHA256SUMS", "checksums/SHA256SUMS.sig"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "hooks")
    (folder / "hooks").mkdir()
    for name, text in hooks.items():
        (folder / "hooks" / name).write_text(text)
    index_file.write_text(yaml.safe_dump(index))
    subprocess.run([Path(sys.executable).parent / "tidegate", "bundle", "lock", str(folder)], check=True)
    return folder


def steps_of(environments: Environments, host: LabHost, verb: str = "install") -> dict[str, Any]:
    return {one["step"]: one for one in environments.result(host, verb)["steps"]}


def test_hooks_run_in_order_are_tried_again_and_taken_back(lab: Lab, host: LabHost, tmp_path: Path) -> None:
    environments = Environments(lab, tmp_path, host)
    first = {"name": "first", "hook": "hooks/first.sh", "inputs": ["site_pass"], "outputs": ["colour"]}
    steps = [
        {**first, "rollback": {"hook": "hooks/undo.sh"}},
        {"name": "again", "hook": "hooks/again.sh", "rollback": {"hook": "hooks/undo.sh"}},
        {"name": "flaky", "hook": "hooks/flaky.sh", "retries": 1},
        {"name": "elsewhere", "hook": "hooks/slow.sh", "runs_on": ["control_plane"]},
    ]
    hooks = {"first.sh": FIRST, "again.sh": AGAIN, "flaky.sh": FLAKY, "undo.sh": UNDO, "slow.sh": SLOW}
    environments.spec["bundle_dir"] = str(with_hooks(tmp_path / "bundle", hooks, steps))
    environments.spec["bundle_trusted_keys"] = []
    secret = {"site_pass": "a-canary-of-a-site"}
    promised = environments.run("install", inputs=secret, options=["--check"])
    assert host.exec(["sh", "-c", "ls /run/first /etc/docker"], check=False).stdout == ""
    done = environments.run("install", inputs=secret)
    told = steps_of(environments, host)
    assert list(told)[-3:] == ["first", "again", "flaky"]
    for word in ("first: begins", "first: succeeded", "flaky: begins"):
        assert word in done.stdout
    assert (told["first"]["status"], told["first"]["detail"]["outputs"]) == ("succeeded", {"colour": "blue"})
    assert (told["flaky"]["status"], told["flaky"]["attempt"]) == ("unchanged", 2)
    assert {"level": "INFO", "key": "seen", "value": "blue"} in told["flaky"]["detail"]["lines"]
    assert host.exec(["cat", "/run/first"]).stdout == "first a-canary-of-a-site\n"
    for said in (promised, done):
        assert "a-canary-of-a-site" not in said.stdout + said.stderr
    assert "a-canary-of-a-site" not in json.dumps(environments.result(host, "install"))
    assert {"level": "WARNING", "key": "told", "value": "***"} in told["first"]["detail"]["lines"]
    assert host.exec(["sh", "-c", "journalctl | grep -c a-canary"], check=False).stdout.strip() == "0"
    kept = host.exec(["cat", "/var/lib/tidegate/environment.json"]).stdout
    assert "a-canary-of-a-site" not in kept and '"hook"' in kept
    environments.run("rollback", inputs=secret)
    assert host.exec(["sh", "-c", "ls /run/first /run/again"], check=False).stdout == ""
    undone = steps_of(environments, host, "rollback")["environment_hooks"]["detail"]["undone"]
    assert undone == ["hook again", "hook first"]


def test_a_hook_that_takes_too_long_fails_its_step_and_ends(lab: Lab, host: LabHost, tmp_path: Path) -> None:
    environments = Environments(lab, tmp_path, host)
    steps = [{"name": "slow", "hook": "hooks/slow.sh", "timeout": 2}]
    environments.spec["bundle_dir"] = str(with_hooks(tmp_path / "slow", {"slow.sh": SLOW}, steps))
    environments.spec["bundle_trusted_keys"] = []
    failed = environments.run("install", check=False)
    assert failed.returncode != 0
    told = environments.result(host, "install")
    assert (told["error_key"], told["diagnostics"]["stage"]) == ("timeout", "slow")
    assert steps_of(environments, host)["slow"]["detail"]["log"] == "begun\n"
    assert steps_of(environments, host)["compose_environment"]["status"] in ("succeeded", "unchanged")
    assert host.exec(["pgrep", "-f", "sleep 300"], check=False).returncode != 0
    bad = [{"name": "bad", "hook": "hooks/bad.sh"}]
    environments.spec["bundle_dir"] = str(with_hooks(tmp_path / "bad", {"bad.sh": BAD}, bad))
    assert environments.run("install", check=False).returncode != 0
    told = environments.result(host, "install")
    assert (told["error_key"], told["diagnostics"]["stage"]) == ("hook_failed", "bad")
    assert (
        "disk=broken" in told["diagnostics"]["summary"]
        and steps_of(environments, host)["bad"]["exit_code"] == 3
    )
    refused = environments.run("preflight", check=False, inputs={"no_such_input": 1})
    assert refused.returncode != 0
    assert environments.result(host, "preflight")["error_key"] == "validation_error"
    environments.run("rollback")
