# SPDX-License-Identifier: Apache-2.0
"""An etcd elsewhere is asked before a cluster begins in it, and is empty again when that cluster is taken back."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import external_etcd
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

from tests.lab.kube_certificates import Authority


class Etcd:
    """The JSON gateway of an etcd of one member, over TLS, that lets in whom its authority knows."""

    def __init__(self, folder: Path) -> None:
        self.held: dict[str, bytes] = {}
        self.authority = Authority("etcd elsewhere")
        own = self.authority.issue("etcd", addresses=["127.0.0.1"])
        for name, text in (("ca", self.authority.pair.certificate), ("pair", own.certificate + own.key)):
            (folder / name).write_text(text)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "pair")
        context.load_verify_locations(folder / "ca")
        context.verify_mode = ssl.CERT_REQUIRED
        etcd = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = json.dumps(etcd.answer(self.path, asked)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.endpoint = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str, asked: dict[str, str]) -> dict[str, object]:
        begin = base64.b64decode(asked["key"]).decode()
        end = base64.b64decode(asked.get("range_end", "")).decode() or begin + "\0"
        found = {key: value for key, value in self.held.items() if begin <= key < end}
        if path == "/v3/kv/deleterange":
            self.held = {key: value for key, value in self.held.items() if key not in found}
            return {"deleted": str(len(found))}
        # As the gateway does it: numbers are text, and a nought is left out.
        count: dict[str, object] = {"count": str(len(found))} if found else {}
        kvs = [{"value": base64.b64encode(value).decode()} for value in found.values()]
        return count if asked.get("count_only") else {**count, "kvs": kvs}

    def files(self, authority: Authority | None = None) -> dict[str, str]:
        """What lets an API server in, by the paths that it has on a host."""
        client = (authority or self.authority).issue("api")
        return {
            external_etcd.CA: self.authority.pair.certificate,
            external_etcd.CERTIFICATE: client.certificate,
            external_etcd.KEY: client.key,
        }


@pytest.fixture
def etcd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Etcd]:
    monkeypatch.setattr(external_etcd, "_MEMORY", str(tmp_path))
    made = Etcd(tmp_path)
    yield made
    made.server.shutdown()
    made.server.server_close()


def installed(etcd: Etcd, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credential is on the host, as an install leaves it there."""
    for name, (path, text) in zip(("CA", "CERTIFICATE", "KEY"), etcd.files().items(), strict=True):
        (folder / Path(path).name).write_text(text)
        monkeypatch.setattr(external_etcd, name, str(folder / Path(path).name))


def test_an_empty_one_is_let_pass_and_nothing_of_the_look_stays(etcd: Etcd, tmp_path: Path) -> None:
    etcd.held = {"/other": b"x", "/registryz": b"x"}
    before = sorted(tmp_path.iterdir())
    external_etcd.require_empty([etcd.endpoint], etcd.files())
    assert sorted(tmp_path.iterdir()) == before


def test_one_that_holds_a_cluster_is_left_alone(etcd: Etcd) -> None:
    etcd.held = {"/registry/namespaces/default": b"x", "/registry/nodes/a": b"x"}
    with pytest.raises(ReleaseError, match="holds 2 objects of another cluster") as caught:
        external_etcd.require_empty([etcd.endpoint], etcd.files())
    assert caught.value.error_key == "conflict"
    assert len(etcd.held) == 2


def test_a_member_that_does_not_answer_is_named(etcd: Etcd) -> None:
    with pytest.raises(ReleaseError, match=r"etcd at https://127.0.0.1:1 does not answer") as caught:
        external_etcd.require_empty([etcd.endpoint, "https://127.0.0.1:1"], etcd.files())
    assert caught.value.error_key == "preflight_failed"


def test_who_is_not_let_in_is_told_so(etcd: Etcd) -> None:
    with pytest.raises(ReleaseError, match="does not answer"):
        external_etcd.require_empty([etcd.endpoint], etcd.files(Authority("somebody else")))
    mixed = {**etcd.files(), external_etcd.KEY: Authority("x").issue("x").key}
    with pytest.raises(ReleaseError, match="cannot be used") as caught:
        external_etcd.require_empty([etcd.endpoint], mixed)
    assert caught.value.error_key == "certificate_invalid"


def test_what_began_in_it_is_deleted_and_nothing_else(
    etcd: Etcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(etcd, tmp_path, monkeypatch)
    etcd.held = {"/registry/namespaces/kube-system": b"k8s uid-1", "/registry/nodes/a": b"x", "/other": b"x"}
    assert external_etcd.clear([etcd.endpoint], "uid-1") == ""
    assert list(etcd.held) == ["/other"]
    assert external_etcd.clear([etcd.endpoint], "uid-1") == ""


def test_a_cluster_that_somebody_made_in_it_since_stays(
    etcd: Etcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(etcd, tmp_path, monkeypatch)
    etcd.held = {"/registry/namespaces/kube-system": b"k8s uid-2"}
    assert "another cluster" in external_etcd.clear([etcd.endpoint], "uid-1")
    assert len(etcd.held) == 1


def test_what_cannot_be_deleted_is_said(etcd: Etcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(etcd, tmp_path, monkeypatch)
    assert "stay in it, below /registry/" in external_etcd.clear(["https://127.0.0.1:1"], "uid-1")
