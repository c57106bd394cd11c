# SPDX-License-Identifier: Apache-2.0
"""The inventory of one run: hosts, how each is reached, and which key each must show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from controlplane.domain.errors import Problem
from controlplane.ports.probe import SshAccess
from controlplane.ports.runner import RunHost

# Ansible evaluates what stands in an inventory, and ssh reads options: nothing else may come in.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_ROLE = re.compile(r"[a-z][a-z_]{0,31}")
_ADDRESS = re.compile(r"[A-Za-z0-9:][A-Za-z0-9:.%_-]{0,252}")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]{0,63}")
_HOST_KEY = re.compile(r"((?:ssh|ecdsa|sk)-[a-z0-9@.-]+) +(AAAA[A-Za-z0-9+/]*=*)(?:\s.*)?", re.DOTALL)


@dataclass
class RunInventory:
    """What is written for a run: `document` (the inventory), `files` by name (0600), `environment` (secret)."""

    document: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def build(hosts: Sequence[RunHost], group: str, folder: str) -> RunInventory:
    """Return the inventory for `hosts` in `group`; `folder` is where its files will be.

    Raises:
        Problem: `validation_error` for a name, address or user that Ansible or ssh could take for something
            else, `host_key_unconfirmed` for a host without a pinned key.
    """
    inventory = RunInventory({}, {"known_hosts": ""})
    variables: dict[str, dict[str, Any]] = {}
    for number, host in enumerate(hosts):
        if not _NAME.fullmatch(host.name) or host.name in variables:
            raise Problem("validation_error", f"{host.name!r} cannot be the name of a host")
        if host.role is not None and not _ROLE.fullmatch(host.role):
            raise Problem("validation_error", f"{host.role!r} cannot be the role of a host")
        variables[host.name] = _host(host, number, folder, inventory)
    groups: dict[str, Any] = {group: {"hosts": variables}}
    for host in hosts:
        if host.role is not None:
            groups.setdefault(host.role, {"hosts": {}})["hosts"][host.name] = {}
            variables[host.name]["tidegate_role"] = host.role
    inventory.document = {"all": {"children": groups}}
    return inventory


def _host(host: RunHost, number: int, folder: str, inventory: RunInventory) -> dict[str, Any]:
    access = host.access
    if access is None:
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        }
    _check(access)
    alias = f"{number}.{host.name.lower()}"
    inventory.files["known_hosts"] += known_host(alias, access)
    options = _options(folder, alias)
    variables: dict[str, Any] = {
        "ansible_host": access.address,
        "ansible_port": access.port,
        "ansible_user": access.user,
        "ansible_become": host.become,
        # Ansible's own name for it is made of address, port and user: behind two jump hosts these may be the same.
        "ansible_control_path": f"{folder}/cp/{number}",
    }
    if access.private_key:
        variables["ansible_ssh_private_key_file"] = _key_file(access, f"key_{number}", folder, inventory)
    else:
        # Without it ssh would try the keys that lie in the worker's home.
        options.append("PubkeyAuthentication=no")
    if access.password:
        variables["ansible_password"] = _secret(inventory, f"TIDEGATE_SSH_PASSWORD_{number}", access.password)
    if host.become_password:
        name = f"TIDEGATE_BECOME_PASSWORD_{number}"
        variables["ansible_become_password"] = _secret(inventory, name, host.become_password)
    if access.jump is not None:
        options.append(f"ProxyCommand={_proxy(access.jump, number, f'{alias}.jump', folder, inventory)}")
    variables["ansible_ssh_common_args"] = shlex.join(_arguments(options))
    return variables


def known_host(alias: str, access: SshAccess) -> str:
    """Return a host's line for known_hosts (sshd(8)). Under an alias the key is good for this host of the run only.

    Raises:
        Problem: `host_key_unconfirmed` without a key, `validation_error` for one that is none.
    """
    if not access.host_key:
        raise Problem("host_key_unconfirmed", f"the key of {access.address} was not confirmed")
    found = _HOST_KEY.fullmatch(access.host_key.strip())
    if found is None:
        raise Problem("validation_error", f"what is pinned for {access.address} is no public key")
    return f"{alias} {found[1]} {found[2]}\n"


def _proxy(jump: SshAccess, number: int, alias: str, folder: str, inventory: RunInventory) -> str:
    _check(jump)
    if jump.jump is not None:
        raise Problem("validation_error", "a jump host cannot be behind another one")
    if not jump.private_key:
        raise Problem("validation_error", f"the jump host {jump.address} needs a private key, not a password")
    inventory.files["known_hosts"] += known_host(alias, jump)
    key = _key_file(jump, f"jump_key_{number}", folder, inventory)
    options = _arguments([*_options(folder, alias), "BatchMode=yes"])
    # ssh itself replaces %h and %p, whose characters were checked; a % of ours has to be doubled.
    way = ["ssh", *options, "-i", key, "-p", str(jump.port), "-l", jump.user]
    return shlex.join(way) + " -W [%h]:%p " + shlex.quote(jump.address).replace("%", "%%")


def _options(folder: str, alias: str) -> list[str]:
    return [
        f"UserKnownHostsFile={folder}/known_hosts",
        "GlobalKnownHostsFile=/dev/null",
        f"HostKeyAlias={alias}",
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "ConnectTimeout=10",
    ]


def _arguments(options: Sequence[str]) -> list[str]:
    # What a person wrote into ~/.ssh/config on this machine is not part of the release.
    return ["-F", "/dev/null", *(part for option in options for part in ("-o", option))]


def _key_file(access: SshAccess, name: str, folder: str, inventory: RunInventory) -> str:
    text = access.private_key or ""
    inventory.files[name] = text if text.endswith("\n") else text + "\n"
    return f"{folder}/{name}"


def _secret(inventory: RunInventory, name: str, secret: str) -> str:
    inventory.environment[name] = secret
    return f"{{{{ lookup('ansible.builtin.env', '{name}') }}}}"


def _check(access: SshAccess) -> None:
    if not _ADDRESS.fullmatch(access.address) or not _USER.fullmatch(access.user):
        raise Problem("validation_error", f"{access.user!r} at {access.address!r} cannot be reached over SSH")
    if not 1 <= access.port <= 65535:
        raise Problem("validation_error", f"{access.port} is no port")
