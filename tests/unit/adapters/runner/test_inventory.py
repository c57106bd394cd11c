# SPDX-License-Identifier: Apache-2.0
"""How hosts are written for Ansible and ssh."""

from __future__ import annotations

import json
import shlex

import pytest

from controlplane.adapters.runner.inventory import build
from controlplane.domain.errors import Problem
from controlplane.ports.probe import SshAccess
from controlplane.ports.runner import RunHost

KEY = "ssh-ed25519 AAAAC3Nza comment {{ x }}"
JUMP = SshAccess("10.0.0.1", 2222, "hop", private_key="J", host_key="ssh-ed25519 AAAAjump")


def access(address: str = "10.0.0.5", **rest: object) -> SshAccess:
    return SshAccess(address, 22, "root", host_key=rest.pop("host_key", KEY), **rest)  # type: ignore[arg-type]


def options(document: dict, name: str) -> list[str]:
    variables = document["all"]["children"]["g"]["hosts"][name]
    return shlex.split(variables["ansible_ssh_common_args"])


def test_two_hosts_of_one_address_behind_two_jump_hosts_share_neither_key_nor_connection() -> None:
    one, two = (RunHost(name, access(private_key="K", jump=JUMP)) for name in ("One", "two"))
    built = build([one, two], "g", "/r")
    assert "HostKeyAlias=0.one" in options(built.document, "One")
    assert "HostKeyAlias=1.two" in options(built.document, "two")
    assert [line.split()[0] for line in built.files["known_hosts"].splitlines()] == [
        "0.one", "0.one.jump", "1.two", "1.two.jump",
    ]  # fmt: skip
    hosts = built.document["all"]["children"]["g"]["hosts"].values()
    assert len({host["ansible_control_path"] for host in hosts}) == 2


def test_the_jump_is_strict_too_and_asks_nobody() -> None:
    built = build([RunHost("a", access("fe80::1%eth0", private_key="K", jump=JUMP))], "g", "/r")
    (proxy,) = [each for each in options(built.document, "a") if each.startswith("ProxyCommand=")]
    words = shlex.split(proxy.removeprefix("ProxyCommand="))
    assert {"StrictHostKeyChecking=yes", "HostKeyAlias=0.a.jump", "BatchMode=yes"} <= set(words)
    assert words[-3:] == ["-W", "[%h]:%p", "10.0.0.1"] and "/r/jump_key_0" in words


def test_secrets_are_in_files_and_environment_only() -> None:
    host = RunHost("a", access(private_key="PRIVATE", password="p1"), become=True, become_password="p2")
    built = build([host], "g", "/r")
    assert built.environment == {"TIDEGATE_SSH_PASSWORD_0": "p1", "TIDEGATE_BECOME_PASSWORD_0": "p2"}
    assert built.files["key_0"] == "PRIVATE\n"
    assert not {"PRIVATE", "p1", "p2"} & set(json.dumps(built.document).replace('"', " ").split())


def test_a_comment_of_a_key_goes_nowhere() -> None:
    assert build([RunHost("a", access())], "g", "/r").files["known_hosts"] == "0.a ssh-ed25519 AAAAC3Nza\n"


@pytest.mark.parametrize(
    "key", ["no key", "ssh-ed25519", "ssh-ed25519 AAAA\nevil ssh-ed25519 BBBB", "@cert-authority * ssh-rsa A"]
)
def test_what_is_no_key_is_not_pinned(key: str) -> None:
    if "\n" in key:
        assert build([RunHost("a", access(host_key=key))], "g", "/r").files["known_hosts"].count("\n") == 1
        return
    with pytest.raises(Problem, match="validation_error"):
        build([RunHost("a", access(host_key=key))], "g", "/r")


def test_a_host_without_a_pinned_key_is_not_reached() -> None:
    with pytest.raises(Problem, match="host_key_unconfirmed"):
        build([RunHost("a", access(host_key=None))], "g", "/r")


def test_a_jump_needs_a_key_and_is_the_only_one() -> None:
    for jump in (access("j", password="p"), access("j", private_key="k", jump=JUMP)):
        with pytest.raises(Problem, match="validation_error"):
            build([RunHost("a", access(private_key="K", jump=jump))], "g", "/r")


def test_two_hosts_of_one_name_are_refused() -> None:
    with pytest.raises(Problem, match="validation_error"):
        build([RunHost("a", access()), RunHost("a", access())], "g", "/r")


def test_a_cluster_is_worked_on_from_here() -> None:
    built = build([RunHost("lab", None)], "release_clusters", "/r")
    assert built.document["all"]["children"]["release_clusters"]["hosts"]["lab"] == {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    assert built.environment == {}
