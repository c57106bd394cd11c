# SPDX-License-Identifier: Apache-2.0
"""Artifacts come from a server that cuts, forgets and lies, and only the right bytes end up in the bundle."""

from __future__ import annotations

import hashlib
import random
import re
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from controlplane.adapters.bundle.fetch import Fetcher
from controlplane.domain.errors import Problem
from tests.unit.bundle_folder import write

CONTENT = random.Random(1).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PATH = "bin/linux-amd64/big"


class Server(ThreadingHTTPServer):
    """Serves `content`; `cuts` are numbers of bytes after which an answer ends, one for each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag = CONTENT, '"one"'
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.ranges = True
        self.redirect: str | None = None
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range", "")
        server.asked.append(asked)
        if self.path == "/elsewhere" and server.redirect:
            self._head(302, {"Location": server.redirect, "Content-Length": "0"})
            return
        if server.statuses:
            self._head(server.statuses.pop(0), {"Content-Length": "0"})
            return
        start = 0
        match = re.fullmatch(r"bytes=(\d+)-", asked)
        if match and server.ranges and self.headers.get("If-Range", server.etag) == server.etag:
            start = int(match[1])
        body = server.content[start:]
        headers = {"Content-Length": str(len(body)), "ETag": server.etag}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
        self._head(206 if start else 200, headers)
        end = server.cuts.pop(0) if server.cuts else len(body)
        self.wfile.write(body[:end])
        if end < len(body):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write(tmp_path / "bundle")


@pytest.fixture
def fetch(bundle: Path, server: Server) -> Callable[..., dict[str, Any]]:
    def run(path: str = "/big", unlocked: bool = False, tries: int = 3, **more: Any) -> dict[str, Any]:
        artifact = {
            "id": "big",
            "type": "binary",
            "path": PATH,
            "sha256": SHA256,
            "size": len(CONTENT),
            "mode": "0755",
        }
        artifact = {**artifact, "source": {"url": server.url + path}, **more}
        artifact = {name: value for name, value in artifact.items() if value is not None}
        fetcher = Fetcher(bundle, unlocked=unlocked, patience=(0.01,) * tries)
        told: list[int] = []
        try:
            return {**fetcher.fetch(artifact, told.append), "told": sum(told)}
        finally:
            fetcher.close()

    return run


def refused(fetch: Callable[..., Any], **how: Any) -> str:
    with pytest.raises(Problem) as caught:
        fetch(**how)
    return caught.value.error_key


def test_a_file_comes_whole_with_its_mode(fetch: Any, bundle: Path) -> None:
    assert fetch() == {"id": "big", "bytes": len(CONTENT), "resumed_at": 0, "told": len(CONTENT)}
    assert (bundle / PATH).read_bytes() == CONTENT
    assert (bundle / PATH).stat().st_mode & 0o777 == 0o755
    assert not bundle.with_name("bundle.partial").exists()


def test_the_folder_that_one_is_in_is_filled(
    bundle: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundle)
    fetcher = Fetcher(Path("."))
    big = {"id": "big", "type": "binary", "path": PATH, "sha256": SHA256, "size": len(CONTENT)}
    fetcher.fetch({**big, "source": {"url": server.url + "/big"}}, lambda _count: None)
    fetcher.close()
    assert (bundle / PATH).read_bytes() == CONTENT
    assert not list(bundle.glob("*.partial"))


def test_a_cut_transfer_goes_on_where_it_stopped(fetch: Any, bundle: Path, server: Server) -> None:
    server.cuts = [1_000_000, 0, 1_500_000]
    assert fetch()["told"] == len(CONTENT)
    assert (bundle / PATH).read_bytes() == CONTENT
    assert server.asked[0] == ""
    assert server.asked[-1] == "bytes=2500000-"


def test_the_next_run_goes_on_where_this_one_gave_up(fetch: Any, bundle: Path, server: Server) -> None:
    server.cuts = [2_000_000, 0, 0, 0]
    assert refused(fetch, tries=2) == "artifact_missing"
    assert not (bundle / PATH).exists()
    server.cuts = []
    assert fetch()["resumed_at"] == 2_000_000
    assert (bundle / PATH).read_bytes() == CONTENT


def test_what_came_whole_before_it_was_cut_is_not_asked_for_again(
    fetch: Any, bundle: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as cut:
        cut.setattr("controlplane.adapters.bundle.fetch.os.replace", killed)
        with pytest.raises(Killed):
            fetch()
    assert fetch()["resumed_at"] == len(CONTENT)
    assert (bundle / PATH).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_server_that_changed_the_file_is_asked_for_all_of_it(
    fetch: Any, bundle: Path, server: Server
) -> None:
    server.content, server.etag, server.cuts = CONTENT[:-1] + b"?", '"old"', [1_000_000, 0, 0]
    assert refused(fetch, tries=1) == "artifact_missing"
    server.content, server.etag, server.cuts = CONTENT, '"new"', []
    assert fetch()["told"] == len(CONTENT)
    assert (bundle / PATH).read_bytes() == CONTENT


def test_a_server_without_ranges_and_one_that_is_busy_serve_in_the_end(fetch: Any, server: Server) -> None:
    server.ranges, server.cuts, server.statuses = False, [500_000], [503, 429]
    assert fetch()["told"] == len(CONTENT)


def test_another_content_is_refused_and_not_kept(fetch: Any, bundle: Path, server: Server) -> None:
    server.content = CONTENT[:-1] + b"?"
    assert refused(fetch) == "artifact_checksum_mismatch"
    server.content = CONTENT + b"more"
    assert refused(fetch) == "artifact_checksum_mismatch"
    assert not (bundle / PATH).exists()
    assert not bundle.with_name("bundle.partial").exists()


def test_what_the_server_has_not_is_missing(fetch: Any, server: Server) -> None:
    for status in (404, 403, 204):
        server.statuses = [status]
        assert refused(fetch) == "artifact_missing"


def test_redirects_are_followed_where_they_are_safe(fetch: Any, server: Server) -> None:
    server.redirect = "/big"
    assert fetch(path="/elsewhere")["bytes"] == len(CONTENT)
    for goal in ("file:///etc/passwd", "/elsewhere", "ftp://127.0.0.1/x"):
        server.redirect = goal
        assert refused(fetch, path="/elsewhere") == "artifact_missing"


def test_without_a_sum_nothing_is_fetched_unless_it_is_asked_for(
    fetch: Any, bundle: Path, server: Server
) -> None:
    without = {"sha256": None, "size": None}
    assert refused(fetch, **without) == "bundle_index_invalid"
    server.cuts = [1_000_000]
    assert fetch(unlocked=True, **without)["bytes"] == len(CONTENT)
    assert (bundle / PATH).read_bytes() == CONTENT


def test_a_link_in_the_bundle_leads_nowhere(fetch: Any, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (bundle / "bin" / "linux-amd64" / "tool").unlink()
    (bundle / "bin" / "linux-amd64").rmdir()
    (bundle / "bin" / "linux-amd64").symlink_to(tmp_path / "outside")
    assert refused(fetch) == "artifact_unlisted"
    assert list((tmp_path / "outside").iterdir()) == []
