# SPDX-License-Identifier: Apache-2.0
"""Read-only looks at a cluster through its API server."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import quote, urlencode

from cryptography import x509

from controlplane.adapters import cluster_credential
from controlplane.adapters.cluster_line import Line, Resolve, Way, find_way, resolve_name
from controlplane.domain.cluster import Ability, Connection
from controlplane.domain.errors import Problem
from controlplane.ports.cluster_probe import LOOK_SECONDS, Examined, ObjectPage, Reached

_AT_ONCE = 8
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_VERSION = re.compile(r"[0-9A-Za-z.+_-]{1,64}")
_NAMES_OF_STATUS = {401: "does not know the credential", 403: "does not let the credential ask"}


class HttpsClusterProbe:
    """Asks over connections that are closed after each look.

    Args:
        allowed: networks that an endpoint may lead to although none of their kind may.
        resolve: gives the addresses of a name.
    """

    def __init__(self, allowed: Iterable[str] = (), resolve: Resolve = resolve_name) -> None:
        self._allowed = [ipaddress.ip_network(one) for one in allowed]
        self._resolve = resolve

    def examine(self, connection: Connection) -> Examined:
        """Read the certificates and the key. Raises Problem `certificate_invalid`."""
        return cluster_credential.examine(connection, datetime.now(UTC))

    def subject(self, connection: Connection) -> str | None:
        """See `ClusterProbe`."""
        return cluster_credential.subject(connection)

    def reach(self, connection: Connection, timeout: float = LOOK_SECONDS) -> Reached:
        """Connect, log in, ask for the version. Raises what `ClusterProbe` says."""
        line = Line(self._way(connection, timeout))
        try:
            line.open()
            certificate = _read_certificate(line.peer_certificate())
            begun = time.monotonic()
            answer = _good(line, "GET", "/version")
            latency = (time.monotonic() - begun) * 1000
            version = answer.get("gitVersion") if isinstance(answer, Mapping) else None
            if not isinstance(version, str) or not _VERSION.fullmatch(version):
                raise Problem("cluster_unreachable", "what answers there is no Kubernetes API server")
            # The version is told to anybody: only a question of one's own shows that the credential is known.
            _may(line, Ability("get", "pods"), "default")
        finally:
            line.close()
        return Reached(version, round(latency, 1), certificate.not_valid_after_utc)

    def abilities(
        self,
        connection: Connection,
        namespace: str | None,
        wanted: Sequence[Ability],
        timeout: float = LOOK_SECONDS,
    ) -> dict[Ability, bool]:
        """Ask for each ability, several at a time. Raises what `ClusterProbe` says."""
        lines = _Lines(self._way(connection, timeout))
        pool = ThreadPoolExecutor(min(_AT_ONCE, len(wanted) or 1))
        try:
            answers = pool.map(lambda ability: lines.may(ability, namespace), wanted)
            return dict(zip(wanted, answers, strict=True))
        finally:
            pool.shutdown(cancel_futures=True)
            lines.close()

    def has_namespace(self, connection: Connection, namespace: str, timeout: float = LOOK_SECONDS) -> bool:
        """Ask for the namespace or, where that may not be asked, for what every namespace has."""
        line = Line(self._way(connection, timeout))
        name = quote(namespace, safe="")
        try:
            status, _ = line.ask("GET", f"/api/v1/namespaces/{name}")
            if status == 403:
                status, _ = line.ask("GET", f"/api/v1/namespaces/{name}/configmaps/kube-root-ca.crt")
        finally:
            line.close()
        if status not in (200, 404):
            raise _refusal(status)
        return status == 200

    def page(
        self,
        connection: Connection,
        path: str,
        limit: int,
        after: str | None = None,
        timeout: float = LOOK_SECONDS,
    ) -> ObjectPage:
        """Return a page of a list. Raises what `ClusterProbe` says."""
        asked = {"limit": str(limit)} | ({"continue": after} if after else {})
        line = Line(self._way(connection, timeout))
        try:
            status, answer = line.ask("GET", f"{path}?{urlencode(asked)}")
        finally:
            line.close()
        if after and status in (400, 410):
            raise Problem("validation_error", errors={"cursor": ["is too old for the cluster: begin again"]})
        if status != 200:
            raise _refusal(status)
        return _page(answer)

    def _way(self, connection: Connection, timeout: float) -> Way:
        return find_way(connection, timeout, self._allowed, self._resolve)


class _Lines:
    """Lines of one look, shared by its threads: one is opened when none is free."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._free: SimpleQueue[Line] = SimpleQueue()

    def may(self, ability: Ability, namespace: str | None) -> bool:
        try:
            line = self._free.get_nowait()
        except Empty:
            line = Line(self._way)
        try:
            return _may(line, ability, namespace)
        finally:
            self._free.put(line)

    def close(self) -> None:
        while not self._free.empty():
            self._free.get_nowait().close()


def _may(line: Line, ability: Ability, namespace: str | None) -> bool:
    attributes = {"verb": ability.verb, "resource": ability.resource, "group": ability.group}
    if ability.subresource:
        attributes["subresource"] = ability.subresource
    if namespace is not None:
        attributes["namespace"] = namespace
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = _good(line, "POST", _REVIEW, review)
    status = answer.get("status") if isinstance(answer, Mapping) else None
    return isinstance(status, Mapping) and status.get("allowed") is True


def _good(line: Line, method: str, path: str, body: Any = None) -> Any:
    status, answer = line.ask(method, path, body)
    if status not in (200, 201):
        raise _refusal(status)
    return answer


def _refusal(status: int) -> Problem:
    if status in _NAMES_OF_STATUS:
        return Problem(
            "cluster_permission_insufficient", f"the cluster {_NAMES_OF_STATUS[status]} (status {status})"
        )
    # Also a redirect: it is not followed, and not told where it leads.
    return Problem("cluster_unreachable", f"the cluster answers with status {status}")


def _read_certificate(der: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.not_valid_after_utc  # noqa: B018
    except ValueError:
        raise Problem("certificate_invalid", "the cluster's certificate cannot be read") from None
    return certificate


def _page(answer: Any) -> ObjectPage:
    members = answer if isinstance(answer, Mapping) else {}
    items, meta = members.get("items"), members.get("metadata")
    meta = meta if isinstance(meta, Mapping) else {}
    following, remaining = meta.get("continue"), meta.get("remainingItemCount")
    if not isinstance(items, list):
        raise Problem("cluster_unreachable", "what answers there is no Kubernetes API server")
    return ObjectPage(
        [one for one in items if isinstance(one, Mapping)],
        following if isinstance(following, str) and following else None,
        remaining if isinstance(remaining, int) and remaining >= 0 else 0,
    )
