# SPDX-License-Identifier: Apache-2.0
"""Strategy parameters are checked before anything is done, and colours refuse what cannot stand twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import colour, strategy

ENTRY = {"port": 8080, "service": "web", "service_port": 80}


def test_what_is_not_given_is_at_its_default() -> None:
    assert strategy.parse("rolling", {}) == {"max_parallel": 1, "failure_budget": 0}
    assert strategy.parse("blue_green", ENTRY) == {**ENTRY, "keep_old": True, "drain_seconds": 10}
    assert strategy.parse("canary", {"mode": "hosts", "percent": 10}) == {
        "mode": "hosts", "percent": 10, "pause_seconds": None
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "params", "field"),
    [
        ("recreate", {}, "strategy"),
        ("canary/hosts", {"percent": 5}, "strategy"),
        ("rolling", [], "strategy_params"),
        ("rolling", {"max_paralel": 2}, "max_paralel"),
        ("rolling", {"max_parallel": 0}, "max_parallel"),
        ("rolling", {"max_parallel": "2"}, "max_parallel"),
        ("rolling", {"failure_budget": True}, "failure_budget"),
        ("blue_green", {"port": 8080, "service": "web"}, "service_port"),
        ("blue_green", {**ENTRY, "keep_old": "yes"}, "keep_old"),
        ("blue_green", {**ENTRY, "port": 65536}, "port"),
        ("blue_green", {**ENTRY, "drain_seconds": None}, "drain_seconds"),
        ("canary", {"percent": 10}, "mode"),
        ("canary", {"mode": "hosts", "percent": 100}, "percent"),
        ("canary", {"mode": "hosts", "percent": 10, "port": 80}, "port"),
        ("canary", {"mode": "traffic", "percent": 10}, "port"),
        ("canary", {"mode": "hosts", "percent": 10, "pause_seconds": -1}, "pause_seconds"),
    ],
)
def test_a_parameter_that_is_unknown_or_ill_typed_is_named(name: str, params: Any, field: str) -> None:
    with pytest.raises(strategy.StrategyError) as refused:
        strategy.parse(name, params)
    assert refused.value.field == field


@pytest.mark.parametrize(("percent", "expected"), [(1, 1), (10, 1), (50, 2), (51, 3), (99, 3)])
def test_the_first_share_is_never_none_and_never_all(percent: int, expected: int) -> None:
    assert len(strategy.first_share(["d", "a", "c", "b"], percent)) == expected
    assert strategy.first_share(["only"], percent) == ["only"]


@pytest.mark.parametrize(
    "port", ["8080:80", "127.0.0.1:8080:80/tcp", {"target": 80, "published": "8080"}, 80]
)
def test_the_entry_service_is_moved_and_nothing_else(port: Any) -> None:
    compose = {"services": {"web": {"image": "shop:1", "ports": [port]}, "db": {"image": "db:1"}}}
    moved = yaml.safe_load(colour.render(json.dumps(compose), "web", 80, 30000))
    assert moved["services"]["web"]["ports"] == [{"target": 80, "published": "30000", "protocol": "tcp"}]
    assert moved["services"]["db"] == {"image": "db:1"}


@pytest.mark.parametrize(
    ("service", "more", "said"),
    [
        ({"container_name": "web"}, {}, "container_name"),
        ({"ports": ["8080:80", "9000:9000"]}, {}, "publishes port 9000"),
        ({"network_mode": "host"}, {}, "host's network"),
        ({"volumes": ["data:/data"]}, {"volumes": {"data": None}}, "keeps data in volume data"),
        ({"volumes": [{"type": "volume", "source": "data"}]}, {"volumes": {"data": {}}}, "keeps data"),
        ({}, {"networks": {"front": {"name": "front"}}}, "network front"),
    ],
)
def test_what_cannot_stand_twice_on_a_host_is_refused(service: Any, more: Any, said: str) -> None:
    with pytest.raises(colour.ColourError, match=said):
        colour.render(json.dumps({"services": {"web": service}, **more}), "web", 80, 30000)


def test_content_is_told_apart_by_text_and_images_only() -> None:
    images = {"web": {"reference": "shop:1", "image_id": "sha256:1"}}
    same = colour.content_digest("a", images)
    assert colour.content_digest("a", {"web": {**images["web"], "digest": None}}) == same
    assert colour.content_digest("b", images) != same
    assert colour.content_digest("a", {"web": {**images["web"], "image_id": "sha256:2"}}) != same


def test_a_colours_file_can_be_read_as_the_project_it_is_of() -> None:
    compose = {"services": {"web": {"image": "shop:1", "ports": ["8080:80"]}, "db": {"image": "db:1"}}}
    moved = yaml.safe_load(colour.render(json.dumps(compose), "web", 80, 30000))
    assert colour.without_colour(moved) == compose
    assert colour.without_colour(compose) == compose
