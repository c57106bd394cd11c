# SPDX-License-Identifier: Apache-2.0
"""The entry as a machine outside sees it: does it answer, and how long did it not."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from typing import Any, Dict, List, Mapping

from ..release.errors import ReleaseError
from . import host_facts
from .recorded_step import Step

_EVERY, _PATIENCE = 0.02, 0.15


def probe(payload: Mapping[str, Any], steps: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Ask the VIP: until it answers (`timeout` seconds), then `connections` times; or watch it for `watch` s."""
    address, port, check = payload["address"], payload["port"], payload["health_check"]
    if payload.get("once"):
        return ask_backends(payload, steps)
    if payload.get("watch"):
        return {"changed": False, "outage": watch(address, port, float(payload["watch"]))}
    with Step(steps, "outside") as step:
        end = time.monotonic() + float(payload["timeout"])
        fault = "it was not asked"
        while fault and time.monotonic() < end:
            fault = ask(address, port, check, 0.5)
            if fault:
                time.sleep(0.1)
        failures = [ask(address, port, check, 3.0) for _ in range(0 if fault else payload["connections"])]
        lost = [one for one in failures if one]
        step.detail = {"connections": len(failures), "lost": len(lost)}
        if fault or lost:
            raise ReleaseError(
                "vip_unreachable",
                f"{address}:{port} does not answer from outside: {fault or lost[0]}",
                "See that nothing filters between this machine and the directors, and that the back ends serve.",
            )
        if payload.get("certificates"):
            require_certificates(address, port, payload["backends"])
    return ask_backends(payload, steps)


def require_certificates(vip: str, port: int, backends: List[str]) -> None:
    """Let pass what every back end shows, and the VIP; raises ReleaseError certificate_invalid for one without its
    name."""
    for address in (vip, *backends):
        fault = host_facts.certificate_fault(address, port, vip)
        if fault:
            raise ReleaseError(
                "certificate_invalid",
                f"the certificate at {address}:{port}: {fault}",
                f"Renew it with {vip} among its names; certificate_check renewed lets the apply do it.",
            )


def ask_backends(payload: Mapping[str, Any], steps: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Ask the VIP once, and each back end at its own address; answers what is wrong with each."""
    port, check = payload["port"], payload["health_check"]
    return {
        "changed": False,
        "vip_fault": ask(payload["address"], port, check, 3.0),
        "backend_faults": {one: ask(one, port, check, 3.0) for one in payload["backends"]},
    }


def ask(address: str, port: int, check: Mapping[str, Any], timeout: float) -> str:
    """Empty when the service behind the VIP answers; otherwise what went wrong."""
    try:
        if check["kind"] == "tcp":
            socket.create_connection((address, port), timeout=timeout).close()
            return ""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Whether it is alive is asked, with no secret; whom its certificate names is another check's matter.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(address, port, timeout=timeout, context=context)
        try:
            connection.request("GET", check["path"])
            status = connection.getresponse().status
        finally:
            connection.close()
        return "" if status == 200 else f"{check['path']} says {status}"
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__


def watch(address: str, port: int, seconds: float) -> Dict[str, Any]:
    """Connect again and again for so long; the longest time in which no connection was made, in milliseconds."""
    begun = last = time.monotonic()
    longest, asked, lost, ended_at = 0.0, 0, 0, 0.0
    while time.monotonic() - begun < seconds:
        asked += 1
        started = time.monotonic()
        try:
            socket.create_connection((address, port), timeout=_PATIENCE).close()
        except OSError:
            lost += 1
        else:
            if started - last > longest:
                longest, ended_at = started - last, started - begun
            last = started
        time.sleep(max(0.0, _EVERY - (time.monotonic() - started)))
    if time.monotonic() - last > max(longest, _PATIENCE * 2):
        longest, ended_at = time.monotonic() - last, -1.0
    quiet = int(longest * 1000) if lost else 0
    return {"outage_ms": quiet, "asked": asked, "lost": lost, "answers_again": ended_at >= 0}
