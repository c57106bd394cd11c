# SPDX-License-Identifier: Apache-2.0
"""Blue-green and canary on a real host, through the playbooks, with a client that asks throughout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import app
from tests.lab.host import LabHost
from tests.lab.lab import Lab

from .asker import Asker, ask, count
from .rig import Rig

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

PORT = 8080
ENTRY = {"port": PORT, "service": "web", "service_port": 8080}
TRAFFIC = {**ENTRY, "mode": "traffic", "percent": 25, "drain_seconds": 5}


class Shop:
    """Releases versions of the lab's shop to one host with the playbooks."""

    def __init__(self, lab: Lab, host: LabHost, folder: Path) -> None:
        self._lab, self._folder = lab, folder
        self.host, self.rig = host, Rig(lab, folder, host)

    def release(
        self, version: str, strategy: str, params: dict[str, Any], healthy: bool = True, verb: str = "apply"
    ) -> bool:
        """Whether the playbook ended well."""
        archive = self._lab.app_archive(version, healthy=healthy)
        image = {"reference": f"shop:{version}", "image_id": app.image_id(archive)}
        web = {"image": f"shop:{version}", "ports": [f"{PORT}:8080"], "restart": "always"}
        spec = {
            "api": "tidegate.release/v1", "release_id": f"rel_{version}_{strategy}", "service": "shop",
            "project": "shop", "target": "tgt", "environment": "production",
            "rendered": json.dumps({"services": {"web": web}}, sort_keys=True),
            "images": [{**image, "archive": str(archive)}],
            "resolved_images": {"web": {**image, "digest": None}},
            "strategy": strategy, "strategy_params": params, "health_timeout": 30,
            "result_dir": str(self._folder),
        }  # fmt: skip
        path = self._folder / "spec.json"
        path.write_text(json.dumps(spec))
        done = self.rig.play(f"release_{verb}.yml", {"release_spec_file": str(path)}, check=False)
        self.said = done.stdout + done.stderr
        return done.returncode == 0

    def answer(self) -> str:
        return ask(self.host.address, PORT)

    def containers(self) -> dict[str, str]:
        listed = self.host.run(["docker", "ps", "--format", "{{.Names}} {{.ID}}"]).stdout.split("\n")
        return dict(line.split() for line in listed if line)


@pytest.fixture
def shop(lab: Lab, lab_host: Callable[..., LabHost], tmp_path: Path) -> Shop:
    return Shop(lab, lab_host(docker=True), tmp_path)


def test_blue_green_from_rolling_to_green_and_back_without_a_refused_connection(shop: Shop) -> None:
    assert shop.release("1", "rolling", {}), shop.said
    with Asker(shop.host.address, PORT) as client:
        assert shop.release("2", "blue_green", ENTRY), shop.said
        assert shop.release("3", "blue_green", ENTRY), shop.said
        two_and_three = shop.containers()
        assert shop.release("2", "blue_green", ENTRY, verb="rollback"), shop.said
    assert client.failures == []
    assert client.versions == ["shop 1", "shop 2", "shop 3", "shop 2"]
    assert shop.containers() == two_and_three
    assert shop.release("2", "blue_green", ENTRY), shop.said
    assert "changed=0" in shop.said
    assert shop.containers() == two_and_three


def test_a_colour_that_is_not_healthy_never_gets_a_connection_and_is_gone(shop: Shop) -> None:
    assert shop.release("1", "blue_green", {**ENTRY, "keep_old": False, "drain_seconds": 3}), shop.said
    before = shop.containers()
    with Asker(shop.host.address, PORT) as client:
        assert not shop.release("9", "blue_green", ENTRY, healthy=False)
    assert "compose_unhealthy" in shop.said
    assert client.failures == []
    assert client.versions == ["shop 1"]
    assert shop.containers() == before
    assert shop.release("2", "blue_green", {**ENTRY, "keep_old": False, "drain_seconds": 3}), shop.said
    assert shop.answer() == "shop 2"
    assert len(shop.containers()) == 1
    assert not shop.release("3", "rolling", {})
    assert "validation_error" in shop.said
    assert shop.answer() == "shop 2"


def test_a_canary_has_its_share_until_it_is_promoted(shop: Shop) -> None:
    assert shop.release("1", "rolling", {}), shop.said
    with Asker(shop.host.address, PORT) as client:
        assert shop.release("2", "canary", TRAFFIC), shop.said
        shares = count(shop.host.address, PORT, 300)
        assert 40 <= shares["shop 2"] <= 115
        assert shop.release("2", "canary", TRAFFIC, verb="promote"), shop.said
        assert set(count(shop.host.address, PORT, 30)) == {"shop 2"}
    assert client.failures == []
    assert len(shop.containers()) == 1


def test_a_canary_that_is_taken_back_leaves_what_was_there(shop: Shop) -> None:
    assert shop.release("1", "canary", TRAFFIC), shop.said
    before = shop.containers()
    with Asker(shop.host.address, PORT) as client:
        assert shop.release("2", "canary", TRAFFIC), shop.said
        assert shop.release("2", "canary", TRAFFIC, verb="abort"), shop.said
        assert set(count(shop.host.address, PORT, 30)) == {"shop 1"}
    assert client.failures == []
    assert shop.containers() == before
