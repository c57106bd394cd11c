# SPDX-License-Identifier: Apache-2.0
"""Installs by command: what is asked for beside the environment itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controlplane.cli.outcome import Outcome
from tests.cli.broken_server import answering, document
from tests.cli.test_variables import run

ENVIRONMENT = "env_01jd2k3m4n5p6q7r8s9tavbwcx"
HOST = "hst_01jd2k3m4n5p6q7r8s9tavbwcx"
PREVIEW = {
    "task_id": "tsk_1", "status": "previewed", "preview_ref": "pvw_1", "preview_digest": "sha256:1",
    "preview": {"preview_ref": "pvw_1", "hosts": {}, "checks": [], "summary": {}, "risk_level": "low",
                "risk_reasons": [], "inputs": [], "approval": None},
}  # fmt: skip
ENTRY = "vip_address: 192.0.2.240/24\nvirtual_router_id: 51\nbackend_nodes: [cp-a, cp-b, cp-c]\n"


def test_a_network_entry_is_asked_for_with_the_cluster(tmp_path: Path) -> None:
    file = tmp_path / "entry.yml"
    file.write_text(ENTRY)
    with answering(document(201, PREVIEW)) as server:
        told = run(
            server, "--json", "environment", "install", "preview", ENVIRONMENT, "--network-entry", str(file)
        )
    assert told.returncode == Outcome.OK, told.stderr
    assert server.requests[-1][:2] == ("POST", f"/api/v1/environments/{ENVIRONMENT}/install/preview")
    asked = json.loads(server.bodies[-1])["network_entry"]
    assert asked["mode"] == "lvs_vip"
    assert asked["lvs_vip"]["backend_nodes"] == ["cp-a", "cp-b", "cp-c"]


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "\x00"])
def test_a_file_that_holds_no_entry_is_refused_before_anything_is_asked(tmp_path: Path, text: str) -> None:
    file = tmp_path / "entry.yml"
    file.write_text(text)
    with answering(document(201, PREVIEW)) as server:
        told = run(server, "environment", "install", "preview", ENVIRONMENT, "--network-entry", str(file))
    assert told.returncode == Outcome.USAGE and str(file) in told.stderr
    assert not [one for one in server.requests if one[0] == "POST"]


def test_workers_are_taken_out_of_a_cluster_by_name(tmp_path: Path) -> None:
    with answering(
        document(201, {**PREVIEW, "preview": {**PREVIEW["preview"], "preview_ref": None}})
    ) as server:
        told = run(
            server, "--json", "environment", "install", "remove", ENVIRONMENT, "--host", HOST, "--lost",
            "--drain-seconds", "60", "--yes",
        )  # fmt: skip
    assert told.returncode == Outcome.BLOCKED, told.stderr
    assert json.loads(server.bodies[-1]) == {
        "kind": "removal", "host_ids": [HOST], "is_lost": True, "inputs": {"drain_seconds": 60},
    }  # fmt: skip


def test_a_removal_names_workers_or_a_preview_of_it() -> None:
    with answering(document(201, PREVIEW)) as server:
        for words in ((), ("--host", "hst_1", "--preview-ref", "pvw_1")):
            told = run(server, "environment", "install", "remove", ENVIRONMENT, *words)
            assert told.returncode == Outcome.USAGE and "--preview-ref" in told.stderr
    assert server.requests == []


def test_the_version_that_is_installed_and_its_status_are_shown() -> None:
    bundle = {"digest": "sha256:5", "runtime": {"version": "1.36", "status": "preview"}}
    preview = {**PREVIEW["preview"], "bundle": bundle}
    made = {**PREVIEW, "kind": "install", "environment": "e", "runtime_type": "k8s", "stage": "development"}
    with answering(document(201, {**made, "preview": preview})) as server:
        told = run(server, "environment", "install", "preview", ENVIRONMENT)
    assert "version 1.36 (preview) of bundle sha256:5" in told.stdout


def test_a_removal_shows_which_pods_move() -> None:
    plan = [{"step": "node_drain", "action": "run", "detail": "cordon and drain b"}]
    hosts = {"z": {"plan": plan, "facts": {"pods_to_move": ["default/web-1"]}}}
    preview = {**PREVIEW["preview"], "preview_ref": None, "hosts": hosts}
    made = {
        **PREVIEW,
        "kind": "removal",
        "environment": "east",
        "runtime_type": "k8s",
        "stage": "development",
    }
    with answering(document(201, {**made, "preview": preview})) as server:
        told = run(server, "environment", "install", "remove", ENVIRONMENT, "--host", HOST, "--yes")
    assert "node_drain  cordon and drain b" in told.stdout
    assert "moves default/web-1" in told.stdout
