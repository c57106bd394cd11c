# SPDX-License-Identifier: Apache-2.0
"""From one strategy to another and back, on a host, with a client that asks throughout."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.runtimes import Application, OnCompose
from tests.conformance.site import Site
from tests.lab import LabHost
from tests.strategies.asker import Asker

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.xdist_group("lab-conformance")]


@pytest.fixture
def its(on_compose: OnCompose) -> Application:
    """An application whose version 1 was released in place."""
    its = on_compose.application()
    its.add("1", "web", tags=["1", "2", "3"])
    first = its.release("1", "1")
    assert first["lifecycle_state"] == "applied", first["diagnostics_json"]
    return its


def entry(its: Application, **more: Any) -> dict[str, Any]:
    """The parameters of a strategy that moves the application's entry."""
    return {"port": its.port, "service": "web", "service_port": 8080, "drain_seconds": 1, **more}


def released(its: Application, tag: str, strategy: str, params: dict[str, Any]) -> dict[str, Any]:
    release = its.release("1", tag, strategy=strategy, strategy_params=params)
    assert release["lifecycle_state"] == "applied", release["diagnostics_json"]
    return release


@pytest.mark.parametrize("strategy", ["blue_green", "canary"])
def test_the_first_release_behind_an_entry_is_rolled_back_and_nobody_is_refused(
    site: Site, shared: tuple[LabHost, str], its: Application, strategy: str
) -> None:
    params = entry(its)
    if strategy == "canary":
        params |= {"mode": "traffic", "percent": 50, "pause_seconds": 1}
    with Asker(shared[0].address, its.port) as client:
        second = released(its, "2", strategy, params)
        assert its.answer() == "shop 2"
        path = f"/deploy/releases/{second['release_id']}/rollback"
        shown = site.admin.post(f"{path}/preview", {})
        assert shown["preview_ref"], shown["preview"]["checks"]
        assert shown["preview"]["strategy"] == "blue_green"
        site.admin.post(path, {"preview_ref": shown["preview_ref"]})
        back = its.service.ended(shown["release_id"])
        assert back["lifecycle_state"] == "applied", back["diagnostics_json"]
        assert its.answer() == "shop 1"
    assert client.failures == []
    assert client.versions[0] == client.versions[-1] == "shop 1" and "shop 2" in client.versions
    assert "paused" not in its.service.told(back)
    undone = its.service.rollback(back)
    assert undone["lifecycle_state"] == "applied", undone["diagnostics_json"]
    assert its.answer() == "shop 2"


def test_in_place_past_an_entry_is_refused_by_the_preview_and_not_after_it(its: Application) -> None:
    released(its, "2", "blue_green", entry(its))
    before = its.running()
    refused = its.preview("1", "3", strategy="rolling")
    assert refused["preview_ref"] is None
    (check,) = [one for one in refused["preview"]["checks"] if one["level"] == "blocking"]
    assert check["code"] == "validation_error" and "behind an entry" in check["message"]
    assert "blue_green" in check["hint"]
    assert its.running() == before
    released(its, "3", "blue_green", entry(its))
    assert its.answer() == "shop 3"


CANARIES = {
    "traffic": {"mode": "traffic", "percent": 50, "pause_seconds": None},
    "hosts": {"mode": "hosts", "percent": 50, "pause_seconds": None},
}


def paused(its: Application, tag: str, mode: str) -> dict[str, Any]:
    """A canary that waits for a decision."""
    params = CANARIES[mode] | (entry(its) if mode == "traffic" else {})
    preview = its.preview("1", tag, strategy="canary", strategy_params=params)
    its.service.start(preview)
    return its.service.when(preview["release_id"], lambda release: release["status"] == "paused", seconds=120)


@pytest.mark.parametrize("mode", ["traffic", "hosts"])
def test_a_paused_canary_that_is_cancelled_is_taken_back(
    site: Site, shared: tuple[LabHost, str], its: Application, mode: str
) -> None:
    waiting = paused(its, "2", mode)
    with Asker(shared[0].address, its.port) as client:
        cancelling = site.admin.post(f"/deploy/releases/{waiting['release_id']}/cancel")
        assert (cancelling["lifecycle_state"], cancelling["status"]) == ("applying", "cancelling")
        # Somebody is impatient: what takes it back goes on to its end.
        site.admin.post(f"/deploy/releases/{waiting['release_id']}/cancel")
        ended = its.service.ended(waiting["release_id"])
    told = ended["diagnostics_json"]
    assert (ended["lifecycle_state"], told["failure_domain"]) == ("failed", "cancelled"), told
    assert "what ran before runs again" in told["summary"]
    assert [its.answer() for _ in range(6)] == ["shop 1"] * 6
    if mode == "traffic":
        assert client.failures == []
    names = its.service.told(ended)
    tail = [name for name in names if name in ("paused", "cancel_requested", "resumed", "failed")]
    assert (tail[0], sorted(tail[1:-1])) == ("paused", ["cancel_requested", "cancel_requested", "resumed"]), (
        names
    )
    assert names[-1] == "failed"
    assert site.admin.get("/audit/verify")["is_intact"]
    # Nothing holds the host any more, and it is as it was: it can be released to in place.
    released(its, "3", "rolling", {})
    assert its.answer() == "shop 3"


def test_a_rollback_of_a_canary_does_not_wait_for_anybody(site: Site, its: Application) -> None:
    waiting = paused(its, "2", "hosts")
    site.admin.post(f"/deploy/releases/{waiting['release_id']}/promote")
    second = its.service.ended(waiting["release_id"])
    assert second["lifecycle_state"] == "applied", second["diagnostics_json"]
    waiting = paused(its, "3", "hosts")
    site.admin.post(f"/deploy/releases/{waiting['release_id']}/promote")
    third = its.service.ended(waiting["release_id"])
    back = its.service.rollback(third)
    assert back["lifecycle_state"] == "applied", back["diagnostics_json"]
    assert "paused" not in its.service.told(back)
    assert its.answer() == "shop 2"
