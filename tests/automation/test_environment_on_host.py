# SPDX-License-Identifier: Apache-2.0
"""Bare hosts become Compose hosts from the bundle alone, stay as they are the second time, and are bare again after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.automation.environment import Environments, left_behind, moved
from tests.lab.host import LabHost
from tests.lab.lab import Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(900),
]

STEPS = ("bundle_delivery", "container_runtime", "compose_environment")


@pytest.fixture
def bare(lab: Lab) -> Iterator[LabHost]:
    made = lab.host("env-bare", docker=False)
    yield made
    made.remove()


def test_a_bare_host_becomes_a_compose_host_and_is_bare_again(
    lab: Lab, bare: LabHost, tmp_path: Path
) -> None:
    environments = Environments(lab, tmp_path, bare)
    before = left_behind(bare)
    state = bare.exec(["ls", "-A", "/var/lib/tidegate"]).stdout
    environments.run("preflight")
    told = environments.result(bare, "preflight")
    assert [one for one in told["checks"] if one["level"] == "blocking"] == []
    hook = {"compose_verify": "run"}
    assert {one["step"]: one["action"] for one in told["plan"]} == {**dict.fromkeys(STEPS, "run"), **hook}
    assert (told["facts"]["arch"], told["facts"]["clock_skew_s"]) == ("amd64", 0)
    assert moved(bare, before) == {}
    assert bare.exec(["ls", "-A", "/var/lib/tidegate"]).stdout == state
    environments.run("preflight")
    assert environments.result(bare, "preflight")["fingerprint"] == told["fingerprint"]

    stale = environments.run("install", check=False, expect={"fingerprints": {bare.name: "sha256:other"}})
    assert stale.returncode != 0
    assert environments.result(bare, "install")["error_key"] == "preview_stale"
    assert moved(bare, before) == {}
    environments.spec["expect"] = {"fingerprints": {bare.name: told["fingerprint"]}}
    promised = environments.run("install", check=False)
    environments.spec["expect"] = {}
    assert promised.returncode == 0, promised.stdout + promised.stderr
    assert environments.statuses(bare, "install") == {
        "bundle_delivery": "succeeded", "container_runtime": "succeeded", "compose_environment": "succeeded",
        "compose_verify": "unchanged",
    }  # fmt: skip
    assert bare.run(["docker", "version", "--format", "{{.Server.Version}}"], user="root").stdout.startswith(
        "20.10"
    )
    assert bare.run(["docker", "compose", "version", "--short"]).stdout.startswith("2.40")
    settings = json.loads(bare.exec(["cat", "/etc/docker/daemon.json"]).stdout)
    assert settings["log-opts"] == {"max-file": "3", "max-size": "10m"}
    assert bare.exec(["docker", "ps", "-aq"]).stdout == ""

    environments.run("preflight")
    known = environments.result(bare, "preflight")
    assert {one["step"]: one["action"] for one in known["plan"]} == {**dict.fromkeys(STEPS, "done"), **hook}
    assert known["fingerprint"] != told["fingerprint"]
    again = environments.run("install")
    assert "changed=0" in again.stdout, again.stdout
    assert set(environments.statuses(bare, "install").values()) == {"unchanged"}

    environments.run("install", inputs={"docker_log_max_files": 7})
    assert environments.statuses(bare, "install")["container_runtime"] == "succeeded"
    assert json.loads(bare.exec(["cat", "/etc/docker/daemon.json"]).stdout)["log-opts"]["max-file"] == "7"

    before_second = left_behind(bare)
    environments.run("install", inputs={"docker_log_max_files": 9}, task_id="tsk_2", fencing_token=2)
    back = {"task_id": "tsk_3", "fencing_token": 3, "rollback": {"undoes": ["tsk_2"]}}
    environments.run("preflight", **back)
    (undo,) = environments.result(bare, "preflight")["undo"]
    assert (undo["step"], undo["detail"]) == (
        "container_runtime", "brings back as it was: /etc/docker/daemon.json",
    )  # fmt: skip
    environments.run("rollback", **back)
    assert json.loads(bare.exec(["cat", "/etc/docker/daemon.json"]).stdout)["log-opts"]["max-file"] == "7"
    assert moved(bare, before_second) == {}
    assert bare.exec(["docker", "info", "--format", "{{.LoggingDriver}}"]).stdout.strip() == "json-file"
    environments.spec["fencing_token"] = 4

    bare.exec(["docker", "run", "-d", "--name", "somebodys", "--network", "none", "tidegate-test:1"])
    refused = environments.run("rollback", check=False)
    assert refused.returncode != 0
    told = environments.result(bare, "rollback")
    assert told["error_key"] == "conflict"
    assert "somebodys" in told["diagnostics"]["summary"]
    bare.exec(["docker", "rm", "-f", "somebodys"])

    environments.run("rollback")
    undone = environments.result(bare, "rollback")["steps"][-1]["detail"]
    assert any("docker.service" in one for one in undone["undone"])
    assert all(one.startswith("data ") for one in undone["left"]), undone
    assert moved(bare, before) == {}
    assert "changed=0" in environments.run("rollback").stdout


def test_a_second_installer_is_refused_and_told_who_is_there(lab: Lab, bare: LabHost, tmp_path: Path) -> None:
    environments = Environments(lab, tmp_path, bare)
    claim = {"holder": "tidegate task tsk_9", "token": None, "pid": 1, "until": 4102444800}
    bare.exec(["sh", "-c", f"echo '{json.dumps(claim)}' > /var/lib/tidegate/environment.lock"])
    environments.run("preflight")
    (blocking,) = [
        one for one in environments.result(bare, "preflight")["checks"] if one["level"] == "blocking"
    ]
    assert blocking["code"] == "resource_locked" and "tsk_9" in blocking["message"]
    refused = environments.run("install", check=False)
    assert refused.returncode != 0
    told = environments.result(bare, "install")
    assert told["error_key"] == "resource_locked"
    assert "tsk_9" in told["diagnostics"]["summary"]
    assert (
        bare.exec(["sh", "-c", "ls /etc/docker /etc/systemd/system/docker.service"], check=False).stdout == ""
    )


def test_docker_that_is_there_is_refused_or_adopted_and_never_replaced(lab: Lab, tmp_path: Path) -> None:
    host = lab.host("env-docker")
    try:
        environments = Environments(lab, tmp_path, host)
        before = left_behind(host)
        host.fill_disk()
        environments.run("preflight")
        host.free_disk()
        keys = {
            one["code"]
            for one in environments.result(host, "preflight")["checks"]
            if one["level"] == "blocking"
        }
        assert keys == {"storage_full", "preflight_failed"}
        refused = environments.run("install", check=False)
        assert refused.returncode != 0
        assert environments.result(host, "install")["error_key"] == "preflight_failed"
        assert moved(host, before) == {}
        environments.run("install", inputs={"docker_existing": "adopt"})
        steps = {one["step"]: one for one in environments.result(host, "install")["steps"]}
        assert steps["container_runtime"]["status"] == "unchanged"
        assert steps["container_runtime"]["detail"]["adopted"]
        assert moved(host, before) == {}
        environments.run("rollback")
        assert host.run(["docker", "version"]).returncode == 0
        assert moved(host, before) == {}
    finally:
        host.remove()
