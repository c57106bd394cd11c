# SPDX-License-Identifier: Apache-2.0
"""The API server's certificate on one control plane, made again with the VIP among its names."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import ssl
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Set

from ..release.errors import ReleaseError
from . import host_command, host_facts, remembered
from .recorded_step import Step

ADMIN = "/etc/kubernetes/admin.conf"
MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
FILES = ("apiserver.crt", "apiserver.key")
_PATIENCE = 180.0


def read(payload: Mapping[str, Any], steps: List[Dict[str, Any]]) -> Dict[str, Any]:
    """What kubeadm keeps in the cluster of how it was made, and whether the server here names the VIP already."""
    done = host_command.run(
        ["kubectl", f"--kubeconfig={ADMIN}", "--namespace=kube-system", "get", "configmap", "kubeadm-config",
         "--output=jsonpath={.data.ClusterConfiguration}"]
    )  # fmt: skip
    if done.exit_code != 0 or not done.said.strip():
        raise ReleaseError(
            "preflight_failed",
            f"the cluster's kubeadm configuration cannot be read: {done.said.strip()}",
            "Run this against control planes that kubeadm made.",
        )
    fault = host_facts.certificate_fault(payload["address"], payload["port"], payload["vip"])
    return {"changed": False, "configuration": done.said, "names_vip": not fault}


def renew(payload: Mapping[str, Any], steps: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Make the certificate again, start the server by it, and wait until it is ready and shows it.

    The old certificate is kept until then, and put back where the new one does not do. `upload` writes the
    configuration into the cluster: said to the last control plane.
    """
    if payload["check_mode"]:
        return {"changed": not payload["names_vip"]}
    changed = False
    with remembered.held(payload["holder"], payload.get("fencing_token")), _configuration(payload) as path:
        with Step(steps, "certificate") as step:
            if not payload["names_vip"]:
                with _kept(payload["folder"]):
                    make(payload["folder"], path, payload["vip"])
                    restart()
                    await_ready(payload["address"], payload["port"], payload["vip"])
                step.changed = changed = True
        with Step(steps, "upload") as step:
            if payload["upload"]:
                _kubeadm(["init", "phase", "upload-config", "kubeadm", f"--config={path}"])
                step.changed = changed = True
    return {"changed": changed}


def make(folder: str, configuration: str, vip: str) -> None:
    """Let kubeadm make the certificate again; raises ReleaseError where it lacks a name that the old one had."""
    before = names(os.path.join(folder, FILES[0]))
    for name in FILES:
        # kubeadm makes nothing that is there.
        os.unlink(os.path.join(folder, name))
    _kubeadm(["init", "phase", "certs", "apiserver", f"--config={configuration}"])
    lost = (before | {vip}) - names(os.path.join(folder, FILES[0]))
    if lost:
        raise ReleaseError(
            "certificate_invalid",
            f"the new certificate would not name {', '.join(sorted(lost))}",
            "Add these to apiServer.certSANs of the cluster's kubeadm configuration first.",
        )


def names(path: str) -> Set[str]:
    """The host names and addresses that a certificate is good for."""
    # The standard library decodes certificates for connections; for files this is its only door.
    decoded = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
    return {str(value) for _kind, value in decoded.get("subjectAltName", ())}


def restart() -> None:
    """Start the static pod again: the kubelet ends it when its manifest goes, and starts it when it is back."""
    away = os.path.join(remembered.folder(), "kube-apiserver.yaml")
    os.makedirs(remembered.folder(), mode=0o700, exist_ok=True)
    shutil.move(MANIFEST, away)
    try:
        _until(lambda: not _is_running(), "the API server's pod did not end")
    finally:
        shutil.move(away, MANIFEST)


def await_ready(address: str, port: int, vip: str) -> None:
    """Wait until the server here says that it is ready and shows a certificate that names the VIP."""

    def is_ready() -> bool:
        return _readyz(address, port) and not host_facts.certificate_fault(address, port, vip)

    _until(is_ready, f"the API server at {address}:{port} did not become ready with its new certificate")


@contextlib.contextmanager
def _kept(folder: str) -> Iterator[None]:
    """Keep certificate and key beside, and put them back where what follows fails."""
    kept = os.path.join(remembered.folder(), "certificate")
    os.makedirs(kept, mode=0o700, exist_ok=True)
    for name in FILES:
        # Of a run that was cut off: what is kept is what was there before it.
        if not os.path.exists(os.path.join(kept, name)):
            shutil.copy2(os.path.join(folder, name), os.path.join(kept, name))
    try:
        yield
    except BaseException:
        for name in FILES:
            shutil.copy2(os.path.join(kept, name), os.path.join(folder, name))
        with contextlib.suppress(OSError, ReleaseError):
            restart()
        shutil.rmtree(kept, ignore_errors=True)
        raise
    shutil.rmtree(kept, ignore_errors=True)


@contextlib.contextmanager
def _configuration(payload: Mapping[str, Any]) -> Iterator[str]:
    path = os.path.join(remembered.folder(), "kubeadm.yaml")
    remembered.write_file(path, payload["configuration"], 0o600)
    try:
        yield path
    finally:
        os.unlink(path)


def _kubeadm(words: List[str]) -> None:
    done = host_command.run(["kubeadm", *words])
    if done.exit_code != 0:
        raise ReleaseError(
            "certificate_invalid",
            f"kubeadm {words[2]} failed: {done.said.strip()[-1000:]}",
            "See kubeadm's output.",
        )


def _is_running() -> bool:
    return host_command.run(["pgrep", "--exact", "kube-apiserver"]).exit_code == 0


def _readyz(address: str, port: int) -> bool:
    # Whether it is ready is asked, with no secret; whom its certificate names is asked beside.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(address, port, timeout=5, context=context)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _until(is_so: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + _PATIENCE
    while not is_so():
        if time.monotonic() > end:
            raise ReleaseError("vip_unreachable", otherwise, "See the kubelet's journal and the pod's log.")
        time.sleep(0.5)
