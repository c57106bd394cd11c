# SPDX-License-Identifier: Apache-2.0
"""A network entry before hosts of the lab, made with the playbooks as an operator runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Generic, Protocol, TypeVar

from tests.lab import vip_programs

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.tidegate.deploy.plugins.module_utils.bundle.lock import lock  # noqa: E402
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import (  # noqa: E402
    outside as outside,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import (  # noqa: E402
    parameters,
)

PORT = 6443
SERVICE = """
[Unit]
Description=What the VIP stands before
[Service]
ExecStart=/usr/bin/python3 -m http.server 6443 --directory /srv
Restart=always
[Install]
WantedBy=multi-user.target
"""
# The counters of time itself.
MOVING = re.compile(
    r"(random\.uuid|random\.boot|inode|dentry|file-nr|pty\.nr|fs\.quota|ns_last_pid|netfilter\.nf_conntrack_count|entropy)"
)


def bundle(folder: Path) -> Path:
    """A whole bundle with keepalived and ipvsadm, out of Debian's packages."""
    (folder / "manifests").mkdir(parents=True)
    (folder / "bin").mkdir()
    programs = vip_programs.write(folder / "bin")
    artifacts = [
        {"id": name, "type": "archive", "path": f"bin/{path.name}", "mode": "0644"}
        for name, path in programs.items()
    ]
    version = {"version": "2.40", "status": "supported", "artifacts": list(programs)}
    index = {
        "apiVersion": "tidegate.bundle/v1",
        "kind": "BundleIndex",
        "version": "1",
        "platforms": [{"os": "linux", "arch": "amd64"}],
        "runtimes": {"compose": {"versions": [version]}},
        "artifacts": artifacts,
        "steps": [],
        "checks": [],
        "features": {"lvs_vip": {"artifacts": list(programs), "inputs": []}},
    }
    (folder / "manifests" / "index.yaml").write_text(json.dumps(index))
    assert lock(str(folder))[2] == []
    return folder


class Machine(Protocol):
    """A host of the lab, or a guest."""

    name: str

    @property
    def address(self) -> str: ...

    def exec(
        self, argv: Sequence[str], check: bool = ..., input: str | None = ...
    ) -> CompletedProcess[str]: ...

    def state(self) -> str: ...


class Keys(Protocol):
    """How the machines of a lab are reached."""

    @property
    def key_path(self) -> Path: ...

    @property
    def known_hosts(self) -> Path: ...


Host = TypeVar("Host", bound=Machine)


class Entries(Generic[Host]):
    """Runs the entry's playbooks against hosts, with a folder for specs and results."""

    def __init__(self, lab: Keys, folder: Path, bundle_dir: Path, *hosts: Host) -> None:
        self.folder, self.hosts, self._bundle = folder, hosts, bundle_dir
        network = hosts[0].address.rsplit(".", 1)[0]
        self.vip = f"{network}.240"
        options = (
            f"-o UserKnownHostsFile={lab.known_hosts} -o GlobalKnownHostsFile=/dev/null -o IdentitiesOnly=yes"
        )
        entries = {
            host.name: {
                "ansible_host": host.address,
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(lab.key_path),
                "ansible_ssh_common_args": options,
            }
            for host in hosts
        }
        self._inventory = folder / "inventory.json"
        self._inventory.write_text(json.dumps({"network_entry_hosts": {"hosts": entries}}))

    def spec(self, **lvs_vip: Any) -> dict[str, Any]:
        """What is asked for."""
        wanted = {
            "vip_address": f"{self.vip}/24",
            "virtual_router_id": 77,
            "auth_pass": "canary8x",
            "backend_nodes": [host.name for host in self.hosts],
            "balancer": "none",
            "listen_seconds": 1.5,
            "retry_policy": {"max_retries": 1, "backoff_seconds": 0},
            **lvs_vip,
        }
        return {
            "api": "tidegate.network_entry/v1",
            "entry_id": "nen_test",
            "bundle_dir": str(self._bundle),
            "nodes": [{"host": host.name, "address": host.address} for host in self.hosts],
            "lvs_vip": wanted,
            "result_dir": str(self.folder),
        }

    def run(self, verb: str, spec: dict[str, Any], *more: str) -> bool:
        """Whether the playbook of this verb ended well."""
        path = self.folder / f"{verb}.spec.json"
        path.write_text(json.dumps(spec))
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        environment["TIDEGATE_HMAC_KEY"] = "5a" * 32
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self._inventory)]
        argv += [
            str(ROOT / "playbooks" / f"network_entry_{verb}.yml"),
            "-e",
            f"network_entry_spec_file={path}",
            *more,
        ]
        with open(self.folder / "said.txt", "w") as said:
            done = subprocess.run(
                argv, env=environment, cwd=ROOT, stdout=said, stderr=said, timeout=300, check=False
            )
        return done.returncode == 0

    @property
    def said(self) -> str:
        """What the last playbook printed."""
        return (self.folder / "said.txt").read_text()

    def result(self, host: Machine, verb: str) -> dict[str, Any]:
        """What a module wrote of a host."""
        return dict(json.loads((self.folder / f"{host.name}.{verb}.json").read_text()))

    def blocking(self, spec: dict[str, Any], host: Machine, *more: str) -> list[tuple[str, str]]:
        """Key and reason of each blocking check of this host's preview."""
        assert self.run("preview", spec, *more), self.said
        found = self.result(host, "preview")["checks"]
        return [(one["code"], one["reason"]) for one in found if one["level"] == "blocking"]

    def previewed(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The spec bound to a preview that is made now."""
        assert self.run("preview", spec), self.said
        found = {host.name: self.result(host, "preview") for host in self.hosts}
        return {
            **spec,
            "expect": {
                "compare_fingerprint": True,
                "fingerprints": {name: one["fingerprint"] for name, one in found.items()},
                "fingerprint_parts": {name: one["fingerprint_parts"] for name, one in found.items()},
            },
        }

    def holders(self) -> list[str]:
        """Who has the VIP, as the engine sees it: also without network."""
        return [
            host.name
            for host in self.hosts
            if host.state() == "running" and f" {self.vip}/" in host.exec(["ip", "-4", "address"]).stdout
        ]


def floor_ms(spec: dict[str, Any], follower: str) -> float:
    """How long VRRP itself takes until this director follows a dead one, in milliseconds."""
    return parameters.parse(spec).floor_seconds(follower) * 1000


def likeness(host: Machine) -> dict[str, list[str]]:
    """All that an entry could leave behind on a host."""
    script = {
        "addresses": "ip -o address | sed 's/valid_lft.*//'",
        "settings": "sysctl -a 2>/dev/null",
        "units": "systemctl list-unit-files --no-legend --no-pager; ls /etc/systemd/system /etc/systemd/system/*.wants;"
        " systemctl list-units --all --no-legend --plain --no-pager 'tidegate*' 'run-*' | grep -v '[.]scope'",
        "rules": "nft list ruleset; ip rule; ip route show table all",
        "files": "find / -xdev -path /proc -prune -o -path /sys -prune -o -path /run -prune -o -path /tmp -prune -o"
        " -path /var/log -prune -o -path /root/.ansible -prune -o -name __pycache__ -prune "
        "-o -path /var/lib/systemd -prune -o -print | sort; ls /run",
    }
    found = {}
    for name, text in script.items():
        lines = host.exec(["sh", "-c", text], check=False).stdout.splitlines()
        found[name] = [line for line in lines if not MOVING.search(line)]
    return found
