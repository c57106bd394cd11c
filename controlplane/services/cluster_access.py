# SPDX-License-Identifier: Apache-2.0
"""What a cluster's credential may do in a namespace, held against what a release needs there.

It asks the cluster: never call it inside a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.domain import cluster as rules
from controlplane.domain.cluster import Connection
from controlplane.domain.errors import Problem
from controlplane.services import views
from controlplane.services.core import Core


def lacking(core: Core, connection: Connection, namespace: str) -> list[str]:
    """Return what the credential may not do in a namespace, of what a release needs: `create deployments.apps`.

    Raises:
        Problem: what `ClusterProbe` says.
    """
    # An administrator's credential is the usual one: one question answers all of them.
    whole = core.cluster_probe.abilities(connection, namespace, [rules.EVERYTHING])
    if whole[rules.EVERYTHING]:
        return []
    return rules.lacking(core.cluster_probe.abilities(connection, namespace, rules.NEEDED))


def require(core: Core, connection: Connection, namespace: str, *, may_make: bool) -> dict[str, Any]:
    """Let a namespace pass to which a release can be made; return what a target keeps of it.

    Args:
        may_make: a release may make the namespace, where the credential may.

    Raises:
        Problem: `cluster_permission_insufficient` (naming what is lacking), `namespace_missing`, and what
            `ClusterProbe` says.
    """
    missing = lacking(core, connection, namespace)
    if missing:
        raise Problem(
            "cluster_permission_insufficient",
            f"the credential may not, in namespace {namespace}: {', '.join(missing)}",
            hint="Grant it with a Role and a RoleBinding in the namespace, then try again.",
            errors={"namespace": [f"may not {one}" for one in missing]},
            extra={"lacking": missing},
        )
    exists = core.cluster_probe.has_namespace(connection, namespace)
    if not exists and not (may_make and _may_make(core, connection)):
        raise Problem("namespace_missing", f"there is no namespace {namespace} in the cluster")
    return {
        "ok": True,
        "checked_at": views.moment(core.clock.now()),
        "error_key": None,
        "detail": None,
        "lacking": [],
        "namespace_exists": exists,
        "warning": rules.UNVERIFIED if connection.is_insecure else None,
    }


def review(core: Core, connection: Connection, namespace: str, *, may_make: bool) -> dict[str, Any]:
    """Return what a target keeps of its access, whether it is good or not."""
    try:
        return require(core, connection, namespace, may_make=may_make)
    except Problem as problem:
        return _failed(core, connection, problem)


def is_good(access: Mapping[str, Any]) -> bool:
    """Say whether what a target keeps of its access lets releases through; one that was never looked at does."""
    return bool(access.get("ok", True))


def _failed(core: Core, connection: Connection, problem: Problem) -> dict[str, Any]:
    is_missing = problem.error_key == "namespace_missing"
    return {
        "ok": False,
        "checked_at": views.moment(core.clock.now()),
        "error_key": problem.error_key,
        "detail": problem.detail,
        "lacking": list(problem.extra.get("lacking", [])),
        "namespace_exists": False if is_missing else None,
        "warning": rules.UNVERIFIED if connection.is_insecure else None,
    }


def _may_make(core: Core, connection: Connection) -> bool:
    asked = core.cluster_probe.abilities(connection, None, [rules.MAKE_NAMESPACE])
    return asked[rules.MAKE_NAMESPACE]
