# SPDX-License-Identifier: Apache-2.0
"""Whether what a host does is what is waited for."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import (
    endpoint,
    host_command,
    watch,
)

from .documents import document


def now(holds_vip: bool, *sizes: int) -> dict[str, Any]:
    services = [{"real_servers": [{"address": f"192.0.2.{n}"} for n in range(size)]} for size in sizes]
    return {"holds_vip": holds_vip, "services": services, "balances": bool(sizes), "vrrp": True,
            "installed": True, "priority": 150}  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "backends", "is_so"),
    [
        (now(False), 2, True),
        (now(True, 2), 2, True),
        (now(True, 1), 2, False),
        (now(True, 2, 1), 2, False),
        (now(True), 2, False),
        (now(True), 0, True),
    ],
)
def test_a_table_is_whole_when_each_service_has_every_back_end(
    seen: dict[str, Any], backends: int, is_so: bool
) -> None:
    assert watch.is_whole(seen, backends) == is_so


def test_a_table_is_waited_for_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [now(True), now(True, 1), now(True, 2)]
    monkeypatch.setattr(watch, "live", lambda: seen.pop(0) if len(seen) > 1 else seen[0])
    payload = {"timeout": 5, "table_seconds": 5, "backends": 2, "document": document()}
    monkeypatch.setattr(endpoint, "plan", lambda _entry: None)
    assert watch.inspect(payload, [])["live"] == {**now(True, 2), "is_led": True}
    seen[:] = [now(True, 1)]
    assert (
        watch.inspect({**payload, "table_seconds": 0.3}, [])["live"]["services"] == now(True, 1)["services"]
    )


@pytest.mark.parametrize(("leads_to", "is_led"), [("192.0.2.10", False), ("192.0.2.100", True)])
def test_a_node_tells_whether_it_is_led_to_the_vip(
    monkeypatch: pytest.MonkeyPatch, leads_to: str, is_led: bool
) -> None:
    monkeypatch.setattr(watch, "live", lambda: dict(watch.NO_PART))
    plan = {"name": "made.internal", "from": leads_to, "to": "192.0.2.100"}
    monkeypatch.setattr(endpoint, "plan", lambda _entry: plan)
    live = watch.inspect({"document": document()}, [])["live"]
    assert (live["installed"], live["is_led"]) == (False, is_led)


def test_a_back_end_that_was_just_reached_counts_before_the_kernel_has_added_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def said(_argv: list[str], _environment: dict[str, str]) -> host_command.Done:
        return host_command.Done(0, "  -> 192.0.2.1:6443  7 0 0 0 0\n  -> 192.0.2.2:6443  0 0 0 0 0\n")

    monkeypatch.setattr(host_command, "run", said)
    servers = [
        {"address": "192.0.2.1", "port": 6443, "connections": 0, "inactive": 3},
        {"address": "192.0.2.2", "port": 6443, "connections": 1, "inactive": 3},
        {"address": "192.0.2.3", "port": 6443, "connections": 0, "inactive": 0},
    ]
    service: dict[str, Any] = {"address": "192.0.2.240", "port": 6443, "real_servers": servers}
    watch._count(service, {"programs": ("keepalived", "ipvsadm", "")})
    assert [one["given"] for one in servers] == [7, 4, 0]
