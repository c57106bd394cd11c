# SPDX-License-Identifier: Apache-2.0
"""A control plane's static pods: restarted one by one, each waited for until it serves again.

The kubelet ends a static pod when its manifest goes, and starts it when that is back. What was moved away by a run
that was cut off is found in the same place and put back: see `put_back`.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
import time
from dataclasses import dataclass
from typing import Callable, List, Optional

from ..release.errors import ReleaseError

FOLDER = "/etc/kubernetes/manifests"
# Beside the manifests, so that moving one is a rename: the kubelet never sees half a file.
_AWAY = "/etc/kubernetes/tidegate-away"
# The order of a restart: each needs those before it.
NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
PATIENCE_SECONDS = 180.0
_PAUSE_SECONDS = 0.5
_PROC = "/proc"
_EVERY = ("0.0.0.0", "::")  # noqa: S104 (read, not bound to)


@dataclass(frozen=True)
class Place:
    """Where a pod says that it is well."""

    address: str
    port: int
    path: str
    is_tls: bool


def manifest(name: str) -> str:
    """The path of a pod's manifest."""
    return os.path.join(FOLDER, f"{name}.yaml")


def is_away(name: str) -> bool:
    """Whether a run that was cut off has left its manifest aside."""
    return os.path.isfile(_away(name))


def text(name: str) -> str:
    """A pod's manifest; empty where there is none."""
    for path in (manifest(name), _away(name)):
        try:
            with open(path, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            continue
    return ""


def present() -> List[str]:
    """The pods of this host, in the order of a restart: there is no etcd where it is external."""
    return [name for name in NAMES if text(name)]


def put_back() -> List[str]:
    """Put back what a run that was cut off has left aside; answers whose it was."""
    found = [name for name in NAMES if is_away(name)]
    for name in found:
        os.rename(_away(name), manifest(name))
    return found


def is_older(name: str, moment: float) -> bool:
    """Whether a pod runs that began before a moment, in seconds since the epoch; or none runs."""
    begun = [_begun(pid) for pid in _pids(name)]
    return not begun or min(begun) < moment


def restart(name: str) -> None:
    """End a pod and start it again. Raises ReleaseError timeout; the manifest is in its place then."""
    os.makedirs(os.path.dirname(_away(name)), mode=0o700, exist_ok=True)
    os.rename(manifest(name), _away(name))
    try:
        _until(lambda: not _pids(name), f"the pod of {name} did not end")
    finally:
        os.rename(_away(name), manifest(name))


def await_ready(name: str, is_also: Optional[Callable[[], bool]] = None) -> None:
    """Wait until a pod says that it is well, and something else holds too. Raises ReleaseError timeout."""
    where = place(name)
    _until(
        lambda: is_well(where) and (is_also is None or is_also()),
        f"{name} at {where.address}:{where.port} did not become well",
    )


def place(name: str) -> Place:
    """Where a pod is asked, from its manifest."""
    given = text(name)

    def of(flag: str, otherwise: str) -> str:
        found = re.search(rf"--{flag}=(\S+)", given)
        return found[1].strip("\"'") if found else otherwise

    if name == "etcd":
        url = of("listen-metrics-urls", "http://127.0.0.1:2381").split(",")[0]
        address, _, port = url.partition("://")[2].rstrip("/").rpartition(":")
        return Place(address.strip("[]"), int(port), "/health", url.startswith("https"))
    if name == "kube-apiserver":
        return Place(of("advertise-address", "127.0.0.1"), int(of("secure-port", "6443")), "/readyz", True)
    address = of("bind-address", "127.0.0.1")
    port = {"kube-controller-manager": "10257", "kube-scheduler": "10259"}[name]
    return Place(
        "127.0.0.1" if address in _EVERY else address, int(of("secure-port", port)), "/healthz", True
    )


def is_well(where: Place) -> bool:
    """Whether it answers that it is. Nothing secret is sent, so whose certificate it shows is not the question."""
    connection: http.client.HTTPConnection
    if where.is_tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(where.address, where.port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection(where.address, where.port, timeout=5)
    try:
        connection.request("GET", where.path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def shows(where: Place, certificate: str) -> bool:
    """Whether a server shows the first certificate of a file."""
    with open(certificate, encoding="ascii") as file:
        pem = file.read()
    end = "-----END CERTIFICATE-----"
    try:
        shown = ssl.get_server_certificate((where.address, where.port))
    except OSError:
        return False
    return ssl.PEM_cert_to_DER_cert(shown) == ssl.PEM_cert_to_DER_cert(pem[: pem.index(end) + len(end)])


def _away(name: str) -> str:
    return os.path.join(_AWAY, f"{name}.yaml")


def _pids(name: str) -> List[int]:
    found = []
    for word in os.listdir(_PROC):
        if not word.isdigit():
            continue
        try:
            with open(os.path.join(_PROC, word, "cmdline"), "rb") as file:
                program = file.read().split(b"\0", 1)[0]
        except OSError:
            continue
        if os.path.basename(program).decode(errors="replace") == name:
            found.append(int(word))
    return found


def _begun(pid: int) -> float:
    """When a process began, in seconds since the epoch; now for one that has just ended."""
    try:
        with open(os.path.join(_PROC, str(pid), "stat"), encoding="ascii", errors="replace") as file:
            # The name of the program may hold anything, so what comes after it is counted from its end.
            ticks = int(file.read().rpartition(")")[2].split()[19])
        with open(os.path.join(_PROC, "stat"), encoding="ascii") as file:
            booted = next(int(line.split()[1]) for line in file if line.startswith("btime "))
    except (OSError, StopIteration, IndexError):
        return time.time()
    return booted + ticks / os.sysconf("SC_CLK_TCK")


def _until(is_so: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > end:
            said = f"{otherwise} within {PATIENCE_SECONDS:g} s"
            raise ReleaseError(
                "timeout", said, "See `journalctl --unit kubelet` and the pod's log on the host."
            )
        time.sleep(_PAUSE_SECONDS)
