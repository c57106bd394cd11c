# SPDX-License-Identifier: Apache-2.0
"""keepalived.conf and the units are, byte for byte, what they were when somebody last read them.

`TIDEGATE_WRITE_SNAPSHOTS=1` writes them anew, to be read in the diff.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import (
    host_units,
    keepalived_config,
    parameters,
)

from .documents import document

SNAPSHOTS = Path(__file__).with_name("snapshots")
PROGRAMS = host_units.Programs("/opt/x/keepalived", "/opt/x/ipvsadm", "/opt/x/lib", "/etc/x/keepalived.conf")
CASES: dict[str, dict[str, Any]] = {
    "dr_unicast_three_directors": {},
    "nat": {"lb_kind": "NAT", "lb_algo": "wrr", "backend_nodes": ["a", {"host": "b", "weight": 3}]},
    "tun": {"lb_kind": "TUN", "lb_algo": "lc"},
    "multicast_no_password": {"unicast": False, "auth_pass": None, "advert_interval": 0.5},
    "one_director": {"directors": ["b"], "lb_algo": "wlc"},
    "two_directors_nopreempt": {"directors": ["c", "a"], "nopreempt": True},
    "three_ports_https": {"ports": [80, 443], "health_check": {"kind": "https"}},
    "no_balancer": {"balancer": "none"},
}


def whole(entry: parameters.Entry) -> str:
    shown = []
    for host in "abc":
        if entry.priority(host) is not None:
            shown.append(f"=== {host} keepalived.conf\n" + keepalived_config.render(entry, host, "eth0"))
        for name, text in host_units.units(entry, host, "eth0", PROGRAMS).items():
            shown.append(f"=== {host} {name}\n{text}")
    return "\n".join(shown)


@pytest.mark.parametrize("name", CASES)
def test_is_as_it_was_read(name: str) -> None:
    said = whole(parameters.parse(document(**CASES[name])))
    file = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("TIDEGATE_WRITE_SNAPSHOTS") == "1":
        file.write_text(said)
    assert said == file.read_text()


def test_only_what_votes_for_the_active_director_starts_by_itself() -> None:
    entry = parameters.parse(document())
    names = host_units.units(entry, "a", "eth0", PROGRAMS)
    assert keepalived_config.BALANCER_UNIT in names
    assert keepalived_config.BALANCER_UNIT not in host_units.enabled(names)


def test_priorities_fall_in_the_order_of_the_directors() -> None:
    entry = parameters.parse(document(directors=["c", "a", "b"]))
    assert [entry.priority(host) for host in "cab"] == [150, 140, 130]
    assert entry.priority("z") is None


def test_floor_is_three_adverts_and_the_skew() -> None:
    assert parameters.parse(document()).floor_seconds("b") == pytest.approx(3 + 116 / 256)
    fast = parameters.parse(document(auth_pass=None, advert_interval=0.1))
    assert fast.floor_seconds("b") == pytest.approx(0.3 + 0.1 * 116 / 256)
