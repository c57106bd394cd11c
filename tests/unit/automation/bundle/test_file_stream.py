# SPDX-License-Identifier: Apache-2.0
"""Files go to a program that says first what it lacks: over a connection that streams, or one that takes portions."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.tidegate.deploy.plugins.action import bundle_delivery
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import file_stream, host_program

CONTENT = bytes(range(256)) * 20
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ARGV = [sys.executable, "-c", host_program.text(bundle_delivery.PROGRAM)]


class Streaming:
    """A connection that starts a program here, as Ansible's over SSH does on a host; it tries twice, too."""

    def __init__(self, *argvs: list[str]) -> None:
        self.argvs = list(argvs) or [ARGV]

    def _send_initial_data(self, handle: Any, in_data: bytes, process: Any) -> None:
        raise AssertionError("somebody else's way should be in its place")

    def run(self, in_data: bytes) -> dict[str, Any]:
        for argv in self.argvs:
            pipe = subprocess.PIPE
            with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe) as process:
                assert process.stdin and process.stdout and process.stderr
                os.set_blocking(process.stdout.fileno(), False)
                self._send_initial_data(process.stdin, in_data, process)
                process.stdin.close()
                os.set_blocking(process.stdout.fileno(), True)
                said = process.stdout.read().decode()
                complained = process.stderr.read().decode()
            if process.returncode != 255:
                return {"rc": process.returncode, "stdout": said, "stderr": complained}
        raise AnsibleConnectionFailure("gone")


class Portions:
    """A connection that takes all of its input at once."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, in_data: bytes) -> dict[str, Any]:
        self.runs += 1
        done = subprocess.run(ARGV, input=in_data, capture_output=True, check=False)
        return {"rc": done.returncode, "stdout": "Welcome!\n" + done.stdout.decode(), "stderr": ""}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def opening(store: Path, **other: Any) -> dict[str, Any]:
    wanted = [{"sha256": SHA256, "size": len(CONTENT)}]
    return {"folder": str(store), "wanted": wanted, "rehash": False, "writing": True, "record": {}, **other}


def all_of(file: Path) -> Callable[[dict[str, Any]], list[file_stream.Piece]]:
    def lacking(looked: dict[str, Any]) -> list[file_stream.Piece]:
        return [
            file_stream.Piece(
                str(file), SHA256, len(CONTENT), one["partial_bytes"], len(CONTENT) - one["partial_bytes"]
            )
            for one in looked["found"]
            if not one["present"]
        ]

    return lacking


@pytest.mark.parametrize("kind", [Streaming, Portions])
def test_what_is_lacked_is_sent_and_the_second_time_nothing(
    tmp_path: Path, file: Path, kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_stream, "PORTION", 1500)
    connection, sent = kind(), []
    store = tmp_path / "store"
    for left in (len(CONTENT), 0):
        told = file_stream.send(connection, connection.run, opening(store), all_of(file), sent.append)
        assert told["problem"] is None
        assert told["recorded"] is bool(left)
        assert sum(sent) == left
        assert (store / "sha256" / SHA256).read_bytes() == CONTENT
        sent.clear()


@pytest.mark.parametrize("kind", [Streaming, Portions])
def test_a_file_that_has_another_content_here_gets_no_name_there(
    tmp_path: Path, file: Path, kind: type[Any]
) -> None:
    file.write_bytes(CONTENT[:-1] + b"?")
    connection = kind()
    store = tmp_path / "store"
    told = file_stream.send(connection, connection.run, opening(store), all_of(file), abs)
    assert told["problem"]["error_key"] == "artifact_checksum_mismatch"
    assert [one.name for one in (store / "sha256").iterdir()] == [".lock"]


@pytest.mark.parametrize("kind", [Streaming, Portions])
def test_what_the_host_refuses_is_the_answer(tmp_path: Path, file: Path, kind: type[Any]) -> None:
    connection = kind()
    huge = opening(tmp_path / "store", wanted=[{"sha256": SHA256, "size": 1 << 60}])
    told = file_stream.send(connection, connection.run, huge, all_of(file), pytest.fail)
    assert told["problem"]["error_key"] == "storage_full"


@pytest.mark.parametrize("kind", [Streaming, Portions])
def test_a_refusal_on_this_side_sends_nothing(tmp_path: Path, kind: type[Any]) -> None:
    def refuse(_looked: dict[str, Any]) -> list[file_stream.Piece]:
        raise ReleaseError("artifact_checksum_mismatch", "another file is faulty")

    connection = kind()
    with pytest.raises(ReleaseError, match="another file is faulty"):
        file_stream.send(connection, connection.run, opening(tmp_path / "store"), refuse, pytest.fail)
    assert not list((tmp_path / "store").rglob(SHA256 + "*"))


def test_a_file_that_cannot_be_read_or_ends_early_is_told(tmp_path: Path, file: Path) -> None:
    connection = Streaming()
    store = tmp_path / "store"
    with pytest.raises(ReleaseError) as caught:
        file_stream.send(connection, connection.run, opening(store), all_of(tmp_path / "none"), abs)
    assert caught.value.error_key == "artifact_missing"
    file.write_bytes(CONTENT[:100])
    with pytest.raises(ReleaseError, match="became shorter"):
        file_stream.send(connection, connection.run, opening(store), all_of(file), abs)


def test_the_host_waits_while_it_is_found_out_what_it_lacks(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_stream, "STILL_HERE_SECONDS", 0.2)
    impatient = ["import signal; ask = signal.alarm; signal.alarm = lambda seconds: ask(min(seconds, 1))"]
    connection = Streaming([ARGV[0], "-c", "\n".join([*impatient, ARGV[2]])])
    ready = all_of(file)

    def slowly(looked: dict[str, Any]) -> list[file_stream.Piece]:
        time.sleep(2.5)
        return ready(looked)

    told = file_stream.send(connection, connection.run, opening(tmp_path / "store"), slowly, abs)
    assert told["taken"] == [SHA256]


def test_what_is_found_out_slowly_counts_where_the_host_lacks_nothing_and_has_ended(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_stream, "STILL_HERE_SECONDS", 0.1)
    connection = Streaming()
    file_stream.send(connection, connection.run, opening(tmp_path / "store"), all_of(file), abs)

    def slowly(_looked: dict[str, Any]) -> list[file_stream.Piece]:
        time.sleep(1)
        return []

    def refuse(looked: dict[str, Any]) -> list[file_stream.Piece]:
        slowly(looked)
        raise ReleaseError("artifact_checksum_mismatch", "a file that is not sent is faulty")

    told = file_stream.send(connection, connection.run, opening(tmp_path / "store"), slowly, pytest.fail)
    assert told["problem"] is None
    with pytest.raises(ReleaseError, match="not sent is faulty"):
        file_stream.send(connection, connection.run, opening(tmp_path / "store"), refuse, pytest.fail)


def test_before_anything_was_sent_the_connection_may_try_again(tmp_path: Path, file: Path) -> None:
    connection = Streaming([sys.executable, "-c", "raise SystemExit(255)"], ARGV)
    told = file_stream.send(connection, connection.run, opening(tmp_path / "store"), all_of(file), abs)
    assert told["taken"] == [SHA256]


def test_after_that_the_host_is_asked_first_how_far_it_is(tmp_path: Path, file: Path) -> None:
    cut = [sys.executable, "-c", "print('{\"found\": []}', flush=True); raise SystemExit(255)"]
    connection = Streaming(cut, ARGV)
    with pytest.raises(AnsibleConnectionFailure, match="the transfer was cut"):
        file_stream.send(connection, connection.run, opening(tmp_path / "store"), all_of(file), abs)
    assert not (tmp_path / "store").exists()


def test_a_host_that_says_something_else_is_quoted(tmp_path: Path, file: Path) -> None:
    connection = Streaming(["sh", "-c", "echo no python here >&2; exit 127"])
    with pytest.raises(ReleaseError, match="no python here") as caught:
        file_stream.send(connection, connection.run, opening(tmp_path / "store"), all_of(file), abs)
    assert caught.value.error_key == "preflight_failed"
