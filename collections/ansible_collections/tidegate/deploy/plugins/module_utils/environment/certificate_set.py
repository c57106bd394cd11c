# SPDX-License-Identifier: Apache-2.0
"""The certificates of a control plane that kubeadm made: which there are, where they lie, when each ends."""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import Any, Callable, Dict, List, Tuple

from ..host import certificate_file
from . import external_etcd, static_pods

KUBERNETES = "/etc/kubernetes"
DEFAULT_FOLDER = KUBERNETES + "/pki"
KUBELET = "/var/lib/kubelet/pki"
KUBELET_CONFIG = "/var/lib/kubelet/config.yaml"
# Name, as `kubeadm certs check-expiration` has it; path below the folder of certificates; the authority's name.
_FILES = (
    ("apiserver", "apiserver", "ca"),
    ("apiserver-kubelet-client", "apiserver-kubelet-client", "ca"),
    ("apiserver-etcd-client", "apiserver-etcd-client", "etcd-ca"),
    ("front-proxy-client", "front-proxy-client", "front-proxy-ca"),
    ("etcd-server", "etcd/server", "etcd-ca"),
    ("etcd-peer", "etcd/peer", "etcd-ca"),
    ("etcd-healthcheck-client", "etcd/healthcheck-client", "etcd-ca"),
)
_KUBECONFIGS = ("admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf")
_AUTHORITIES = (("ca", "ca"), ("etcd-ca", "etcd/ca"), ("front-proxy-ca", "front-proxy-ca"))
_ROTATES = re.compile(r"(?m)^rotateCertificates:\s*(true|false)\s*$")
_CLIENT_CA = re.compile(r"--client-ca-file=(\S+)")


def is_there() -> bool:
    """Whether this host is a control plane."""
    return os.path.isfile(static_pods.manifest("kube-apiserver")) or static_pods.is_away("kube-apiserver")


def folder() -> str:
    """Where the cluster's certificates lie."""
    found = _CLIENT_CA.search(static_pods.text("kube-apiserver"))
    return os.path.dirname(found[1].strip("\"'")) if found else DEFAULT_FOLDER


def read() -> List[Dict[str, Any]]:
    """Every certificate: `name`, `kind` (authority, certificate, kubelet, external), `path`, `authority`, `managed_by`
    (kubeadm, kubelet, external, nobody), and what `certificate_file.read` tells; `error` in its place where it cannot
    be read.

    Managed by `external` is one whose authority's key is not on this host: kubeadm cannot renew it. Of kind `external`
    is the credential for an etcd that is not the cluster's own. `nobody` renews a kubelet's client certificate where
    its configuration says so, and the serving one that it signed itself: it makes that where there is none.
    """
    base = folder()
    authorities = [
        _row(name, "authority", os.path.join(base, f"{path}.crt"), name, "kubeadm", certificate_file.read)
        for name, path in _AUTHORITIES
        if os.path.exists(os.path.join(base, f"{path}.crt"))
    ]
    signed = {
        name: "kubeadm" if os.path.exists(os.path.join(base, f"{path}.key")) else "external"
        for name, path in _AUTHORITIES
    }
    own = [
        _row(name, "certificate", path, authority, signed[authority], reader)
        for name, path, authority, reader in _renewable(base)
    ]
    return [*own, *authorities, *_of_etcd_elsewhere(), *_of_kubelet()]


def renewed_files() -> List[str]:
    """The files that a renewal writes, keys included."""
    found = []
    for _name, path, _authority, reader in _renewable(folder()):
        found.append(path)
        if reader is certificate_file.read:
            found.append(path[: -len(".crt")] + ".key")
    return [one for one in found if os.path.exists(one)]


def serials(rows: List[Dict[str, Any]], kind: str = "certificate") -> Dict[str, str]:
    """The serial numbers of what a renewal makes anew, or of another kind, by name."""
    return {one["name"]: one.get("serial", "") for one in rows if one["kind"] == kind}


def fingerprint(rows: List[Dict[str, Any]]) -> str:
    """What stands for a set: the kubelet changes its own by itself, so they are no part of it."""
    lasting = sorted(
        (one["name"], one["path"], one.get("serial", "")) for one in rows if one["kind"] != "kubelet"
    )
    return "sha256:" + hashlib.sha256(json.dumps(lasting).encode()).hexdigest()


def node_name(rows: List[Dict[str, Any]]) -> str:
    """What the cluster calls this host; empty where its kubelet's certificate does not say."""
    found = [re.search(r"CN=system:node:([^,]+)", one.get("subject", "")) for one in rows]
    return next((one[1] for one in found if one), "")


Reader = Callable[[str], Dict[str, Any]]


def _renewable(base: str) -> List[Tuple[str, str, str, Reader]]:
    found: List[Tuple[str, str, str, Reader]] = [
        (name, os.path.join(base, f"{path}.crt"), authority, certificate_file.read)
        for name, path, authority in _FILES
    ]
    found += [
        (name, os.path.join(KUBERNETES, name), "ca", certificate_file.read_kubeconfig)
        for name in _KUBECONFIGS
    ]
    return [one for one in found if os.path.exists(one[1])]


def _of_kubelet() -> List[Dict[str, Any]]:
    """The kubelet's own: those that the cluster signs it renews by itself, when 70 to 90 % of their time is over.

    See https://kubernetes.io/docs/tasks/tls/certificate-rotation/.
    """
    renews = "kubelet" if _kubelet_renews() else "nobody"
    own = (
        ("kubelet-client", "kubelet-client-current.pem", "ca", renews),
        ("kubelet-server", "kubelet-server-current.pem", "ca", "kubelet"),
        ("kubelet-server", "kubelet.crt", "", "nobody"),
    )
    found: Dict[str, Dict[str, Any]] = {}
    for name, file, authority, managed_by in own:
        path = os.path.join(KUBELET, file)
        if os.path.exists(path) and name not in found:
            found[name] = _row(name, "kubelet", path, authority, managed_by, certificate_file.read)
    return list(found.values())


def _kubelet_renews() -> bool:
    """Whether the kubelet renews its client certificate: what kubeadm lets it do, unless it was told otherwise."""
    try:
        with open(KUBELET_CONFIG, encoding="utf-8") as file:
            found = _ROTATES.search(file.read())
    except OSError:
        return False
    return found is not None and found[1] == "true"


def _of_etcd_elsewhere() -> List[Dict[str, Any]]:
    rows = (("external-etcd-client", external_etcd.CERTIFICATE), ("external-etcd-ca", external_etcd.CA))
    return [
        _row(name, "external", path, "external-etcd-ca", "external", certificate_file.read)
        for name, path in rows
        if os.path.exists(path)
    ]


def _row(name: str, kind: str, path: str, authority: str, managed_by: str, reader: Reader) -> Dict[str, Any]:
    row: Dict[str, Any] = {
        "name": name,
        "kind": kind,
        "path": path,
        "authority": authority,
        "managed_by": managed_by,
    }
    try:
        return {**row, **reader(path), "error": None}
    except (OSError, ValueError) as error:
        return {**row, "error": str(error)}
