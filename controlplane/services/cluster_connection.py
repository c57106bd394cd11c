# SPDX-License-Identifier: Apache-2.0
"""How a cluster is reached, from what somebody sends to what is kept: parsed, then tried, then encrypted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.domain import cluster as rules
from controlplane.domain import kubeconfig
from controlplane.domain.cluster import Connection
from controlplane.domain.errors import Problem
from controlplane.ports.cluster_probe import Reached
from controlplane.services import cluster_access, views, yaml_documents
from controlplane.services.core import Core
from controlplane.store.tables import Cluster

BOUNDS = yaml_documents.Bounds(
    most_bytes=kubeconfig.MOST_BYTES, most_nodes=20_000, most_depth=20, allow_aliases=False
)
DEFAULT_NAMESPACE = "default"
FORMS = ("kubeconfig", "endpoint")


@dataclass(frozen=True)
class Tried:
    """A connection that was tried: what it is, when its credential ends, what the cluster answered."""

    connection: Connection
    expires_at: datetime | None
    reached: Reached


def parse(core: Core, given: Mapping[str, Any]) -> Connection:
    """Return the connection of a kubeconfig (`kubeconfig`, `context`) or of its parts (`endpoint`, `ca`, ...).

    Raises:
        Problem: `kubeconfig_invalid`, `kubeconfig_unsafe`, `endpoint_invalid`, `validation_error`.
    """
    named = [name for name in FORMS if given.get(name) is not None]
    if len(named) != 1:
        said = "give a kubeconfig, or an endpoint with its credential"
        raise Problem("validation_error", errors={"kubeconfig": [said]})
    if named == ["kubeconfig"]:
        foreign = [name for name in _PARTS if given.get(name) is not None]
        if foreign:
            raise Problem("validation_error", errors={name: ["is in the kubeconfig"] for name in foreign})
        document = _read_document(given["kubeconfig"])
        return kubeconfig.read(
            document, given.get("context"), allow_insecure=core.settings.cluster_allow_insecure_tls
        )
    return _from_parts(core, given)


def try_out(core: Core, connection: Connection) -> Tried:
    """Look at the credential, then connect with it.

    Raises:
        Problem: `certificate_invalid`, `endpoint_invalid`, `cluster_unreachable`, `cluster_permission_insufficient`.
    """
    examined = core.cluster_probe.examine(connection)
    return Tried(examined.connection, examined.expires_at, core.cluster_probe.reach(examined.connection))


def run_kubeconfig(core: Core, cluster: Cluster) -> dict[str, Any]:
    """Return the canonical kubeconfig that is kept: one context, everything inline. It is secret."""
    document: dict[str, Any] = json.loads(core.vault.decrypt(cluster.kubeconfig_cipher))
    return document


def opened(core: Core, cluster: Cluster) -> Connection:
    """Return the connection that is kept. It is secret.

    Raises:
        Problem: `kubeconfig_unsafe`, where it is not verified and the installation lets no such in any more.
    """
    return kubeconfig.read(
        run_kubeconfig(core, cluster), allow_insecure=core.settings.cluster_allow_insecure_tls
    )


def put(core: Core, cluster: Cluster, tried: Tried, report: Mapping[str, Any]) -> None:
    """Write a connection that was tried into a cluster's row, encrypted."""
    connection = tried.connection
    cluster.endpoint = connection.endpoint
    cluster.ca = connection.ca
    cluster.insecure_skip_tls_verify = connection.is_insecure
    cluster.kubeconfig_cipher = core.vault.encrypt(json.dumps(connection.kubeconfig()).encode())
    cluster.credential_kind = connection.credential_kind
    cluster.credential_expires_at = tried.expires_at
    note(core, cluster, report)


def note(core: Core, cluster: Cluster, report: Mapping[str, Any]) -> None:
    """Write what a test of the connection found into a cluster's row."""
    if cluster.status == rules.GONE and not report["reachable"]:
        # Why it cannot be reached is known better than a test could tell.
        return
    cluster.status = "ready" if report["reachable"] else "failed"
    cluster.server_version = report["server_version"] or cluster.server_version
    cluster.last_check = dict(report)
    cluster.last_checked_at = core.clock.now()


def report_on(core: Core, tried: Tried, namespace: str | None) -> dict[str, Any]:
    """Return what a test of a connection says, with what the credential may do in a namespace.

    Raises:
        Problem: what `ClusterProbe` says.
    """
    wanted = namespace or tried.connection.namespace or DEFAULT_NAMESPACE
    missing = cluster_access.lacking(core, tried.connection, wanted, rules.NEEDED)
    return {
        "reachable": True,
        "error_key": None,
        "detail": None,
        "server_version": tried.reached.server_version,
        "latency_ms": tried.reached.latency_ms,
        "certificate_expires_at": views.moment(tried.reached.certificate_expires_at),
        "credential_expires_at": views.moment(tried.expires_at),
        "namespace": wanted,
        "allowed": [str(one) for one in rules.NEEDED if str(one) not in missing],
        "lacking": missing,
        "warning": rules.UNVERIFIED if tried.connection.is_insecure else None,
    }


def report_of(problem: Problem, cluster: Cluster) -> dict[str, Any]:
    """Return what a test of a connection that failed says."""
    return {
        "reachable": False,
        "error_key": problem.error_key,
        "detail": problem.detail,
        "server_version": None,
        "latency_ms": None,
        "certificate_expires_at": cluster.last_check.get("certificate_expires_at"),
        "credential_expires_at": views.moment(cluster.credential_expires_at),
        "namespace": None,
        "allowed": [],
        "lacking": [],
        "warning": rules.UNVERIFIED if cluster.insecure_skip_tls_verify else None,
    }


_PARTS = ("ca", "token", "client_certificate", "client_key", "tls_server_name", "insecure_skip_tls_verify")


def _read_document(text: str) -> Any:
    try:
        documents = [one for one in yaml_documents.read(text, BOUNDS) if one is not None]
    except yaml_documents.NotTaken as error:
        raise _invalid(str(error)) from None
    if len(documents) != 1:
        raise _invalid("it is not one document")
    return documents[0]


def _invalid(said: str) -> Problem:
    return Problem("kubeconfig_invalid", said, errors={"kubeconfig": [said]})


def _from_parts(core: Core, given: Mapping[str, Any]) -> Connection:
    """Judge the parts as a kubeconfig would be, which is what they become."""
    if given.get("context") is not None:
        raise Problem("validation_error", errors={"context": ["is something that a kubeconfig has"]})
    is_insecure = bool(given.get("insecure_skip_tls_verify"))
    if is_insecure and not core.settings.cluster_allow_insecure_tls:
        raise Problem(
            "kubeconfig_unsafe",
            f"insecure_skip_tls_verify: {rules.UNVERIFIED}",
            hint="Give the cluster's certificate authority as ca.",
            errors={"insecure_skip_tls_verify": [rules.UNVERIFIED]},
        )
    errors = _errors_of(given, is_insecure)
    if errors:
        raise Problem("validation_error", errors=errors)
    return Connection(
        endpoint=str(rules.read_endpoint(given["endpoint"])),
        ca=given.get("ca"),
        token=given.get("token"),
        certificate=given.get("client_certificate"),
        key=given.get("client_key"),
        tls_server_name=given.get("tls_server_name"),
        is_insecure=is_insecure,
    )


def _errors_of(given: Mapping[str, Any], is_insecure: bool) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    token, certificate, key = (given.get(name) for name in ("token", "client_certificate", "client_key"))
    if token is not None and not rules.is_token(token):
        errors["token"] = ["must be one word of printable characters"]
    if bool(certificate) != bool(key):
        lacks = "client_key" if certificate else "client_certificate"
        errors[lacks] = ["a client certificate needs its key, and a key its certificate"]
    elif bool(token) == bool(certificate):
        errors["token"] = ["give a token, or a client certificate with its key"]
    if given.get("ca") and is_insecure:
        errors["insecure_skip_tls_verify"] = ["makes no sense beside a certificate authority"]
    server_name = given.get("tls_server_name")
    if server_name is not None and not kubeconfig.is_server_name(server_name):
        errors["tls_server_name"] = ["must be the name of a server"]
    return errors
