# SPDX-License-Identifier: Apache-2.0
"""Why Ansible could not reach a host: asked of the host itself, not read out of what ssh printed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from controlplane.domain.errors import Problem
from controlplane.ports.runner import RunHost
from controlplane.services.core import Core

PROBE_SECONDS = 5.0


def explain(
    core: Core, hosts: Mapping[str, RunHost], unreachable: Collection[str]
) -> dict[str, tuple[str, str]]:
    """Return for each unreachable host the error key and a sentence. One that answers now was cut off then."""
    return {name: _why(core, hosts[name]) for name in sorted(unreachable) if name in hosts}


def _why(core: Core, host: RunHost) -> tuple[str, str]:
    if host.access is None:
        return "cluster_unreachable", f"cluster {host.name} could not be worked on from here"
    where = f"{host.access.address}:{host.access.port}"
    try:
        core.probe.check(host.access, timeout=PROBE_SECONDS)
    except Problem as problem:
        return problem.error_key, problem.detail
    return "ssh_unreachable", f"the connection to {where} broke off; it answers again now"
