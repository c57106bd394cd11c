# SPDX-License-Identifier: Apache-2.0
"""The API server's certificate on one control plane, made again with the VIP among its names."""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
from typing import Any, Dict, Iterator, List, Mapping, Set

from ..environment import static_pods
from ..release.errors import ReleaseError
from . import host_command, host_facts, remembered
from .recorded_step import Step

ADMIN = "/etc/kubernetes/admin.conf"
POD = "kube-apiserver"
FILES = ("apiserver.crt", "apiserver.key")


def read(payload: Mapping[str, Any], steps: List[Dict[str, Any]]) -> Dict[str, Any]:
    """What kubeadm keeps in the cluster of how it was made, and whether the server here names the VIP already.

    A pod that a run which was cut off has left aside is put back first: the cluster may not be there without it.
    """
    if not payload["check_mode"]:
        with remembered.held(payload["holder"], payload.get("fencing_token")):
            if static_pods.put_back():
                static_pods.await_ready(POD)
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
            if payload["names_vip"]:
                # Of a run that was cut off after it had come this far.
                shutil.rmtree(_kept_folder(), ignore_errors=True)
            else:
                with _kept(payload["folder"]) as before:
                    make(payload["folder"], path, payload["vip"], before)
                    static_pods.restart(POD)
                    await_ready(payload["address"], payload["port"], payload["vip"])
                step.changed = changed = True
        with Step(steps, "upload") as step:
            if payload["upload"]:
                _kubeadm(["init", "phase", "upload-config", "kubeadm", f"--config={path}"])
                step.changed = changed = True
    return {"changed": changed}


def make(folder: str, configuration: str, vip: str, before: Set[str]) -> None:
    """Let kubeadm make the certificate again; raises ReleaseError where it lacks a name that was there `before`."""
    for name in FILES:
        # kubeadm makes nothing that is there; a run that was cut off may have come this far.
        with contextlib.suppress(FileNotFoundError):
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


def await_ready(address: str, port: int, vip: str) -> None:
    """Wait until the server here says that it is ready and shows a certificate that names the VIP.

    Raises ReleaseError timeout.
    """
    static_pods.await_ready(POD, lambda: not host_facts.certificate_fault(address, port, vip))


@contextlib.contextmanager
def _kept(folder: str) -> Iterator[Set[str]]:
    """Keep certificate and key beside, and put them back where what follows fails; gives the names it is good for."""
    kept = _kept_folder()
    os.makedirs(kept, mode=0o700, exist_ok=True)
    for name in FILES:
        # Of a run that was cut off: what is kept is what was there before it.
        if not os.path.exists(os.path.join(kept, name)):
            making = os.path.join(kept, f"{name}.making")
            shutil.copy2(os.path.join(folder, name), making)
            os.rename(making, os.path.join(kept, name))
    try:
        yield names(os.path.join(kept, FILES[0]))
    except BaseException:
        for name in FILES:
            shutil.copy2(os.path.join(kept, name), os.path.join(folder, name))
        with contextlib.suppress(OSError, ReleaseError):
            static_pods.put_back()
            static_pods.restart(POD)
        shutil.rmtree(kept, ignore_errors=True)
        raise
    shutil.rmtree(kept, ignore_errors=True)


def _kept_folder() -> str:
    return os.path.join(remembered.folder(), "certificate")


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
