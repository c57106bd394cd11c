# SPDX-License-Identifier: Apache-2.0
"""Of three hosts one cannot take the release: what the failure budget lets go on, and what it stops."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.site import ComposeHosts, Service, Site
from tests.lab import LabHost

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.xdist_group("lab-conformance")]

# Healthy on a host that has the file.
TEMPLATE = """\
services:
  web:
    image: "shop:{{ tag }}"
    stop_grace_period: 1s
    volumes: ["/srv/probe:/probe:ro"]
    healthcheck:
      test: ["CMD", "busybox", "test", "-e", "/probe/fit"]
      interval: 1s
      retries: 2
"""
Three = tuple[list[LabHost], list[str]]


@pytest.fixture(scope="module")
def three(site: Site) -> Three:
    """Three hosts in the order in which they are released to, all fit."""
    made = [site.host(f"budget-{letter}") for letter in "abc"]
    for host, _id in made:
        set_fit(host, True)
    return [host for host, _id in made], [host_id for _host, host_id in made]


def set_fit(host: LabHost, is_fit: bool) -> None:
    """Have applications get healthy on a host, or not."""
    host.run(["mkdir", "-p", "/srv/probe"])
    host.run(["touch", "/srv/probe/fit"] if is_fit else ["rm", "-f", "/srv/probe/fit"])


class Shop:
    """A service that runs as version 1 on all three."""

    def __init__(self, site: Site, three: Three) -> None:
        self._site, self._hosts = site, three[0]
        self.service: Service = site.service()
        self.target = site.target(*three[1])
        self.service.add("1", TEMPLATE, ["1", "2"])
        first = self.service.release(self.target, "1")
        assert first["lifecycle_state"] == "applied", first["diagnostics_json"]
        self._before = [self._running(host) for host in self._hosts]

    def _running(self, host: LabHost) -> str | None:
        return ComposeHosts().running(host, self.service).get("web")

    def preview(self, budget: int, at_once: int = 1) -> dict[str, Any]:
        params = {"failure_budget": budget, "max_parallel": at_once}
        asked = {"strategy": "rolling", "strategy_params": params}
        return self.service.preview(self.target, "1", variables={"tag": "2"}, **asked)

    def changed(self, *which: int) -> list[bool]:
        """Say of hosts, all unless told, whether they run something else than they did."""
        return [self._running(self._hosts[at]) != self._before[at] for at in which or range(len(self._hosts))]

    def ending(self, release: dict[str, Any]) -> dict[str, Any]:
        """Return the last event of a release."""
        path = f"/deploy/releases/{release['release_id']}/timeline"
        found: dict[str, Any] = self._site.admin.get(path, limit=500)["items"][-1]
        return found


@pytest.mark.parametrize("at_once", [1, 2])
def test_one_unhealthy_host_is_within_a_budget_of_one(site: Site, three: Three, at_once: int) -> None:
    shop = Shop(site, three)
    set_fit(three[0][1], False)
    try:
        release = shop.service.apply(shop.preview(1, at_once))
    finally:
        set_fit(three[0][1], True)
    told = release["diagnostics_json"]
    assert release["lifecycle_state"] == "applied", told
    assert (told["error_key"], [one["host"] for one in told["hosts"]]) == (
        "compose_unhealthy",
        ["cf-budget-b"],
    )
    ending = shop.ending(release)
    assert (ending["action"], ending["status"]) == ("release.applied", "warning")
    assert shop.changed() == [True, True, True]


def test_without_a_budget_it_stops_there(site: Site, three: Three) -> None:
    shop = Shop(site, three)
    set_fit(three[0][1], False)
    try:
        release = shop.service.apply(shop.preview(0))
    finally:
        set_fit(three[0][1], True)
    told = release["diagnostics_json"]
    assert (release["lifecycle_state"], told["error_key"]) == ("failed", "compose_unhealthy")
    assert [one["host"] for one in told["hosts"]] == ["cf-budget-b"]
    assert shop.changed() == [True, True, False]


def test_more_than_the_budget_stops_it(site: Site, three: Three) -> None:
    shop = Shop(site, three)
    unfit = three[0][:2]
    for host in unfit:
        set_fit(host, False)
    try:
        release = shop.service.apply(shop.preview(1))
    finally:
        for host in unfit:
            set_fit(host, True)
    told = release["diagnostics_json"]
    assert (release["lifecycle_state"], told["error_key"]) == ("failed", "compose_unhealthy")
    assert {one["host"] for one in told["hosts"]} == {"cf-budget-a", "cf-budget-b"}
    assert shop.changed() == [True, True, False]


# The last one: the host does not come back.
def test_one_dead_host_is_within_a_budget_of_one(site: Site, three: Three) -> None:
    shop = Shop(site, three)
    preview = shop.preview(1)
    three[0][1].kill()
    release = shop.service.apply(preview)
    told = release["diagnostics_json"]
    assert release["lifecycle_state"] == "applied", told
    assert (told["error_key"], [one["host"] for one in told["hosts"]]) == ("ssh_unreachable", ["cf-budget-b"])
    assert shop.ending(release)["status"] == "warning"
    assert shop.changed(0, 2) == [True, True]
