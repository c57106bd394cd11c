# SPDX-License-Identifier: Apache-2.0
"""What a host is like, as far as a network entry cares. Reads only."""

from __future__ import annotations

import glob
import ipaddress
import json
import os
import socket
import ssl
import time
from typing import Any, Dict, List, Mapping, Optional

from ..environment import static_pods
from . import cluster_networks, host_command, host_units, remembered, segment
from .parameters import Entry

_PARTIAL_CHAIN = 0x80000
_ADMIN = "/etc/kubernetes/admin.conf"
UNNAMED = "it does not name the VIP"
SET_ASIDE = "a run that was cut off has left its API server aside"
_NAME_MISMATCHES = (62, 64)
_TRIES, _PAUSE_SECONDS = 3, 1.0


def gather(entry: Entry, host: str) -> Dict[str, Any]:
    """All facts: JSON, judged in checks.py."""
    devices = interfaces()
    name = interface_for(entry, devices)
    facts: Dict[str, Any] = {
        "is_root": os.geteuid() == 0,
        "has_systemd": os.path.isdir("/run/systemd/system"),
        "interface": name,
        "interfaces": devices,
        "vip_devices": [one for one, addresses in devices.items() if entry.address in _plain(addresses)],
        "modules_missing": modules_missing(host_units.kernel_modules(entry, host)),
        "foreign_keepalived": foreign_keepalived(),
        "kube_proxy": kube_proxy(),
        "virtual_services": virtual_services(),
        "default_gateway": default_gateway(),
        "certificates": _certificates(entry, host),
        "kubeadm_made": is_kubeadm_made(),
        "cluster_networks": cluster_networks.read(),
    }
    if name in devices and entry.priority(host) is not None:
        others = [one.address for one in entry.nodes if one.host != host]
        try:
            facts |= segment.listen(name, [entry.address, *others], entry.listen_seconds)
        except OSError as error:
            facts["deaf"] = str(error)
    facts["clock"] = time.time()
    return facts


def interfaces() -> Dict[str, List[str]]:
    """Device -> its IPv4 addresses with their prefixes."""
    said = host_command.run(["ip", "-json", "-4", "address", "show"]).said
    listed = json.loads(said) if said.lstrip().startswith("[") else []
    found = {
        one["ifname"]: [f"{a['local']}/{a['prefixlen']}" for a in one["addr_info"] if "local" in a]
        for one in listed
        if one.get("ifname")
    }
    for name in os.listdir("/sys/class/net"):
        if os.path.isdir(f"/sys/class/net/{name}"):
            found.setdefault(name, [])
    return found


def interface_for(entry: Entry, devices: Mapping[str, List[str]]) -> Optional[str]:
    """The interface that was asked for, or the one with another address of the VIP's network."""
    if entry.interface:
        return entry.interface
    for name, addresses in sorted(devices.items()):
        if any(in_network(entry, one) and _plain([one]) != [entry.address] for one in addresses):
            return name
    return None


def in_network(entry: Entry, address: str) -> bool:
    """Whether an address with prefix lies in the VIP's network; one of /32 is of no network."""
    found = ipaddress.IPv4Interface(address)
    return found.network.prefixlen < 32 and found.ip in entry.network


def modules_missing(names: List[str]) -> List[str]:
    """Those of the kernel modules which are neither there nor can be loaded."""
    missing = []
    for name in names:
        if os.path.isdir(f"/sys/module/{name}") or (name == "ip_vs" and os.path.exists("/proc/net/ip_vs")):
            continue
        if host_command.run(["modprobe", "--dry-run", "--quiet", name]).exit_code != 0:
            missing.append(name)
    return missing


def foreign_keepalived() -> List[str]:
    """Signs of a keepalived here which is not the entry's own."""
    found = []
    for path in glob.glob("/proc/[0-9]*/exe"):
        try:
            program = os.readlink(path)
        except OSError:
            continue
        if os.path.basename(program).startswith("keepalived") and not program.startswith(
            remembered.PROGRAMS + "/"
        ):
            found.append(f"process {path.split('/')[2]} runs {program}")
    if host_command.run(["systemctl", "is-enabled", "--quiet", "keepalived.service"]).exit_code == 0:
        found.append("keepalived.service is enabled")
    return sorted(found)


def kube_proxy() -> Dict[str, Any]:
    """Whether kube-proxy balances with IPVS too, and whether it keeps ARP quiet."""
    values = [
        (remembered.text_of(f"/proc/sys/net/ipv4/conf/all/{name}") or "").strip()
        for name in ("arp_ignore", "arp_announce")
    ]
    return {"ipvs": os.path.isdir("/sys/class/net/kube-ipvs0"), "strict_arp": values == ["1", "2"]}


def virtual_services() -> List[Dict[str, Any]]:
    """The kernel's IPVS table: address, port and the real servers of each virtual service."""
    found: List[Dict[str, Any]] = []
    for line in (remembered.text_of("/proc/net/ip_vs") or "").splitlines()[3:]:
        words = line.split()
        if words[:1] == ["TCP"]:
            address, port = _endpoint(words[1])
            found.append({"address": address, "port": port, "real_servers": []})
        elif words[:1] == ["->"] and found and ":" in words[1] and not words[1].startswith("Remote"):
            address, port = _endpoint(words[1])
            found[-1]["real_servers"].append(
                {"address": address, "port": port, "weight": int(words[3]), "connections": int(words[4]),
                 "inactive": int(words[5])}
            )  # fmt: skip
    return found


def default_gateway() -> Optional[str]:
    """Where packets to elsewhere go."""
    said = host_command.run(["ip", "-json", "-4", "route", "show", "default"]).said
    routes = json.loads(said) if said.lstrip().startswith("[") else []
    return routes[0].get("gateway") if routes else None


def _certificates(entry: Entry, host: str) -> Dict[str, str]:
    own = next((one.address for one in entry.nodes if one.host == host), None)
    is_asked = entry.is_backend(host) or (entry.certificate_check == "renewed" and is_kubeadm_made())
    if entry.certificate_check == "skipped" or own is None or not is_asked:
        return {}
    if static_pods.is_away("kube-apiserver"):
        return {own: SET_ASIDE}
    return {own: certificate_fault(own, entry.health_check_port, entry.address)}


def is_kubeadm_made() -> bool:
    """Whether this is a control plane that kubeadm made: its API server's certificate can be made again."""
    return os.path.exists(_ADMIN) and bool(static_pods.text("kube-apiserver"))


def certificate_fault(address: str, port: int, wanted: str) -> str:
    """Empty when the server's certificate names `wanted`; otherwise what is wrong. One that is slow is asked again."""
    for attempt in range(1, _TRIES + 1):
        try:
            return _named(address, port, wanted)
        except OSError as error:
            fault = f"no TLS at {address}:{port}: {error}"
        if attempt < _TRIES:
            time.sleep(_PAUSE_SECONDS)
    return fault


def _named(address: str, port: int, wanted: str) -> str:
    """As `certificate_fault`, asked once. Raises OSError where the server shows no certificate."""
    pem = _shown(address, port)
    # Its own certificate is trusted here: whom it names is the question, not who vouches for it.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem)
    context.verify_flags |= _PARTIAL_CHAIN
    with socket.create_connection((address, port), timeout=5) as raw:
        try:
            with context.wrap_socket(raw, server_hostname=wanted):
                return ""
        except ssl.SSLCertVerificationError as error:
            return UNNAMED if error.verify_code in _NAME_MISMATCHES else error.verify_message
        except ssl.SSLError:
            # A server may ask for a client certificate after it has shown its own.
            return ""


def _shown(address: str, port: int) -> str:
    """The certificate that a server shows, whoever vouches for it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((address, port), timeout=5) as raw:
        with context.wrap_socket(raw) as line:
            return ssl.DER_cert_to_PEM_cert(line.getpeercert(binary_form=True) or b"")


def _plain(addresses: List[str]) -> List[str]:
    return [one.split("/")[0] for one in addresses]


def _endpoint(text: str) -> Any:
    address, port = text.split(":")
    return socket.inet_ntoa(bytes.fromhex(address)), int(port, 16)
