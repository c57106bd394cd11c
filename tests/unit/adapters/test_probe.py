# SPDX-License-Identifier: Apache-2.0
"""Against real OpenSSH servers on loopback, started here and ended here."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from controlplane.adapters.probe import SshProbe, fingerprint_of
from controlplane.domain.errors import Problem
from controlplane.ports.probe import SshAccess

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
pytestmark = pytest.mark.skipif(SSHD is None, reason="sshd is missing: apt-get install openssh-server")


@dataclass
class Server:
    access: SshAccess
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


def make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True)


def start(folder: Path) -> tuple[Server, subprocess.Popen[bytes]]:
    folder.mkdir()
    for name in ("host", "user"):
        make_key(folder / name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = (
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        "StrictModes no\nUsePAM no\nPidFile none\nLogLevel VERBOSE\nPermitRootLogin yes\n"
        "PasswordAuthentication yes\n"
    )
    (folder / "config").write_text(settings)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(folder / "config")], stderr=log)
    deadline = time.monotonic() + 10
    while "listening" not in (folder / "log").read_text():
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    key = (folder / "user").read_text()
    pinned = " ".join((folder / "host.pub").read_text().split()[:2])
    return Server(SshAccess("127.0.0.1", port, getpass.getuser(), key, None, pinned), folder), process


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    folder = tmp_path_factory.mktemp("sshd")
    one, first = start(folder / "one")
    two, second = start(folder / "two")
    yield one, two
    for process in (first, second):
        process.terminate()
        process.wait()


@pytest.fixture
def server(servers: tuple[Server, Server]) -> Server:
    return servers[0]


@pytest.fixture
def behind(servers: tuple[Server, Server]) -> SshAccess:
    return replace(servers[0].access, jump=servers[1].access)


def key_of(access: SshAccess, timeout: float = 10.0) -> str:
    with pytest.raises(Problem) as caught:
        SshProbe().check(access, timeout)
    return caught.value.error_key


def test_it_shows_the_key_that_the_host_has(server: Server) -> None:
    unknown = replace(server.access, host_key=None, private_key=None, user="nobody-at-all")
    key = SshProbe().host_key(unknown)
    assert key.line == server.access.host_key
    printed = subprocess.run(
        ["ssh-keygen", "-l", "-E", "sha256", "-f", str(server.folder / "host.pub")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert key.fingerprint == printed.split()[1] == fingerprint_of(key.line)


def test_a_right_key_logs_in(server: Server) -> None:
    SshProbe().check(server.access)
    assert "Accepted publickey" in server.log


def test_another_host_key_stops_before_any_login(servers: tuple[Server, Server]) -> None:
    one, two = servers
    known = two.log.count("Accepted publickey") + two.log.count("Failed") + two.log.count("publickey")
    assert key_of(replace(two.access, host_key=one.access.host_key)) == "ssh_host_key_mismatch"
    assert two.log.count("Accepted publickey") + two.log.count("Failed") + two.log.count("publickey") == known


def test_a_key_type_that_the_host_has_not_is_a_mismatch(server: Server, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(tmp_path / "rsa")], check=True)
    line = " ".join((tmp_path / "rsa.pub").read_text().split()[:2])
    assert key_of(replace(server.access, host_key=line)) == "ssh_host_key_mismatch"


def test_without_a_pinned_key_nothing_is_trusted(server: Server) -> None:
    assert key_of(replace(server.access, host_key=None)) == "host_key_unconfirmed"


def test_a_wrong_key_password_or_none_is_refused(servers: tuple[Server, Server]) -> None:
    one, two = servers
    assert key_of(replace(one.access, private_key=two.access.private_key)) == "ssh_auth_failed"
    assert key_of(replace(one.access, private_key=None, password="wrong")) == "ssh_auth_failed"
    assert key_of(replace(one.access, private_key=None)) == "ssh_auth_failed"
    assert key_of(replace(one.access, private_key="no key")) == "ssh_auth_failed"


def test_dead_and_silent_hosts_are_unreachable_in_time(server: Server) -> None:
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        closed.bind(("127.0.0.1", 0))
        for port in (silent.getsockname()[1], closed.getsockname()[1]):
            began = time.monotonic()
            assert key_of(replace(server.access, port=port), timeout=1) == "ssh_unreachable"
            assert time.monotonic() - began < 6
    assert key_of(replace(server.access, address="-oProxyCommand=true")) == "ssh_unreachable"


def test_a_host_behind_a_jump_host(behind: SshAccess, servers: tuple[Server, Server]) -> None:
    SshProbe().check(behind)
    assert SshProbe().host_key(replace(behind, host_key=None)).line == servers[0].access.host_key
    assert "direct-tcpip" in servers[1].log or "Accepted publickey" in servers[1].log


def test_what_is_wrong_with_the_jump_host_is_told(behind: SshAccess, servers: tuple[Server, Server]) -> None:
    jump = servers[1].access
    assert key_of(replace(behind, jump=replace(jump, host_key=behind.host_key))) == "ssh_host_key_mismatch"
    assert key_of(replace(behind, jump=replace(jump, private_key=behind.private_key))) == "ssh_auth_failed"
    assert key_of(replace(behind, jump=replace(jump, host_key=None))) == "host_key_unconfirmed"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert key_of(replace(behind, port=closed.getsockname()[1]), timeout=3) == "ssh_unreachable"


def test_no_file_is_left(
    server: Server, behind: SshAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    SshProbe().check(server.access)
    SshProbe().check(behind)
    assert list(tmp_path.iterdir()) == []
