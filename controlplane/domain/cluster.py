# SPDX-License-Identifier: Apache-2.0
"""What may be said of a cluster: where it is, how it is reached, and what its credential has to be allowed."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from controlplane.domain.errors import Problem

LONGEST_ENDPOINT = 255
LONGEST_TOKEN = 16 * 1024
# The status of a cluster that was taken away with its environment; the others are `ready` and `failed`.
GONE = "gone"
UNVERIFIED = (
    "the server's certificate is not verified: whoever stands in between reads and changes everything"
)

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Connection:
    """How a cluster is reached: a bearer token, or a client certificate with its key. All PEM as text.

    `namespace` is what its kubeconfig named, None where nothing did.
    """

    endpoint: str
    ca: str | None = None
    token: str | None = field(default=None, repr=False)
    certificate: str | None = None
    key: str | None = field(default=None, repr=False)
    tls_server_name: str | None = None
    is_insecure: bool = False
    namespace: str | None = None

    @property
    def credential_kind(self) -> str:
        """`token` or `certificate`."""
        return "token" if self.token else "certificate"

    def kubeconfig(self) -> dict[str, Any]:
        """Return the canonical kubeconfig: one cluster, one user, one context, everything inline."""
        cluster: dict[str, Any] = {"server": self.endpoint}
        if self.ca:
            cluster["certificate-authority-data"] = _base64(self.ca)
        if self.is_insecure:
            cluster["insecure-skip-tls-verify"] = True
        if self.tls_server_name:
            cluster["tls-server-name"] = self.tls_server_name
        user: dict[str, Any] = {"token": self.token} if self.token else {
            "client-certificate-data": _base64(self.certificate or ""),
            "client-key-data": _base64(self.key or ""),
        }  # fmt: skip
        context = {"cluster": "cluster", "user": "user"}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": "user", "user": user}],
            "contexts": [
                {
                    "name": "context",
                    "context": context | ({"namespace": self.namespace} if self.namespace else {}),
                }
            ],
            "current-context": "context",
        }


@dataclass(frozen=True)
class Endpoint:
    """An `https` address, taken apart. `host` has no brackets; `prefix` begins with / or is empty."""

    host: str
    port: int
    prefix: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}{self.prefix}"


def read_endpoint(text: object) -> Endpoint:
    """Take an endpoint apart.

    Raises:
        Problem: `endpoint_invalid`, for anything but `https://HOST[:PORT][/PREFIX]`.
    """
    fault = None
    if not isinstance(text, str) or not 1 <= len(text) <= LONGEST_ENDPOINT:
        fault = f"must be a text of 1 to {LONGEST_ENDPOINT} characters"
    elif not _TOKEN.fullmatch(text) or "\\" in text or "%" in text:
        fault = "has characters that no address has"
    else:
        try:
            parts = urlsplit(text)
            port = 443 if parts.port is None else parts.port
        except ValueError:
            raise _endpoint_fault("is no address") from None
        prefix = parts.path.rstrip("/")
        if parts.scheme != "https":
            fault = "must begin with https://"
        elif parts.username is not None or parts.password is not None or "@" in parts.netloc:
            fault = "must not hold a user or password"
        elif "?" in text or "#" in text:
            fault = "must not hold a query or fragment"
        elif not parts.hostname or not _is_host(parts.hostname):
            fault = "must name a host or an IP address"
        elif port == 0:
            fault = "must have a port from 1 to 65535"
        elif not _PREFIX.fullmatch(prefix) or ".." in prefix.split("/") or "." in prefix.split("/"):
            fault = "has a path that no cluster has"
        else:
            endpoint = Endpoint(parts.hostname, port, prefix)
            if len(str(endpoint)) <= LONGEST_ENDPOINT:
                return endpoint
            fault = f"must have at most {LONGEST_ENDPOINT} characters with its port"
    raise _endpoint_fault(fault)


def _endpoint_fault(fault: str) -> Problem:
    return Problem("endpoint_invalid", f"the endpoint {fault}", errors={"endpoint": [fault]})


def _is_host(host: str) -> bool:
    try:
        # A zone (`fe80::1%eth0`) names an interface of this machine; % was refused before.
        return bool(ipaddress.ip_address(host))
    except ValueError:
        labels = host.rstrip(".").split(".")
        # `127.1` and `0x7f000001` are addresses to the resolver of this machine, in a form that hides which.
        return (
            len(host) <= 253
            and not _NUMBER.fullmatch(labels[-1])
            and all(_LABEL.fullmatch(label) for label in labels)
        )


# --- addresses that a stored endpoint must not lead to -------------------------------------------------------

# Where clouds answer machines about themselves, beside the link-local address that most of them use.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


def why_forbidden(address: Address, allowed: Iterable[Network] = ()) -> str | None:
    """Return what kind of address it is when no endpoint may lead there, None when one may.

    `allowed` are the networks that the installation's settings let through. Private networks are no reason:
    most clusters are in one.
    """
    allowed = tuple(allowed)
    if any(address.version == network.version and address in network for network in allowed):
        return None
    inner = _inner(address)
    if inner is not None:
        return why_forbidden(inner, allowed)
    kinds = (
        (address in _METADATA, "a metadata address"),
        (address.is_loopback, "a loopback address"),
        (address.is_link_local, "a link-local address"),
        (address.is_multicast, "a multicast address"),
        (address.is_unspecified, "no address"),
        (address.version == 4 and address in _THIS_NETWORK, "an address of this machine"),
        (address.is_reserved, "a reserved address"),
    )
    return next((kind for is_so, kind in kinds if is_so), None)


def _inner(address: Address) -> Address | None:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


# --- credentials ---------------------------------------------------------------------------------------------


def is_token(value: object) -> bool:
    """Say whether it can be a bearer token: one word of printable ASCII, so that it cannot become a second header."""
    return isinstance(value, str) and len(value) <= LONGEST_TOKEN and _TOKEN.fullmatch(value) is not None


def token_expiry(token: str) -> datetime | None:
    """Return when a token says that it expires; None for one that says nothing (not every token is a JWT)."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(int(claims["exp"]), UTC)
    except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError):
        return None


def is_namespace(value: object) -> bool:
    """Say whether it can be the name of a namespace."""
    return isinstance(value, str) and _NAMESPACE.fullmatch(value) is not None


# --- what a release needs ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ability:
    """Something that a credential may or may not do in a namespace. `group` is empty for the core's."""

    verb: str
    resource: str
    group: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        named = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {named}/{self.subresource}" if self.subresource else f"{self.verb} {named}"


_VERBS = ("get", "list", "create", "patch", "delete")
_KINDS: Sequence[tuple[str, str]] = (
    ("configmaps", ""), ("secrets", ""), ("services", ""), ("deployments", "apps"), ("statefulsets", "apps"),
    ("daemonsets", "apps"), ("jobs", "batch"),
)  # fmt: skip
EVERYTHING = Ability("*", "*", "*")
NEEDED: Sequence[Ability] = (
    *(Ability(verb, resource, group) for resource, group in _KINDS for verb in _VERBS),
    # What a release has applied is kept in a ConfigMap, which is written whole, by compare and swap.
    Ability("update", "configmaps"),
    Ability("get", "pods"),
    Ability("list", "pods"),
    # One that can never start keeps a StatefulSet from going on, also back.
    Ability("delete", "pods"),
    Ability("get", "pods", subresource="log"),
    Ability("list", "events"),
    # They tell the pods of what is new from those of what it takes the place of.
    Ability("list", "replicasets", "apps"),
)
# Of a target that may hold what is outside of namespaces: that a release can bring its namespace and its definitions.
NEEDED_OUTSIDE: Sequence[Ability] = tuple(
    Ability(verb, resource, group)
    for resource, group in (("namespaces", ""), ("customresourcedefinitions", "apiextensions.k8s.io"))
    for verb in ("get", "create", "patch")
)


def lacking(answers: Mapping[Ability, bool], needed: Iterable[Ability] = NEEDED) -> list[str]:
    """Return what is missing, as people say it: `create deployments.apps`. One that was not answered is missing."""
    return [str(one) for one in needed if not answers.get(one, False)]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
