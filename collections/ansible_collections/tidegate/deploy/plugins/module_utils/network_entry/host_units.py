# SPDX-License-Identifier: Apache-2.0
"""The systemd units and kernel settings of a network entry on one host, as text and data.

A real server holds the VIP on a device that answers no ARP, so that it takes what a director hands it and
claims nothing on the segment. The units keep all of it over a restart of the host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping

from .keepalived_config import BALANCER_UNIT
from .parameters import Entry

VRRP_UNIT = "tidegate-network-entry-vrrp.service"
ADDRESS_UNIT = "tidegate-network-entry-address.service"
TUNNEL = "tunl0"
# There once its module is loaded. Documentation/networking/ipvs-sysctl.rst of the kernel.
_IPVS_SETTINGS = "net/ipv4/vs/"
_IP, _SYSCTL, _MODPROBE = "/sbin/ip", "/sbin/sysctl", "/sbin/modprobe"


def quiet_device(entry: Entry) -> str:
    """The device that holds the VIP on a real server without answering ARP for it."""
    return TUNNEL if entry.lb_kind == "TUN" else "lo"


def needs_address(entry: Entry, host: str) -> bool:
    """Whether this host holds the VIP as a real server. Behind NAT it never sees the VIP."""
    return entry.balancer == "ipvs" and entry.is_backend(host) and entry.lb_kind != "NAT"


def sysctls(entry: Entry, host: str) -> Dict[str, str]:
    """What this host's kernel must be set to, by path below /proc/sys."""
    if entry.balancer != "ipvs":
        return {}
    found: Dict[str, str] = {}
    if needs_address(entry, host):
        found["net/ipv4/conf/all/arp_ignore"] = "1"
        found["net/ipv4/conf/all/arp_announce"] = "2"
        if entry.lb_kind == "TUN":
            # The higher of `all` and the device's own counts: what comes out of the tunnel came in elsewhere.
            found["net/ipv4/conf/all/rp_filter"] = "0"
            found[f"net/ipv4/conf/{TUNNEL}/rp_filter"] = "0"
    if entry.priority(host) is None:
        return found
    if entry.lb_kind == "NAT":
        found["net/ipv4/ip_forward"] = "1"
    else:
        # A director that hands packets on without seeing the answers knows a connection as ending and never as ended.
        # A client that takes the same port again would go where the old connection went, even to a dead back end.
        found[f"{_IPVS_SETTINGS}conn_reuse_mode"] = "3"
    found[f"{_IPVS_SETTINGS}expire_nodest_conn"] = "1"
    return found


def kernel_modules(entry: Entry, host: str) -> List[str]:
    """The kernel modules that this host needs."""
    if entry.balancer != "ipvs":
        return []
    found = ["ip_vs", f"ip_vs_{entry.lb_algo}"] if entry.priority(host) is not None else []
    return found + (["ipip"] if entry.lb_kind == "TUN" and needs_address(entry, host) else [])


@dataclass(frozen=True)
class Programs:
    """Paths on the host. `libraries` are folders for the loader, with colons between; `config` is the file."""

    keepalived: str
    ipvsadm: str
    libraries: str
    config: str


def units(entry: Entry, host: str, interface: str, programs: Programs) -> Dict[str, str]:
    """Unit name -> text."""
    found: Dict[str, str] = {}
    if needs_address(entry, host) or sysctls(entry, host):
        found[ADDRESS_UNIT] = _address_unit(entry, host)
    if entry.priority(host) is not None:
        found[VRRP_UNIT] = _vrrp_unit(entry, interface, programs)
        if entry.balancer == "ipvs":
            found[BALANCER_UNIT] = _balancer_unit(entry, host, programs)
    return found


def enabled(names: Mapping[str, str]) -> List[str]:
    """Of these units the ones that start with the host. Who balances is told by VRRP, never by a boot."""
    return [name for name in (ADDRESS_UNIT, VRRP_UNIT) if name in names]


def _address_unit(entry: Entry, host: str) -> str:
    device = quiet_device(entry)
    start, stop = [], []
    if entry.lb_kind == "TUN" and needs_address(entry, host):
        start += [f"{_MODPROBE} ipip", f"{_IP} link set {TUNNEL} up"]
    # Silent before it holds the address, or it would claim it on the segment.
    wanted = sysctls(entry, host)
    if any(key.startswith(_IPVS_SETTINGS) for key in wanted):
        # What a director needs more must not keep it from being a real server.
        start.append(f"-{_MODPROBE} -a {' '.join(kernel_modules(entry, host))}")
    for key, value in wanted.items():
        may_fail = "-" if key.startswith(_IPVS_SETTINGS) else ""
        start.append(f"{may_fail}{_SYSCTL} -q -w {key}={value}")
    if needs_address(entry, host):
        start.append(f"{_IP} address replace {entry.address}/32 dev {device}")
        stop.append(f"-{_IP} address del {entry.address}/32 dev {device}")
        if entry.lb_kind == "TUN":
            stop.append(f"-{_IP} link set {TUNNEL} down")
    return (
        "[Unit]\nDescription=Tidegate network entry: this host as a real server\n"
        "After=network.target\nBefore=" + VRRP_UNIT + "\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"
        + "".join(f"ExecStart={line}\n" for line in start)
        + "".join(f"ExecStop={line}\n" for line in stop)
        + "\n[Install]\nWantedBy=multi-user.target\n"
    )  # fmt: skip


def _vrrp_unit(entry: Entry, interface: str, programs: Programs) -> str:
    return (
        "[Unit]\nDescription=Tidegate network entry: VRRP\nAfter=network-online.target\n"
        "Wants=network-online.target\n\n[Service]\nType=simple\n"
        f"{_environment(programs)}"
        f"ExecStart={programs.keepalived} --dont-fork --log-console --vrrp --use-file={programs.config}"
        " --pid=/run/tidegate-network-entry-vrrp.pid --vrrp_pid=/run/tidegate-network-entry-vrrp-child.pid\n"
        "ExecReload=/bin/kill -HUP $MAINPID\nKillMode=mixed\nRestart=on-failure\nRestartSec=1\n"
        # A process that was killed leaves the address behind; a second holder must not be.
        f"ExecStopPost=-{_IP} address del {entry.vip} dev {interface}\n"
        "\n[Install]\nWantedBy=multi-user.target\n"
    )


def _balancer_unit(entry: Entry, host: str, programs: Programs) -> str:
    removals = [f"ExecStopPost=-{programs.ipvsadm} -D -t {entry.address}:{port}\n" for port in entry.ports]
    return (
        "[Unit]\nDescription=Tidegate network entry: balancing, on the active director only\n"
        f"BindsTo={VRRP_UNIT}\nAfter={VRRP_UNIT}\n\n[Service]\nType=simple\n"
        f"{_environment(programs)}"
        f"ExecStartPre=-{_MODPROBE} -a {' '.join(kernel_modules(entry, host))}\n"
        f"ExecStart={programs.keepalived} --dont-fork --log-console --check --use-file={programs.config}"
        " --pid=/run/tidegate-network-entry-balancer.pid"
        " --checkers_pid=/run/tidegate-network-entry-balancer-child.pid\n"
        f"{''.join(removals)}"
        "ExecReload=/bin/kill -HUP $MAINPID\nKillMode=mixed\nTimeoutStopSec=5\nRestart=on-failure\nRestartSec=1\n"
    )


def _environment(programs: Programs) -> str:
    return f"Environment=LD_LIBRARY_PATH={programs.libraries}\n" if programs.libraries else ""
