# SPDX-License-Identifier: Apache-2.0
"""Blue-green and canary on a real host, through the playbooks, with a client that asks throughout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.host import LabHost
from tests.lab.lab import Lab

from .asker import Asker, count
from .shop import ENTRY, PORT, TRAFFIC, Shop

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]


@pytest.fixture
def shop(lab: Lab, lab_host: Callable[..., LabHost], tmp_path: Path) -> Shop:
    return Shop(lab, tmp_path, lab_host(docker=True))


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
