# SPDX-License-Identifier: Apache-2.0
"""What a cluster's credential may do in a namespace, held against what a release needs there.

It asks the cluster: never call it inside a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controlplane.domain import cluster as rules
from controlplane.domain.cluster import Ability, Connection
from controlplane.domain.errors import Problem
from controlplane.services import views
from controlplane.services.core import Core


def lacking(
    core: Core, connection: Connection, namespace: str | None, needed: Sequence[Ability]
) -> list[str]:
    """Return what the credential may not do of what is needed, `create deployments.apps`: in a namespace, or outside.

    Raises:
        Problem: what `ClusterProbe` says.
    """
    # An administrator's credential is the usual one: one question answers all of them.
    whole = core.cluster_probe.abilities(connection, namespace, [rules.EVERYTHING])
    if whole[rules.EVERYTHING]:
        return []
    return rules.lacking(core.cluster_probe.abilities(connection, namespace, needed), needed)


def require(core: Core, connection: Connection, namespace: str, *, cluster_scoped: bool) -> dict[str, Any]:
    """Let a namespace pass to which a release can be made; return what a target keeps of it.

    Args:
        cluster_scoped: a release may hold what is outside of namespaces, and so make the namespace itself.

    Raises:
        Problem: `cluster_permission_insufficient` (naming what is lacking), `namespace_missing`, and what
            `ClusterProbe` says.
    """
    missing = lacking(core, connection, namespace, rules.NEEDED)
    if missing:
        raise Problem(
            "cluster_permission_insufficient",
            f"the credential may not, in namespace {namespace}: {', '.join(missing)}",
            hint="Grant it with a Role and a RoleBinding in the namespace, then try again.",
            errors={"namespace": [f"may not {one}" for one in missing]},
            extra={"lacking": missing},
        )
    outside = lacking(core, connection, None, rules.NEEDED_OUTSIDE) if cluster_scoped else []
    if outside:
        raise Problem(
            "cluster_permission_insufficient",
            f"the credential may not, outside of namespaces: {', '.join(outside)}",
            hint="Grant it with a ClusterRole and a ClusterRoleBinding, or leave cluster_scoped out.",
            errors={"cluster_scoped": [f"may not {one}" for one in outside]},
            extra={"lacking": outside},
        )
    exists = core.cluster_probe.has_namespace(connection, namespace)
    if not exists and not cluster_scoped:
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


def review(core: Core, connection: Connection, namespace: str, *, cluster_scoped: bool) -> dict[str, Any]:
    """Return what a target keeps of its access, whether it is good or not."""
    try:
        return require(core, connection, namespace, cluster_scoped=cluster_scoped)
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
