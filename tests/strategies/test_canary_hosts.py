# SPDX-License-Identifier: Apache-2.0
"""A canary of hosts: a share goes first, and the rest follows or the share goes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.host import LabHost
from tests.lab.lab import Lab

from .asker import ask
from .shop import PORT, Shop

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

HALF = {"mode": "hosts", "percent": 50}


def test_the_share_goes_first_and_waits_for_the_word(
    lab: Lab, lab_host: Callable[..., LabHost], tmp_path: Path
) -> None:
    first, second = hosts = (lab_host(docker=True), lab_host(docker=True))
    shop = Shop(lab, tmp_path, *hosts)

    def answers() -> list[str]:
        return [ask(host.address, PORT) for host in (first, second)]

    assert shop.release("1", "rolling", {}), shop.said
    assert shop.release("2", "canary", HALF), shop.said
    assert answers() == ["shop 2", "shop 1"]
    assert shop.release("2", "canary", HALF, verb="abort"), shop.said
    assert answers() == ["shop 1", "shop 1"]
    assert not shop.release("9", "canary", HALF | {"pause_seconds": 0}, healthy=False)
    assert answers() == ["shop 1", "shop 1"]
    assert shop.release("2", "canary", HALF), shop.said
    assert shop.release("2", "canary", HALF, verb="promote"), shop.said
    assert answers() == ["shop 2", "shop 2"]
    assert shop.release("3", "canary", HALF | {"pause_seconds": 1}), shop.said
    assert answers() == ["shop 3", "shop 3"]
