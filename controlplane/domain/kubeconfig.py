# SPDX-License-Identifier: Apache-2.0
"""A kubeconfig becomes one connection with everything inline, or is refused: it could run code or read files here.

The whole file is judged, not only the context that is chosen: what is refused in it is a reason not to trust the rest.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controlplane.domain import cluster as rules
from controlplane.domain.cluster import Connection
from controlplane.domain.errors import Problem

MOST_BYTES = 256 * 1024
MOST_ENTRIES = 100
LONGEST_NAME = 253
_LISTS: Mapping[str, str] = {"clusters": "cluster", "users": "user", "contexts": "context"}
_RUNS = "would run a program here"
_READS = "names a file; give its content as data"
_UNSAFE: Mapping[str, Mapping[str, str]] = {
    "cluster": {
        "certificate-authority": _READS,
        "proxy-url": "would send the credential another way than to the cluster",
    },
    "user": {
        "exec": _RUNS,
        "auth-provider": _RUNS,
        "client-certificate": _READS,
        "client-key": _READS,
        "tokenFile": _READS,
    },
    "context": {},
}
_KNOWN: Mapping[str, frozenset[str]] = {
    "cluster": frozenset(
        {"server", "certificate-authority-data", "insecure-skip-tls-verify", "tls-server-name",
         "disable-compression", "extensions"}
    ),
    "user": frozenset({"token", "client-certificate-data", "client-key-data", "extensions"}),
    "context": frozenset({"cluster", "user", "namespace", "extensions"}),
}  # fmt: skip
_NOT_TAKEN: Mapping[str, str] = {
    "username": "passwords are no longer taken by Kubernetes",
    "password": "passwords are no longer taken by Kubernetes",
    "as": "acting as somebody else is not supported",
    "as-uid": "acting as somebody else is not supported",
    "as-groups": "acting as somebody else is not supported",
    "as-user-extra": "acting as somebody else is not supported",
}


@dataclass
class _Faults:
    """What is wrong, by field. What is unsafe is told before what is merely not valid."""

    unsafe: dict[str, list[str]] = field(default_factory=dict)
    invalid: dict[str, list[str]] = field(default_factory=dict)

    def note(self, where: str, said: str) -> None:
        """Note what is not valid."""
        self.invalid.setdefault(where, []).append(said)

    def check(self) -> None:
        """Raise what was noted."""
        if self.unsafe:
            named = ", ".join(sorted(self.unsafe)[:10])
            raise Problem(
                "kubeconfig_unsafe",
                f"the kubeconfig would run code, read files or leave the safe way: {named}",
                hint="Use embedded data only: kubectl config view --raw --flatten --minify, with a token.",
                errors=self.unsafe,
            )
        if self.invalid:
            raise Problem(
                "kubeconfig_invalid", f"not valid: {', '.join(list(self.invalid)[:10])}", errors=self.invalid
            )


def read(document: Any, context: str | None = None, *, allow_insecure: bool = False) -> Connection:
    """Return the connection that a context of a kubeconfig describes; the current one unless another is named.

    Args:
        document: the parsed file.
        allow_insecure: let `insecure-skip-tls-verify: true` pass.

    Raises:
        Problem: `kubeconfig_unsafe`, `kubeconfig_invalid` (both with per-field errors; no value is repeated in
            them), `endpoint_invalid`.
    """
    if not isinstance(document, Mapping):
        raise _invalid("kubeconfig", "must be a mapping")
    faults = _Faults()
    for name, wanted in (("apiVersion", "v1"), ("kind", "Config")):
        if document.get(name, wanted) != wanted:
            faults.note(name, f"must be {wanted}")
    entries = {many: _entries(document, many, one, faults) for many, one in _LISTS.items()}
    if not allow_insecure:
        _refuse_insecure(entries["clusters"], faults)
    faults.check()
    return _chosen(document, entries, context)


def _entries(
    document: Mapping[str, Any], many: str, one: str, faults: _Faults
) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return the entries of a list by name, each with its path, and note what is wrong with any of them."""
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    items = document.get(many)
    if items is None:
        items = []
    if not isinstance(items, list) or len(items) > MOST_ENTRIES:
        faults.note(many, f"must be a list of at most {MOST_ENTRIES}")
        return found
    for number, item in enumerate(items):
        where = f"{many}[{number}]"
        if not isinstance(item, Mapping):
            faults.note(where, "must be a mapping")
            continue
        name, body = item.get("name"), item.get(one)
        if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_NAME:
            faults.note(f"{where}.name", "must be a name")
            continue
        if name in found:
            faults.note(f"{where}.name", "is there twice")
        if body is None:
            body = {}
        if not isinstance(body, Mapping):
            faults.note(f"{where}.{one}", "must be a mapping")
            continue
        _judge(body, one, f"{where}.{one}", faults)
        found[name] = (f"{where}.{one}", body)
    return found


def _judge(body: Mapping[str, Any], one: str, where: str, faults: _Faults) -> None:
    for name in body:
        # Present is enough: what an empty `exec` is taken for is not for us to find out.
        if name in _UNSAFE[one]:
            faults.unsafe[f"{where}.{name}"] = [_UNSAFE[one][name]]
        elif name not in _KNOWN[one]:
            shown = name if isinstance(name, str) and len(name) <= 60 else "?"
            faults.note(f"{where}.{shown}", _NOT_TAKEN.get(shown, "is not a field that is known"))
    insecure = body.get("insecure-skip-tls-verify")
    if one == "cluster" and insecure is not None and not isinstance(insecure, bool):
        faults.note(f"{where}.insecure-skip-tls-verify", "must be true or false")


def _refuse_insecure(clusters: Mapping[str, tuple[str, Mapping[str, Any]]], faults: _Faults) -> None:
    for where, body in clusters.values():
        if body.get("insecure-skip-tls-verify") is True:
            faults.unsafe[f"{where}.insecure-skip-tls-verify"] = [rules.UNVERIFIED]


def _chosen(
    document: Mapping[str, Any],
    entries: Mapping[str, Mapping[str, tuple[str, Mapping[str, Any]]]],
    context: str | None,
) -> Connection:
    wanted = context or document.get("current-context")
    if not isinstance(wanted, str) or not wanted:
        raise _invalid("current-context", "is missing, and no context was named")
    if wanted not in entries["contexts"]:
        raise _invalid("context" if context else "current-context", "there is no such context")
    place, chosen = entries["contexts"][wanted]
    parts: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for many, one in (("clusters", "cluster"), ("users", "user")):
        named = chosen.get(one)
        if not isinstance(named, str) or named not in entries[many]:
            raise _invalid(f"{place}.{one}", f"names none of the {many}")
        parts[one] = entries[many][named]
    namespace = chosen.get("namespace") or None
    if namespace is not None and not rules.is_namespace(namespace):
        raise _invalid(f"{place}.namespace", "must be the name of a namespace")
    return _connection(parts["cluster"], parts["user"], namespace)


def _connection(
    cluster: tuple[str, Mapping[str, Any]], user: tuple[str, Mapping[str, Any]], namespace: str | None
) -> Connection:
    faults = _Faults()
    (at, body), (beside, login) = cluster, user
    ca = _pem(body, "certificate-authority-data", at, faults)
    is_insecure = body.get("insecure-skip-tls-verify") is True
    if ca and is_insecure:
        faults.note(f"{at}.insecure-skip-tls-verify", "makes no sense beside a certificate authority")
    server_name = body.get("tls-server-name") or None
    if server_name is not None and not is_server_name(server_name):
        faults.note(f"{at}.tls-server-name", "must be the name of a server")
    token = login.get("token") or None
    if token is not None and not rules.is_token(token):
        faults.note(f"{beside}.token", "must be one word of printable characters")
    certificate = _pem(login, "client-certificate-data", beside, faults)
    key = _pem(login, "client-key-data", beside, faults)
    if not faults.invalid:
        _check_credential(beside, token, certificate, key, faults)
    faults.check()
    endpoint = rules.read_endpoint(body.get("server"))
    return Connection(str(endpoint), ca, token, certificate, key, server_name, is_insecure, namespace)


def _check_credential(
    where: str, token: str | None, certificate: str | None, key: str | None, faults: _Faults
) -> None:
    if bool(certificate) != bool(key):
        lacks = "client-key-data" if certificate else "client-certificate-data"
        faults.note(f"{where}.{lacks}", "a client certificate needs its key, and a key its certificate")
    elif token and certificate:
        faults.note(where, "has a token and a client certificate: give one of them")
    elif not token and not certificate:
        faults.note(where, "has no credential: give a token, or a client certificate with its key")


def _pem(body: Mapping[str, Any], name: str, where: str, faults: _Faults) -> str | None:
    """Return the PEM text that a `-data` field holds in base 64; None where there is none, or it is no text."""
    data = body.get(name)
    if data is None or data == "":
        return None
    try:
        if not isinstance(data, str):
            raise ValueError
        text = base64.b64decode("".join(data.split()), validate=True).decode("ascii")
        if "-----BEGIN " not in text:
            raise ValueError
    except (ValueError, binascii.Error, UnicodeDecodeError):
        faults.note(f"{where}.{name}", "must be PEM text in base 64")
        return None
    return text


def is_server_name(value: object) -> bool:
    """Say whether it can be the name under which a server's certificate is looked at."""
    if not isinstance(value, str):
        return False
    try:
        return rules.read_endpoint(f"https://{value}").host == value.lower() and "/" not in value
    except Problem:
        return False


def _invalid(where: str, said: str) -> Problem:
    return Problem("kubeconfig_invalid", f"{where} {said}", errors={where: [said]})
