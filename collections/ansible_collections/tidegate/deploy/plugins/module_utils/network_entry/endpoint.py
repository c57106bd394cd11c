# SPDX-License-Identifier: Apache-2.0
"""Where a node finds its control plane: the name that an install wrote into /etc/hosts leads to the VIP, or back.

A host whose hosts file has no such line of an install, as one of a cluster that was brought in, is left alone.
"""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ..environment.installed import Installed
from ..environment.journal import Journal
from ..release.errors import ReleaseError
from . import remembered
from .parameters import Entry, parse
from .recorded_step import Step

KUBELET = "/etc/kubernetes/kubelet.conf"
AUTHORITY = "/etc/kubernetes/pki/ca.crt"
STEP, STEP_BACK = "endpoint", "endpoint_back"
_SERVER = re.compile(r"^\s*server:\s*[\"']?https://\S+?:([0-9]{1,5})[\"']?\s*$", re.MULTILINE)
# An answer of a server that the cluster's authority vouches for; not everyone lets strangers ask it how it is.
_ANSWERS = ("200", "401", "403")
# What a host remembers of an operation, and what is nothing by itself.
_NOTHING = {"fencing_token", "operation"}


class Name(NamedTuple):
    """The control plane's name on this host: which step of the install wrote it, and where it leads."""

    step: str
    name: str
    address: str


def name() -> Optional[Name]:
    """The name that an install wrote here; None where none did."""
    for one in Journal().entries:
        if one["kind"] == "hosts_line":
            return Name(one["step"], one["name"], one["line"].split()[0])
    return None


def plan(entry: Entry) -> Optional[Dict[str, Any]]:
    """What an apply would do with the name here: {"name", "from", "to"}; None where it leaves it alone."""
    found = name()
    if found is None or api_port() not in entry.ports:
        return None
    return {"name": found.name, "from": found.address, "to": entry.address}


def leaves(entry: Entry, current: Mapping[str, Any]) -> Optional[str]:
    """The VIP that nodes are led to now and that an apply takes from them: it goes, or serves the API server no
    more. `current` is the generation in force here, empty where there is none."""
    vip = str(current.get("vip") or "").split("/")[0]
    if not vip or api_port() not in current["ports"]:
        return None
    return None if _stays(entry, vip) else vip


def _stays(entry: Entry, vip: str) -> bool:
    return vip == entry.address and api_port() in entry.ports


def api_port() -> Optional[int]:
    """The port that this node's kubelet asks its control plane at; None for a host that is no node yet."""
    found = _SERVER.search(remembered.text_of(KUBELET) or "")
    return int(found.group(1)) if found else None


def lead(payload: Mapping[str, Any], steps: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Let the name lead to the VIP (`mode` vip), to the VIP of the entry that a rollback went back to (`restored`),
    or to where it led before there was one (`direct`)."""
    entry = parse(payload["document"])
    if payload["mode"] == "direct":
        return {"changed": back(entry, payload, steps)}
    address, ports = _goal(entry, payload)
    found = name()
    if found is None or address is None or api_port() not in ports:
        return {"changed": False}
    if payload["check_mode"]:
        return {"changed": found.address != address}
    with remembered.held(payload["holder"], payload.get("fencing_token")), Step(steps, STEP) as step:
        step.detail = {"endpoint": found.name, "from": found.address, "to": address}
        await_answer(address, api_port() or 0, found.name, float(payload["timeout"]))
        if found.address != address:
            state = remembered.read()
            known = (state.get("endpoint") or {}).get("direct")
            state["endpoint"] = {"direct": known or found.address, "vip": address}
            _keep(state, payload)
            _move(found, address)
            step.changed = True
    return {"changed": step.changed}


def back(
    entry: Entry, payload: Mapping[str, Any], steps: List[Dict[str, Any]], *, stays: bool = False
) -> bool:
    """Let the name lead where it led before any entry; says whether that changed something. `stays`: not where the
    VIP that it leads to is the entry's own and goes on serving the API server.

    A node that joined while there was the VIP never knew another way: `direct` in the payload tells it.
    """
    state, found = remembered.read(), name()
    known = state.get("endpoint") or {}
    vip = known.get("vip") or entry.address
    if found is None or found.address != vip or (stays and _stays(entry, vip)):
        return False
    address = known.get("direct") or payload.get("direct")
    if not address or payload["check_mode"]:
        return bool(address)
    with remembered.held(payload["holder"], payload.get("fencing_token")), Step(steps, STEP_BACK) as step:
        step.detail = {"endpoint": found.name, "from": found.address, "to": address}
        _move(found, address)
        step.changed = True
        state.pop("endpoint", None)
        if set(state) - _NOTHING:
            _keep(state, payload)
        else:
            shutil.rmtree(remembered.folder(), ignore_errors=True)
    return True


def await_answer(address: str, port: int, server_name: str, seconds: float) -> None:
    """Wait until the cluster's API server answers at an address; raises ReleaseError vip_unreachable or
    certificate_invalid where it does not."""
    end = time.monotonic() + seconds
    while True:
        key, fault = _ask(address, port, server_name)
        if not fault:
            return
        if key == "certificate_invalid" or time.monotonic() > end:
            raise ReleaseError(
                key, f"{address}:{port} does not answer as {server_name}: {fault}",
                "The name stays where it led; see what answers at the VIP, then retry.",
            )  # fmt: skip
        time.sleep(0.5)


def _ask(address: str, port: int, server_name: str) -> Tuple[str, str]:
    """What is wrong with /readyz there, with its key; the fault is empty where nothing is."""
    context = ssl.create_default_context(cafile=AUTHORITY)
    try:
        with socket.create_connection((address, port), timeout=5) as raw:
            with context.wrap_socket(raw, server_hostname=server_name) as line:
                line.sendall(
                    f"GET /readyz HTTP/1.1\r\nHost: {server_name}\r\nConnection: close\r\n\r\n".encode()
                )
                words = line.recv(4096).split(b"\r\n")[0].decode("latin-1").split()
    except ssl.SSLCertVerificationError as error:
        return "certificate_invalid", error.verify_message
    except OSError as error:
        return "vip_unreachable", str(error) or type(error).__name__
    status = words[1] if len(words) > 1 else "nothing"
    return "vip_unreachable", "" if status in _ANSWERS else f"/readyz says {status}"


def _goal(entry: Entry, payload: Mapping[str, Any]) -> Tuple[Optional[str], Tuple[int, ...]]:
    if payload["mode"] == "vip":
        return entry.address, entry.ports
    # Hosts that have a part in the entry know what they went back to; the others are told.
    current = remembered.read().get("current")
    told = payload.get("restores") or {}
    vip = current["vip"] if current else told.get("vip")
    ports = current["ports"] if current else told.get("ports") or ()
    return (str(vip).split("/")[0] if vip else None), tuple(ports)


def _move(found: Name, address: str) -> None:
    # The install's own journal has the line, and takes it away with the rest one day.
    Installed(Journal(), found.step).hosts_line(address, found.name)


def _keep(state: Dict[str, Any], payload: Mapping[str, Any]) -> None:
    if payload.get("fencing_token") is not None:
        state["fencing_token"] = payload["fencing_token"]
    # Whose work the entry itself is stays as it was: the comparison with the preview goes by it.
    remembered.write(state)
