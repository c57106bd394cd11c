# SPDX-License-Identifier: Apache-2.0
"""A network entry: how long a failover takes beside what VRRP needs, and an apply on three hosts beside one on one.

The holder of the VIP is paused, as a host that hangs; a machine that is none of the entry's asks the VIP meanwhile.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.automation.entry import PORT, SERVICE, Entries, bundle, floor_ms, outside
from tests.bench.figure import Figure, side_by_side
from tests.lab import Lab
from tests.lab.host import LabHost

FAILOVERS = 10
# Beside the tenth: what finding the paused host out and answering again may take.
SLACK_MS = 200
WATCHED_SECONDS = 9.0


def measure(folder: Path, lab: Lab, rounds: int) -> list[Figure]:
    """Measure both on hosts of their own."""
    hosts = [lab.host(f"bench-vip-{name}", docker=False) for name in "abc"]
    try:
        for host in hosts:
            host.exec(["sh", "-c", "cat > /etc/systemd/system/behind.service"], input=SERVICE)
            host.exec(["systemctl", "enable", "--now", "--quiet", "behind.service"])
        made = bundle(folder / "entry-bundle")
        (folder / "entries").mkdir()
        entries = Entries(lab, folder / "entries", made, *hosts)
        return [_failovers(entries), _applies(entries, min(rounds, 5))]
    finally:
        for host in hosts:
            host.remove()


def _failovers(entries: Entries) -> Figure:
    """The longest of ten outages, against the floor with its tenth; the slack is taken off first."""
    spec = entries.spec()
    _must(entries, "apply", spec)
    floor = floor_ms(spec, entries.hosts[1].name)
    longest = max(_outage(entries, entries.hosts[0]) for _ in range(FAILOVERS))
    _must(entries, "rollback", spec, "-e", '{"network_entry_remove": true}')
    return Figure(
        f"longest outage of {FAILOVERS} failovers, less {SLACK_MS} ms",
        longest - SLACK_MS,
        "ms",
        1.1,
        "3 adverts and the skew",
        floor,
    )


def _outage(entries: Entries, active: LabHost) -> float:
    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(outside.watch, entries.vip, PORT, WATCHED_SECONDS)
        time.sleep(1.0)
        active.pause()
        try:
            outage = watched.result()
        finally:
            active.unpause()
    end = time.monotonic() + 20
    while entries.holders() != [active.name]:
        if time.monotonic() > end:
            raise RuntimeError(f"the VIP did not come back to {active.name}: {entries.holders()}")
        time.sleep(0.1)
    if not outage["answers_again"]:
        raise RuntimeError("the VIP did not answer again")
    return float(outage["outage_ms"])


def _applies(entries: Entries, rounds: int) -> Figure:
    """An apply where nothing is, and its removal between, which is not counted."""
    # On one host the two back ends that there must be are reached, and one is worked on.
    wanted: dict[str, Any] = {"directors": [entries.hosts[0].name]}
    three, one = entries.spec(**wanted), entries.spec(**wanted)

    def timed(spec: dict[str, Any], *more: str) -> float:
        started = time.perf_counter()
        _must(entries, "apply", spec, *more)
        taken = time.perf_counter() - started
        _must(entries, "rollback", spec, "-e", '{"network_entry_remove": true}')
        return taken

    limit = ("--limit", entries.hosts[0].name)
    ours, (beside,) = side_by_side(lambda: timed(three), [lambda: timed(one, *limit)], rounds)
    return Figure("apply of a network entry on three hosts", ours, "s", 2.0, "on one", beside)


def _must(entries: Entries, verb: str, spec: dict[str, Any], *more: str) -> None:
    if not entries.run(verb, spec, *more):
        raise RuntimeError(f"{verb} failed: {entries.said[-3000:]}")
