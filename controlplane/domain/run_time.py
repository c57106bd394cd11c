# SPDX-License-Identifier: Apache-2.0
"""How long the run of a release may take: what its modules may, one after another. All times are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What the modules for Compose give up after, each on one host.
PULL_SECONDS = 1800.0
LOAD_SECONDS = 900.0
UP_SECONDS = 900.0
DOWN_SECONDS = 300.0
# As many hosts as Ansible works on at once, whatever the strategy would let.
FORKS = 20
# A line slower than this is as good as none. Bytes a second.
SLOWEST_LINE = 256 * 1024
# The steps of a canary in a cluster that names none.
CANARY_STEPS = 2
# Ansible itself, connections, comparisons.
MARGIN_SECONDS = 600.0


def on_hosts(
    strategy: str,
    params: Mapping[str, Any],
    *,
    hosts: int,
    images: int,
    archive_bytes: int,
    health_timeout: float,
) -> float:
    """Return after how long a release to Compose hosts can no longer be at work.

    Args:
        images: how many images it runs, each of which may have to be pulled.
        archive_bytes: what may have to be sent to each host.
    """
    fetched = images * (PULL_SECONDS + LOAD_SECONDS) + archive_bytes / SLOWEST_LINE
    a_host = fetched + UP_SECONDS + health_timeout + _ending(strategy, params)
    at_once = min(int(params.get("max_parallel") or 1), FORKS) if strategy == "rolling" else FORKS
    turns = -(-hosts // at_once)
    if strategy == "canary" and params.get("mode") == "hosts":
        # The first share goes before the rest.
        turns += 1
    return turns * a_host + float(params.get("pause_seconds") or 0) + MARGIN_SECONDS


def in_cluster(strategy: str, params: Mapping[str, Any], health_timeout: float) -> float:
    """Return after how long a release to a cluster can no longer be at work.

    A canary waits for what it adds, then at each step for its share, which is watched for the pause, and in the end for
    everything.
    """
    if strategy != "canary":
        return health_timeout * 2 + MARGIN_SECONDS
    steps = params.get("steps")
    shares = len(steps) if isinstance(steps, list) else CANARY_STEPS
    pauses = float(params.get("pause_seconds") or 0) * shares
    return health_timeout * (2 + shares) + pauses + MARGIN_SECONDS


def _ending(strategy: str, params: Mapping[str, Any]) -> float:
    """What comes after the project is up: the other colours drain and go, or what was before comes back."""
    if strategy == "rolling":
        return 0.0
    if strategy == "canary" and params.get("mode") == "hosts":
        return UP_SECONDS
    return 2 * (float(params.get("drain_seconds") or 0) + DOWN_SECONDS)
