# SPDX-License-Identifier: Apache-2.0
"""Planted secrets are in no command line, no event and no file that is left."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from controlplane.ports.probe import SshAccess
from controlplane.ports.runner import RunHost
from tests.runner.conftest import Bench, until

PLANTED = {
    name: f"canary-{name}-5d41402abc4b" for name in ("document", "password", "become", "env", "key", "jump")
}


def _command_lines() -> str:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                found.append(Path(f"/proc/{name}/cmdline").read_bytes().decode("utf-8", "replace"))
            except OSError:
                continue
    return "\n".join(found)


def test_secrets_are_nowhere_to_be_found(bench: Bench) -> None:
    jump = SshAccess("127.0.0.2", 22, "root", private_key=PLANTED["jump"], host_key="ssh-ed25519 AAAA")
    access = SshAccess(
        "127.0.0.1", 22, "root", PLANTED["key"], PLANTED["password"], host_key="ssh-ed25519 AAAA", jump=jump
    )
    host = RunHost("here", access, become=False, become_password=PLANTED["become"])
    seen, written, over = [], [], threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.append(_command_lines())
            for path in bench.run_dir.rglob("*"):
                try:
                    assert path.is_symlink() or path.lstat().st_mode & 0o077 == 0 or "/tmp/" in str(path), (
                        path
                    )
                    if path.is_file() and "artifacts" in path.parts:
                        written.append(path.read_text("utf-8", "replace"))
                except OSError:
                    continue
            time.sleep(0.02)

    looking = threading.Thread(target=look)
    looking.start()
    outcome = bench.play(
        "- ansible.builtin.command: sleep 1\n"
        "- ansible.builtin.assert:\n    that:\n"
        f"      - lookup('ansible.builtin.env', 'A_SECRET') == '{PLANTED['env']}'\n"
        f"      - ansible_password == '{PLANTED['password']}'\n"
        f"      - ansible_become_password == '{PLANTED['become']}'\n",
        hosts=(host,),
        documents={"release_spec_file": {"variables": {"p": PLANTED["document"]}}},
        secret_env={"A_SECRET": PLANTED["env"]},
    )
    over.set()
    looking.join()
    assert outcome.status == "successful", outcome
    assert any("ansible-playbook" in line for line in seen) and written
    for secret in PLANTED.values():
        assert not any(secret in line for line in seen), "in a command line"
        assert not any(secret in text for text in written), "in an artifact of ansible-runner"
        assert secret not in repr([event for event in bench.events if "assert" not in str(event.action)])
    assert bench.left() == []


def test_the_worker_s_own_environment_stays_with_it(bench: Bench) -> None:
    os.environ["TIDEGATE_DATABASE_URL"] = "postgresql://u:canary@h/d"
    try:
        bench.runner.close()
        bench.runner._start()
        outcome = bench.play(
            "- ansible.builtin.assert: {that: \"lookup('env', 'TIDEGATE_DATABASE_URL') == ''\"}"
        )
    finally:
        del os.environ["TIDEGATE_DATABASE_URL"]
    assert outcome.status == "successful"
    until(lambda: bench.left() == [])
