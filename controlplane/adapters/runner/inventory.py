# SPDX-License-Identifier: Apache-2.0
"""The inventory of one run: hosts, how each is reached, and which key each must show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controlplane.domain.errors import Problem
from controlplane.ports.probe import SshAccess
from controlplane.ports.runner import RunHost

# Ansible evaluates what stands in an inventory, and ssh reads options: nothing else may come in.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_ADDRESS = re.compile(r"[A-Za-z0-9:][A-Za-z0-9:.%_-]{0,252}")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]{0,63}")


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
    inventory = RunInventory({})
    known: list[str] = []
    variables = {
        host.name: _host(host, number, folder, inventory, known) for number, host in enumerate(hosts)
    }
    inventory.document = {"all": {"children": {group: {"hosts": variables}}}}
    inventory.files["known_hosts"] = "".join(f"{line}\n" for line in dict.fromkeys(known))
    return inventory


def _host(
    host: RunHost, number: int, folder: str, inventory: RunInventory, known: list[str]
) -> Mapping[str, Any]:
    if not _NAME.fullmatch(host.name):
        raise Problem("validation_error", f"{host.name!r} cannot be the name of a host")
    access = host.access
    _check(access)
    known.append(known_host(access))
    variables: dict[str, Any] = {
        "ansible_host": access.address,
        "ansible_port": access.port,
        "ansible_user": access.user,
        "ansible_become": host.become,
        "ansible_ssh_common_args": _options(folder),
    }
    if access.private_key:
        variables["ansible_ssh_private_key_file"] = _key_file(access, f"key_{number}", folder, inventory)
    if access.password:
        variables["ansible_password"] = _from_environment(
            inventory, f"TIDEGATE_SSH_PASSWORD_{number}", access.password
        )
    if host.become_password:
        variables["ansible_become_password"] = _from_environment(
            inventory, f"TIDEGATE_BECOME_PASSWORD_{number}", host.become_password
        )
    if access.jump is not None:
        proxy = _proxy(access.jump, number, folder, inventory, known)
        variables["ansible_ssh_common_args"] += f" -o ProxyCommand={shlex.quote(proxy)}"
    return variables


def known_host(access: SshAccess) -> str:
    """Return the known_hosts line of a host (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    if not access.host_key:
        raise Problem("host_key_unconfirmed", f"the key of {access.address} was not confirmed")
    kind, key = access.host_key.split()[:2]
    name = access.address if access.port == 22 else f"[{access.address}]:{access.port}"
    return f"{name} {kind} {key}"


def _proxy(jump: SshAccess, number: int, folder: str, inventory: RunInventory, known: list[str]) -> str:
    _check(jump)
    if jump.jump is not None:
        raise Problem("validation_error", "a jump host cannot be behind another one")
    if not jump.private_key:
        raise Problem("validation_error", f"the jump host {jump.address} needs a private key, not a password")
    known.append(known_host(jump))
    key = _key_file(jump, f"jump_key_{number}", folder, inventory)
    command = ["ssh", "-F", "/dev/null", "-i", key, "-p", str(jump.port), "-l", jump.user]
    return f"{shlex.join(command)} {_options(folder)} -o BatchMode=yes -W %h:%p {shlex.quote(jump.address)}"


def _options(folder: str) -> str:
    options = (
        f"UserKnownHostsFile={folder}/known_hosts",
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
        "ConnectTimeout=10",
    )
    return " ".join(f"-o {shlex.quote(option)}" for option in options)


def _key_file(access: SshAccess, name: str, folder: str, inventory: RunInventory) -> str:
    text = access.private_key or ""
    inventory.files[name] = text if text.endswith("\n") else text + "\n"
    return f"{folder}/{name}"


def _from_environment(inventory: RunInventory, name: str, secret: str) -> str:
    inventory.environment[name] = secret
    return f"{{{{ lookup('ansible.builtin.env', '{name}') }}}}"


def _check(access: SshAccess) -> None:
    if not _ADDRESS.fullmatch(access.address) or not _USER.fullmatch(access.user):
        raise Problem("validation_error", f"{access.user!r} at {access.address!r} cannot be reached over SSH")
    if not 1 <= access.port <= 65535:
        raise Problem("validation_error", f"{access.port} is no port")
