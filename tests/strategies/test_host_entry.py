# SPDX-License-Identifier: Apache-2.0
"""The entry of a real host, seen by clients: nobody is refused while it switches, and shares are what they
say."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.lab.host import LabHost
from tests.lab.lab import Lab

from .asker import Asker, ask, count
from .rig import Rig

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

PORT = 8080
PORTS = {"blue": 30100, "green": 30101}


@pytest.fixture
def host(lab_host: Callable[..., LabHost]) -> LabHost:
    return lab_host(docker=True)


@pytest.fixture
def rig(lab: Lab, host: LabHost, tmp_path: Path) -> Rig:
    images = [{"reference": f"shop:{version}", "archive": str(lab.app_archive(version))} for version in "12"]
    made = Rig(lab, tmp_path, host)
    assert not made.task("tidegate.deploy.image_archive", {"images": images})[host.name].get("failed")
    for version, colour in (("1", "blue"), ("2", "green")):
        up(host, f"shop-{colour}", version, PORTS[colour])
    return made


def up(host: LabHost, project: str, version: str, port: int) -> None:
    web = {"image": f"shop:{version}", "ports": [f"{port}:8080"], "restart": "always"}
    host.run(
        ["docker", "compose", "-p", project, "-f", "-", "up", "-d", "--wait"],
        input=json.dumps({"services": {"web": web}}),
    )


def entry(rig: Rig, host: LabHost, live: str, **weights: int) -> dict[str, Any]:
    backends = [{"name": name, "port": PORTS[name], "weight": weight} for name, weight in weights.items()]
    arguments = {"project": "shop", "port": PORT, "live": live, "backends": backends}
    return rig.task("tidegate.deploy.host_entry", arguments)[host.name]


def test_nobody_is_refused_while_the_entry_switches_and_slow_requests_end_where_they_began(
    rig: Rig, host: LabHost
) -> None:
    entry(rig, host, "blue", blue=100)
    watch = ["timeout", "40", "sh", "-c", INSIDE, "sh", str(PORT)]
    with ThreadPoolExecutor() as pool, Asker(host.address, PORT) as outside:
        inside = pool.submit(host.run, watch, check=False)
        time.sleep(1)
        slow = pool.submit(ask, host.address, PORT, "/cgi-bin/slow")
        time.sleep(0.5)
        switched = entry(rig, host, "green", blue=0, green=100)
        assert slow.result() == "shop 1"
        time.sleep(0.5)
        host.run(["touch", "/tmp/watched"])
        said = inside.result().stdout.split("\n")
    assert switched["changed"]
    assert switched["tidegate"]["steps"][0]["detail"]["after"] == {"blue": 0, "green": 100}
    assert outside.failures == []
    assert outside.versions == ["shop 1", "shop 2"]
    assert len(outside.answers) > 50
    assert "failed" not in said
    assert {"shop 1", "shop 2"} <= set(said)


def test_shares_are_what_the_weights_say(rig: Rig, host: LabHost) -> None:
    entry(rig, host, "blue", blue=80, green=20)
    answers = count(host.address, PORT, 400)
    assert 45 <= answers["shop 2"] <= 120
    assert answers["shop 1"] + answers["shop 2"] == 400


def test_the_same_entry_again_changes_nothing_and_a_rule_set_somebody_touched_is_mended(
    rig: Rig, host: LabHost
) -> None:
    assert entry(rig, host, "blue", blue=100)["changed"]
    assert not entry(rig, host, "blue", blue=100)["changed"]
    host.run(["nft", "flush", "chain", "inet", "tidegate_shop", "entry"])
    assert entry(rig, host, "blue", blue=100)["changed"]
    assert ask(host.address, PORT) == "shop 1"


def test_the_colours_own_ports_answer_nobody_outside(rig: Rig, host: LabHost) -> None:
    assert ask(host.address, PORTS["blue"]) == "shop 1"
    entry(rig, host, "blue", blue=100, green=0)
    for port in PORTS.values():
        with pytest.raises(OSError):
            ask(host.address, port, timeout=1)


def test_a_backend_that_nobody_listens_on_gets_no_connections(rig: Rig, host: LabHost) -> None:
    entry(rig, host, "blue", blue=100)
    host.run(["docker", "compose", "-p", "shop-green", "down"])
    refused = entry(rig, host, "green", green=100)
    assert refused["failed"]
    assert refused["tidegate"]["error_key"] == "preflight_failed"
    assert ask(host.address, PORT) == "shop 1"


def test_the_entry_outlasts_a_reboot_and_is_gone_without_a_trace_when_removed(
    rig: Rig, host: LabHost
) -> None:
    entry(rig, host, "green", green=100)
    host.kill()
    host.start()
    assert answers_again(host.address) == "shop 2"
    gone = rig.task("tidegate.deploy.host_entry", {"project": "shop", "state": "absent"})[host.name]
    assert gone["changed"]
    assert "tidegate" not in host.run(["nft", "list", "ruleset"]).stdout
    assert (
        host.run(
            ["sh", "-c", "ls /var/lib/tidegate/entries /etc/systemd/system | grep shop"], check=False
        ).stdout
        == ""
    )
    again = rig.task("tidegate.deploy.host_entry", {"project": "shop", "state": "absent"})[host.name]
    assert not again["changed"]


INSIDE = """
until [ -e /tmp/watched ]; do curl -fsS --max-time 5 "http://127.0.0.1:$1/" || echo failed; sleep 0.05; done
"""


def answers_again(address: str, patience: float = 60) -> str:
    until = time.monotonic() + patience
    while True:
        try:
            return ask(address, PORT, timeout=2)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
