# SPDX-License-Identifier: Apache-2.0
"""Every resource of the API, in the order in which its document shows them."""

from __future__ import annotations

from flask_smorest import Blueprint

from controlplane.api import (
    approvals,
    artifacts,
    audit,
    bindings,
    cluster_certificates,
    clusters,
    environments,
    events,
    hosts,
    installs,
    jobs,
    me,
    network_entries,
    projects,
    registries,
    releases,
    services,
    targets,
    teams,
    tokens,
    users,
)

BLUEPRINTS: list[Blueprint] = [
    releases.blueprint,
    approvals.blueprint,
    events.blueprint,
    jobs.blueprint,
    audit.blueprint,
    hosts.blueprint,
    clusters.blueprint,
    cluster_certificates.blueprint,
    network_entries.blueprint,
    environments.blueprint,
    installs.blueprint,
    targets.blueprint,
    services.blueprint,
    artifacts.blueprint,
    registries.blueprint,
    projects.blueprint,
    teams.blueprint,
    users.blueprint,
    tokens.blueprint,
    bindings.blueprint,
    me.blueprint,
]


def blueprints() -> list[Blueprint]:
    """Return the blueprints; their prefixes are below `/api/v1`."""
    return list(BLUEPRINTS)
