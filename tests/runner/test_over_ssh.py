# SPDX-License-Identifier: Apache-2.0
"""Runs that reach real hosts: with a key, a password, a sudo password, through a jump host, never the wrong one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from controlplane.adapters.runner import processes
from controlplane.ports.probe import SshAccess
from controlplane.ports.runner import RunHost
from tests.lab import Lab, LabHost
from tests.runner.conftest import Bench

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]
WHO = "- ansible.builtin.command: id -un\n  register: who\n- ansible.builtin.debug: {var: who.stdout}"


@pytest.fixture(autouse=True)
def over_ssh(bench: Bench) -> None:
    """Let plays connect as the inventory says."""
    write = bench.play

    def play(tasks: str, **rest: Any) -> Any:
        body = "".join(f"    {line}\n" for line in tasks.splitlines())
        text = f"- hosts: release_hosts\n  gather_facts: false\n  tasks:\n{body}"
        (bench.home / "playbooks" / "ssh.yml").write_text(text)
        return bench.run("ssh.yml", **rest)

    assert write is not None
    bench.play = play  # type: ignore[method-assign]


def access(lab: Lab, host: LabHost, user: str = "root", **rest: Any) -> SshAccess:
    given = {"private_key": lab.key_path.read_text(), "host_key": host.host_public_key(), **rest}
    return SshAccess(host.address, host.port, user, **given)


def shown(bench: Bench) -> str:
    return "\n".join(event.stdout for event in bench.events)


def test_with_a_key_and_no_master_stays_behind(
    bench: Bench, lab: Lab, lab_host: Callable[..., LabHost]
) -> None:
    host = lab_host(docker=False)
    outcome = bench.play(WHO, hosts=(RunHost("Mixed.Case", access(lab, host)),))
    assert outcome.status == "successful", shown(bench)
    assert '"who.stdout": "root"' in shown(bench)
    assert processes.of_run(str(bench.run_dir)) == []


def test_with_a_password_for_login_and_for_sudo(
    bench: Bench, lab: Lab, lab_host: Callable[..., LabHost]
) -> None:
    host = lab_host(docker=False, sudo_password="lab only 'x' {{ 1 }}")
    host.run(["sh", "-c", "echo PasswordAuthentication yes > /etc/ssh/sshd_config.d/00-password.conf"])
    host.run(["systemctl", "reload", "ssh"])
    by_password = access(lab, host, "operator", private_key=None, password="lab only 'x' {{ 1 }}")
    run_host = RunHost("a", by_password, become=True, become_password="lab only 'x' {{ 1 }}")
    outcome = bench.play(WHO, hosts=(run_host,))
    assert outcome.status == "successful", shown(bench)
    assert '"who.stdout": "root"' in shown(bench)


def test_a_wrong_password_and_a_wrong_key_are_refused(
    bench: Bench, lab: Lab, lab_host: Callable[..., LabHost]
) -> None:
    host = lab_host(docker=False, sudo_password="right")
    wrong = access(lab, host, "operator", private_key=None, password="wrong")
    outcome = bench.play(WHO, hosts=(RunHost("a", wrong),))
    assert outcome.status == "failed"
    assert [event.host for event in bench.events if event.unreachable] == ["a"]
    assert "Permission denied" in shown(bench)


def test_another_host_key_than_the_pinned_one_is_no_connection(
    bench: Bench, lab: Lab, lab_host: Callable[..., LabHost]
) -> None:
    host = lab_host(docker=False)
    pinned = access(lab, host)
    host.change_host_key()
    outcome = bench.play(WHO, hosts=(RunHost("a", pinned),))
    assert outcome.status == "failed"
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in shown(bench) or "verification failed" in shown(bench)
    assert [event.host for event in bench.events if event.unreachable] == ["a"]


def test_through_a_jump_host_with_a_pinned_key_of_its_own(
    bench: Bench, lab: Lab, lab_host: Callable[..., LabHost]
) -> None:
    jump = lab.jump_host()
    host = lab_host(docker=False, behind=jump)
    over = access(lab, host, jump=access(lab, jump))
    assert bench.play(WHO, hosts=(RunHost("a", over),)).status == "successful", shown(bench)
    wrong = dataclasses.replace(over, jump=access(lab, jump, host_key=host.host_public_key()))
    assert bench.play(WHO, hosts=(RunHost("a", wrong),)).status == "failed"
    assert processes.of_run(str(bench.run_dir)) == []
