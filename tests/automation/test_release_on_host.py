# SPDX-License-Identifier: Apache-2.0
"""Releases on real hosts: images from a registry, full disks, no Docker, users without root, several hosts."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab, app
from tests.lab.host import LabHost

from .release import Releases

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
Hosts = Callable[..., LabHost]


def container(host: LabHost) -> str:
    return host.run(["docker", "ps", "-q", "--no-trunc"]).stdout.strip()


def span(steps: list[dict[str, Any]]) -> tuple[datetime, datetime]:
    """When a project began to come up, and when that was done."""
    (up,) = [one for one in steps if one["step"] == "project_up"]
    began = datetime.fromisoformat(up["started_at"].replace("Z", "+00:00"))
    return began, began + timedelta(milliseconds=up["duration_ms"])


def test_an_image_of_a_private_registry_is_pinned_and_the_password_is_gone(
    lab: Lab, lab_host: Hosts, tmp_path: Path
) -> None:
    host, registry = lab_host(), lab.registry()
    reference = f"{registry.address}/pinned:7"
    digest = registry.push(lab.app_archive("7"), "pinned:7")
    shop = Releases(lab, tmp_path, host)
    credential = {
        "server": registry.address,
        "username": registry.username,
        "password": registry.password,
    }
    asked = shop.spec("7", image=reference)
    refused = shop.preview(asked)[host.name]["checks"]
    assert [one["code"] for one in refused if one["level"] == "blocking"] == ["image_missing"]
    spec = shop.previewed({**asked, "registries": [credential]}, token=1)
    assert spec["resolved_images"]["web"]["digest"] == digest
    assert spec["resolved_images"]["web"]["source"] == "registry"
    assert shop.run("apply", spec), shop.said
    running = host.run(["docker", "ps", "--no-trunc", "--format", "{{.Image}}"]).stdout.strip()
    assert running == f"{registry.address}/pinned@{digest}"
    assert set(shop.steps(host.name)) >= {"images_present", "project_written", "project_up"}
    found = host.run(
        ["grep", "-rslF", "-e", registry.password, "/root", "/tmp", "/dev/shm", "/var/lib/tidegate"],
        check=False,
    )
    assert found.stdout == ""
    assert not [
        file
        for file in tmp_path.glob("*.json")
        if "spec" not in file.name and registry.password in file.read_text()
    ]


def test_no_room_for_the_project_says_so_and_leaves_what_runs(
    lab: Lab, lab_host: Hosts, tmp_path: Path
) -> None:
    host = lab_host()
    shop = Releases(lab, tmp_path, host)
    assert shop.run("apply", shop.previewed(shop.spec("1"), token=1)), shop.said
    before = container(host)
    spec = shop.previewed(shop.spec("2"), token=2)
    host.fill_disk()
    try:
        checks = shop.preview(shop.spec("2"))[host.name]["checks"]
        assert ("blocking", "preflight_failed") in [(one["level"], one["code"]) for one in checks]
        assert not shop.run("apply", spec)
    finally:
        host.free_disk()
    keys = {json.loads(file.read_text()).get("error_key") for file in tmp_path.glob(f"{host.name}.*.json")}
    assert keys & {"preflight_failed", "storage_full"}, shop.said
    assert container(host) == before
    assert shop.run("apply", {**spec, "fencing_token": 3}), shop.said


def test_a_host_without_docker_is_told_by_the_preview(lab: Lab, lab_host: Hosts, tmp_path: Path) -> None:
    host = lab_host(docker=False)
    checks = Releases(lab, tmp_path, host).preview(Releases(lab, tmp_path, host).spec("1"))[host.name][
        "checks"
    ]
    (blocking,) = [one for one in checks if one["level"] == "blocking"]
    assert blocking["code"] == "preflight_failed"
    assert "docker" in blocking["message"]
    assert blocking["hint"]


def test_a_user_of_group_docker_needs_no_root_and_the_second_time_changes_nothing(
    lab: Lab, lab_host: Hosts, tmp_path: Path
) -> None:
    host = lab_host()
    shop = Releases(lab, tmp_path, host, user="deploy")
    assert shop.run("apply", shop.previewed(shop.spec("1"), token=1)), shop.said
    first = container(host)
    assert shop.run("apply", shop.previewed(shop.spec("1", "rel_again"), token=2)), shop.said
    assert shop.result(host.name, "apply")["changed"] is False
    assert set(shop.steps(host.name).values()) == {"unchanged"}
    assert shop.steps(host.name)["health"] == "unchanged"
    assert container(host) == first
    assert host.run(["test", "-e", "/var/lib/tidegate/projects"], check=False).returncode == 1


def test_a_rollback_to_an_image_that_is_gone_stops_nothing(lab: Lab, lab_host: Hosts, tmp_path: Path) -> None:
    host = lab_host()
    shop = Releases(lab, tmp_path, host)
    assert shop.run("apply", shop.previewed(shop.spec("2"), token=1)), shop.said
    before = container(host)
    image_id = app.image_id(lab.app_archive("1"))
    gone = {"reference": "shop:1", "digest": None, "image_id": image_id}
    spec = shop.previewed(shop.spec("2", "rel_back"), token=2)
    document = json.loads(spec["rendered"])
    document["services"]["web"]["image"] = "shop:1"
    spec |= {"rendered": json.dumps(document), "resolved_images": {"web": gone}, "images": []}
    assert not shop.run("rollback", spec)
    assert shop.result(host.name, "apply")["error_key"] == "image_missing"
    assert container(host) == before


@pytest.mark.parametrize("parallel", [1, 2])
def test_hosts_get_the_release_in_batches(lab: Lab, lab_host: Hosts, tmp_path: Path, parallel: int) -> None:
    hosts = (lab_host(), lab_host())
    shop = Releases(lab, tmp_path, *hosts)
    spec = shop.previewed(shop.spec("1", strategy_params={"max_parallel": parallel}), token=1)
    assert shop.run("apply", spec), shop.said
    (_, ended), (began, _) = (span(shop.result(host.name, "apply")["steps"]) for host in hosts)
    # One at a time: the second begins when the first is through; two: it begins before that.
    assert (began >= ended) is (parallel == 1)
    assert all(container(host) for host in hosts)
    again = shop.previewed(shop.spec("1", "rel_again", strategy_params={"max_parallel": parallel}), token=2)
    assert shop.run("apply", again), shop.said
    assert all(shop.result(host.name, "apply")["changed"] is False for host in hosts)


def test_one_host_that_moved_keeps_all_from_being_touched(lab: Lab, lab_host: Hosts, tmp_path: Path) -> None:
    hosts = (lab_host(), lab_host())
    shop = Releases(lab, tmp_path, *hosts)
    assert shop.run("apply", shop.previewed(shop.spec("1"), token=1)), shop.said
    spec = shop.previewed(shop.spec("2"), token=2)
    before = [container(host) for host in hosts]
    hosts[1].run(["docker", "rm", "-f", container(hosts[1])])
    assert not shop.run("apply", spec)
    assert container(hosts[0]) == before[0]
    assert "preview_stale" in shop.said


def test_check_mode_tells_what_would_change_and_changes_nothing(
    lab: Lab, lab_host: Hosts, tmp_path: Path
) -> None:
    host = lab_host()
    shop = Releases(lab, tmp_path, host)

    def foreseen(spec: dict[str, Any]) -> bool:
        """Whether `--check` says that something would change; what runs and what is written stays."""
        before = seen(host)
        assert shop.run("apply", spec, "--check"), shop.said
        assert seen(host) == before
        return bool(shop.result(host.name, "apply")["changed"])

    first = shop.previewed(shop.spec("1"), token=1)
    assert foreseen(first)
    assert shop.run("apply", first), shop.said
    same = shop.previewed(shop.spec("1", release_id="rel_again"), token=2)
    assert not foreseen(same)
    assert shop.steps(host.name)["project_up"] == "unchanged"
    # An image that has to be sent, then one that is there.
    second = shop.previewed(shop.spec("2"), token=3)
    assert foreseen(second)
    assert shop.run("apply", second), shop.said
    assert foreseen(shop.previewed(shop.spec("1"), token=4))
    assert shop.steps(host.name)["project_written"] == "succeeded"
    # What stands still would be started.
    host.run(["docker", "stop", container(host)])
    assert foreseen(shop.previewed(shop.spec("2", release_id="rel_more"), token=5))


def seen(host: LabHost) -> str:
    """Every container with its state, and every file of projects."""
    listed = host.run(["docker", "ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}}"]).stdout
    files = host.run(
        ["find", "/var/lib/tidegate", "-type", "f", "-printf", "%p %s %T@\\n"], check=False
    ).stdout
    return listed + files
