# SPDX-License-Identifier: Apache-2.0
"""From a kubeconfig to what a connection needs: its current context, with everything inline or in files.

A kubeconfig by hand may get its credential from a program or provider; that is left to the `kubernetes` client, which
takes most of a second to import and is asked for nothing else.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..release.errors import ReleaseError
from . import documents

_MOST_BYTES = 1024 * 1024


@dataclass
class Access:
    """Where the API is and how it is reached; `headers` hold the credential where it is not a certificate.

    `address_allow` are the networks that may be reached although they are loopback or the like; None judges nothing.
    """

    host: str
    port: int
    prefix: str
    tls: ssl.SSLContext
    server_name: str
    headers: dict[str, str] = field(default_factory=dict)
    is_verified: bool = True
    address_allow: list[str] | None = None


def read(path: str | None) -> Access:
    """The access that a file's current context gives; without a path, KUBECONFIG says which.

    Raises ReleaseError kubeconfig_invalid.
    """
    chosen = path or os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    if not chosen:
        raise _invalid("no kubeconfig was given: set release_kubeconfig_file, or KUBECONFIG")
    try:
        with open(chosen, encoding="utf-8") as source:
            text = source.read(_MOST_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(f"it cannot be read: {error}") from error
    if len(text) > _MOST_BYTES:
        raise _invalid(f"it is larger than {_MOST_BYTES} bytes")
    try:
        document = json.loads(text) if text.lstrip().startswith("{") else documents.plain(text, "it")
    except (ValueError, RecursionError, ReleaseError) as error:
        raise _invalid("it is neither JSON nor YAML") from error
    cluster, user = _current(document)
    return _access(cluster, user, Path(chosen))


def _current(document: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    if not isinstance(document, Mapping):
        raise _invalid("it is not a mapping")
    context = _named(document, "contexts", "context", document.get("current-context"))
    cluster = _named(document, "clusters", "cluster", context.get("cluster"))
    return cluster, _named(document, "users", "user", context.get("user"))


def _named(document: Mapping[str, Any], many: str, one: str, name: Any) -> Mapping[str, Any]:
    for entry in document.get(many) or []:
        if isinstance(entry, Mapping) and name is not None and entry.get("name") == name:
            found = entry.get(one)
            if isinstance(found, Mapping):
                return found
    raise _invalid(f"{one} {name!r} is not in its {many}")


def _access(cluster: Mapping[str, Any], user: Mapping[str, Any], path: Path) -> Access:
    if cluster.get("proxy-url"):
        raise _invalid("proxy-url is not supported")
    where = urlsplit(str(cluster.get("server") or ""))
    if where.scheme != "https" or not where.hostname:
        raise _invalid("its server is no https:// address")
    is_verified = cluster.get("insecure-skip-tls-verify") is not True
    try:
        tls = ssl.create_default_context(
            cadata=_inline(cluster, "certificate-authority", path) if is_verified else None
        )
    except ssl.SSLError as error:
        raise _invalid("its certificate authority is no certificate") from error
    if not is_verified:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    if user.get("exec") or user.get("auth-provider"):
        headers = _from_client(path)
    else:
        headers = _headers(user, path)
    certificate, key = (_inline(user, name, path) for name in ("client-certificate", "client-key"))
    if certificate and key:
        try:
            with _files(certificate, key) as (first, second):
                tls.load_cert_chain(first, second)
        except (ssl.SSLError, OSError) as error:
            raise _invalid("its client certificate and key do not fit together") from error
    try:
        port = where.port or 443
    except ValueError as error:
        raise _invalid("its server has no valid port") from error
    return Access(
        host=where.hostname, port=port, prefix=where.path.rstrip("/"), tls=tls,
        server_name=str(cluster.get("tls-server-name") or where.hostname), headers=headers, is_verified=is_verified,
        address_allow=_address_allow(cluster),
    )  # fmt: skip


def _address_allow(cluster: Mapping[str, Any]) -> list[str] | None:
    """What Tidegate wrote into a kubeconfig of its own for the run; a kubeconfig by hand goes where it says."""
    for one in cluster.get("extensions") or []:
        if isinstance(one, Mapping) and one.get("name") == "tidegate":
            found = (one.get("extension") or {}).get("address_allow")
            return [str(each) for each in found or []]
    return None


def _headers(user: Mapping[str, Any], path: Path) -> dict[str, str]:
    token = user.get("token")
    if not token and user.get("tokenFile"):
        try:
            token = (path.parent / str(user["tokenFile"])).read_text().strip()
        except OSError as error:
            raise _invalid("its token file cannot be read") from error
    if token:
        if not str(token).isprintable():
            raise _invalid("its token has characters that no token has")
        return {"Authorization": f"Bearer {token}"}
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password') or ''}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _from_client(path: Path) -> dict[str, str]:
    """The credential of an `exec` or `auth-provider` entry."""
    from kubernetes import client, config

    settings = client.Configuration()
    try:
        config.load_kube_config(str(path), client_configuration=settings)
    except (config.ConfigException, OSError) as error:
        raise _invalid(f"its credential cannot be had: {error}") from error
    if settings.cert_file:
        raise _invalid("a program that gives certificates is not supported")
    value = settings.get_api_key_with_prefix("authorization") or settings.get_api_key_with_prefix(
        "BearerToken"
    )
    return {"Authorization": value} if value else {}


def _inline(entry: Mapping[str, Any], name: str, path: Path) -> str | None:
    """The PEM text of `<name>-data`, or of the file that `<name>` names."""
    data = entry.get(f"{name}-data")
    try:
        if data:
            return base64.b64decode(str(data), validate=True).decode("ascii")
        if entry.get(name):
            return (path.parent / str(entry[name])).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError, binascii.Error, ValueError) as error:
        raise _invalid(f"its {name} cannot be read") from error
    return None


@contextmanager
def _files(*texts: str) -> Iterator[list[str]]:
    """Paths for what the TLS library only takes from files: in memory where there is such a thing."""
    opened = []
    try:
        for text in texts:
            if hasattr(os, "memfd_create"):
                number = os.memfd_create("tidegate")
                opened.append((number, f"/proc/self/fd/{number}"))
            else:
                opened.append(tempfile.mkstemp())
            os.write(opened[-1][0], text.encode())
        yield [path for _, path in opened]
    finally:
        for number, path in opened:
            os.close(number)
            if not path.startswith("/proc/"):
                os.unlink(path)


def _invalid(why: str) -> ReleaseError:
    return ReleaseError(
        "kubeconfig_invalid",
        f"the kubeconfig cannot be used: {why}",
        "Give a kubeconfig with one current context.",
    )
