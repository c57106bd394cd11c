# SPDX-License-Identifier: Apache-2.0
"""The probe against servers that mean harm: what they do no API server does, so they are made here, with real TLS."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.adapters.cluster_line import MOST_BYTES
from controlplane.adapters.cluster_probe import HttpsClusterProbe
from controlplane.domain.cluster import Address, Connection
from controlplane.domain.errors import Problem
from tests.lab.kube_certificates import Authority

AUTHORITY = Authority()
LOOPBACK = ("127.0.0.0/8",)
CANARY = "canary-51d7-inner"
TOKEN = "canary-90ab-token"
Answer = Callable[[ssl.SSLSocket], None]


class Server:
    """A TLS server on loopback that answers each request in its own way."""

    def __init__(self, folder: Path, answer: Answer, names: tuple[str, ...] = ("127.0.0.1",)) -> None:
        pair = AUTHORITY.issue("server", addresses=names)
        file = folder / f"server-{id(self)}.pem"
        file.write_text(pair.certificate + pair.key)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(file)
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.visits = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.visits += 1
            threading.Thread(target=self._talk, args=(plain,), daemon=True).start()

    def _talk(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True) as line:
                while request := line.recv(65536):
                    self.requests.append(request)
                    self._answer(line)
        except OSError:
            pass

    def close(self) -> None:
        self._listener.close()


@contextmanager
def serving(folder: Path, answer: Answer, *names: str) -> Iterator[Server]:
    server = Server(folder, answer, names or ("127.0.0.1",))
    try:
        yield server
    finally:
        server.close()


def send(status: str, body: bytes = b"", *headers: str) -> Answer:
    """Return what answers with this."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]).encode()
    return lambda line: line.sendall(head + body)


def connection(server: Server, host: str = "127.0.0.1") -> Connection:
    return Connection(f"https://{host}:{server.port}", AUTHORITY.pair.certificate, token=TOKEN)


def refused(probe: HttpsClusterProbe, to: Connection, timeout: float = 10) -> Problem:
    with pytest.raises(Problem) as raised:
        probe.reach(to, timeout)
    assert TOKEN not in str(raised.value.document())
    assert CANARY not in str(raised.value.document())
    return raised.value


def test_a_redirect_is_not_followed_and_not_told(tmp_path: Path) -> None:
    with serving(tmp_path, send("200 OK", b"{}")) as inner:
        place = f"Location: https://127.0.0.1:{inner.port}/{CANARY}"
        for status in ("301 Moved", "302 Found", "307 Temporary", "308 Permanent"):
            with serving(tmp_path, send(status, b"", place)) as server:
                problem = refused(HttpsClusterProbe(LOOPBACK), connection(server))
                assert (problem.error_key, "status 30" in problem.detail) == ("cluster_unreachable", True)
        assert inner.visits == 0


@pytest.mark.parametrize(
    "body",
    [b"", CANARY.encode(), b"[]", b"{}", b'{"gitVersion": 7}', b'{"gitVersion": "' + CANARY.encode() * 9 + b'"}',
     b'{"gitVersion": "v1\\n' + CANARY.encode() + b'"}', b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_api_server_is_told_without_its_words(tmp_path: Path, body: bytes) -> None:
    with serving(tmp_path, send("200 OK", body)) as server:
        problem = refused(HttpsClusterProbe(LOOPBACK), connection(server))
    assert problem.error_key == "cluster_unreachable"


@pytest.mark.parametrize(
    "status", ["200 OK", "401 Unauthorized", "403 Forbidden", "404 Not Found", "500 Error"]
)
def test_no_status_makes_it_repeat_what_the_other_side_wrote(tmp_path: Path, status: str) -> None:
    with serving(tmp_path, send(status, json.dumps({"message": CANARY}).encode())) as server:
        problem = refused(HttpsClusterProbe(LOOPBACK), connection(server))
    known = status[:3] in ("401", "403")
    assert problem.error_key == ("cluster_permission_insufficient" if known else "cluster_unreachable")


def test_an_answer_has_a_size(tmp_path: Path) -> None:
    def flood(line: ssl.SSLSocket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        sent = 0
        while sent < 4 * MOST_BYTES:
            sent += line.send(b"x" * 65536)

    with serving(tmp_path, flood) as server:
        problem = refused(HttpsClusterProbe(LOOPBACK), connection(server), 30)
    assert f"more than {MOST_BYTES} bytes" in problem.detail


def _drip_body(line: ssl.SSLSocket) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    _drip(line)


def _drip_headers(line: ssl.SSLSocket) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    _drip(line)


def _drip(line: ssl.SSLSocket) -> None:
    for _ in range(100):
        line.sendall(b"1")
        time.sleep(0.1)


@pytest.mark.parametrize("answer", [_drip_body, _drip_headers, lambda line: time.sleep(10)])
def test_a_byte_now_and_then_does_not_hold_it_up(tmp_path: Path, answer: Answer) -> None:
    with serving(tmp_path, answer) as server:
        begun = time.monotonic()
        problem = refused(HttpsClusterProbe(LOOPBACK), connection(server), 1.0)
    assert 0.9 < time.monotonic() - begun < 3
    assert (problem.error_key, "in time" in problem.detail) == ("cluster_unreachable", True)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_what_speaks_no_tls_is_unreachable(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            plain, _ = listener.accept()
            with plain:
                plain.sendall(answer)
                plain.recv(65536)

        threading.Thread(target=talk, daemon=True).start()
        to = Connection(f"https://127.0.0.1:{listener.getsockname()[1]}", token=TOKEN)
        assert refused(HttpsClusterProbe(LOOPBACK), to, 5).error_key == "cluster_unreachable"


def test_a_name_is_resolved_once_and_what_was_judged_is_connected_to(tmp_path: Path) -> None:
    """A name that leads elsewhere the second time (DNS rebinding) is asked for only once."""
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[Address]:
        asked.append(host)
        return [ipaddress.ip_address("127.0.0.1" if len(asked) == 1 else "127.0.0.2")]

    with serving(tmp_path, send("401 Unauthorized"), "cluster.example") as server:
        probe = HttpsClusterProbe(["127.0.0.1/32"], resolve)
        problem = refused(probe, connection(server, "cluster.example"))
        # It came as far as to be told that it is not known: the certificate was held against the name.
        assert problem.error_key == "cluster_permission_insufficient"
        assert (asked, server.visits) == (["cluster.example"], 1)
        assert b"Host: cluster.example" in server.requests[0]
        assert refused(probe, connection(server, "cluster.example")).error_key == "endpoint_invalid"
        assert server.visits == 1


def test_one_forbidden_address_among_good_ones_is_enough(tmp_path: Path) -> None:
    def resolve(host: str, port: int) -> list[Address]:
        return [ipaddress.ip_address(text) for text in ("127.0.0.1", "169.254.169.254")]

    with serving(tmp_path, send("200 OK"), "cluster.example") as server:
        problem = refused(HttpsClusterProbe(LOOPBACK, resolve), connection(server, "cluster.example"))
        assert (problem.error_key, server.visits) == ("endpoint_invalid", 0)
        assert "metadata" in problem.detail


def test_what_stands_before_the_path_is_kept(tmp_path: Path) -> None:
    with serving(tmp_path, send("401 Unauthorized")) as server:
        to = connection(server)
        behind = replace(to, endpoint=f"{to.endpoint}/k8s/clusters/c-1/")
        refused(HttpsClusterProbe(LOOPBACK), behind)
        assert server.requests[0].startswith(b"GET /k8s/clusters/c-1/version HTTP/1.1")
        assert f"Authorization: Bearer {TOKEN}".encode() in server.requests[0]


def test_nothing_is_sent_to_a_server_that_is_not_the_one_meant(tmp_path: Path) -> None:
    with serving(tmp_path, send("200 OK"), "another.example") as server:
        problem = refused(HttpsClusterProbe(LOOPBACK), connection(server))
        assert (problem.error_key, server.requests) == ("certificate_invalid", [])
        stranger = Connection(f"https://127.0.0.1:{server.port}", Authority().pair.certificate, token=TOKEN)
        assert refused(HttpsClusterProbe(LOOPBACK), stranger).error_key == "certificate_invalid"
        assert server.requests == []


def test_no_proxy_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0.2)
        for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with serving(tmp_path, send("401 Unauthorized")) as server:
            refused(HttpsClusterProbe(LOOPBACK), connection(server))
            assert server.visits == 1
        with pytest.raises(TimeoutError):
            proxy.accept()


def test_the_key_is_in_no_file_and_nothing_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    pair = AUTHORITY.issue("someone")
    with serving(tmp_path, send("401 Unauthorized")) as server:
        to = Connection(
            f"https://127.0.0.1:{server.port}",
            AUTHORITY.pair.certificate,
            certificate=pair.certificate,
            key=pair.key,
        )
        probe = HttpsClusterProbe(LOOPBACK)
        refused(probe, to)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            refused(probe, to)
        assert not [name for name in _descriptors() if "memfd" in name]
        assert len(os.listdir("/proc/self/fd")) <= before + 2


def _descriptors() -> list[str]:
    """What this process has open. What was closed between the list and the look is not there any more."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found
