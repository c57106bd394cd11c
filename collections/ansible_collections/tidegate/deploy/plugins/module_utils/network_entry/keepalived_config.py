# SPDX-License-Identifier: Apache-2.0
"""A director's keepalived.conf, from checked parameters.

One file for two processes: one runs VRRP and nothing else, on every director; the other balances and checks the
real servers, and runs on the active director only, started and stopped by VRRP's notifications. So a standby has
no virtual service which would send what it is handed round in circles.
"""

from __future__ import annotations

from typing import List

from .parameters import Entry, Node

BALANCER_UNIT = "tidegate-network-entry-balancer.service"
SYSTEMCTL = "/usr/bin/systemctl"


def render(entry: Entry, host: str, interface: str) -> str:
    """The whole file for this director. With `auth_pass` in it: what is shown is rendered from a veiled one."""
    own = next(one for one in entry.directors if one.host == host)
    parts = [_global(entry, host), _instance(entry, own, interface)]
    if entry.balancer == "ipvs":
        parts += [_virtual_server(entry, port) for port in entry.ports]
    return "\n".join(parts)


def _global(entry: Entry, host: str) -> str:
    return _block(
        "global_defs",
        [
            f"router_id {host}",
            f"vrrp_version {2 if entry.auth_pass else 3}",
            "enable_script_security",
            "script_user root",
        ],
    )


def _instance(entry: Entry, own: Node, interface: str) -> str:
    lines = [
        # All begin as standbys: who was restarted does not take the VIP before it heard the others.
        "state BACKUP",
        f"interface {interface}",
        f"virtual_router_id {entry.virtual_router_id}",
        f"priority {entry.priority(own.host)}",
        f"advert_int {entry.advert_interval:g}",
        "garp_master_refresh 30",
    ]
    if entry.nopreempt:
        lines.append("nopreempt")
    if not entry.is_multicast:
        lines.append(f"unicast_src_ip {own.address}")
        peers = [one.address for one in entry.directors if one.host != own.host]
        lines += _block("unicast_peer", peers).splitlines()
    if entry.auth_pass:
        lines += _block("authentication", ["auth_type PASS", f"auth_pass {entry.auth_pass}"]).splitlines()
    lines += _block("virtual_ipaddress", [f"{entry.vip} dev {interface}"]).splitlines()
    if entry.balancer == "ipvs":
        command = f"{SYSTEMCTL} --no-block"
        lines.append(f'notify_master "{command} start {BALANCER_UNIT}"')
        for event in ("backup", "fault", "stop"):
            lines.append(f'notify_{event} "{command} stop {BALANCER_UNIT}"')
    return _block("vrrp_instance network_entry", lines)


def _virtual_server(entry: Entry, port: int) -> str:
    lines = [
        f"delay_loop {entry.health_check.interval}",
        f"lvs_sched {entry.lb_algo}",
        f"lvs_method {entry.lb_kind}",
        "protocol TCP",
    ]
    for one in entry.backends:
        inner = [f"weight {one.weight}", *_check(entry, port)]
        lines += _block(f"real_server {one.address} {port}", inner).splitlines()
    return _block(f"virtual_server {entry.address} {port}", lines)


def _check(entry: Entry, port: int) -> List[str]:
    check = entry.health_check
    lines = [
        f"connect_port {port}",
        f"connect_timeout {check.timeout}",
        f"retry {check.retries}",
        "delay_before_retry 1",
    ]
    if check.kind == "https" and port == entry.health_check_port:
        lines = _block("url", [f"path {check.path}", "status_code 200"]).splitlines() + lines
        return _block("SSL_GET", lines).splitlines()
    return _block("TCP_CHECK", lines).splitlines()


def _block(head: str, lines: List[str]) -> str:
    return head + " {\n" + "".join(f"    {line}\n" for line in lines) + "}\n"
