# SPDX-License-Identifier: Apache-2.0
"""What comes over a connection becomes a file only whole and with its sum; what came before a cut is kept."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.action import bundle_delivery
from ansible_collections.tidegate.deploy.plugins.module_utils.host import bundle_receiver, bundle_store
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import host_program
from hypothesis import given
from hypothesis import strategies as st

CONTENT = bytes(range(256)) * 20
SHA256 = hashlib.sha256(CONTENT).hexdigest()
END = b"{}\n"


def head(offset: int = 0, length: int | None = None, content: bytes = CONTENT, sha256: str = "") -> bytes:
    told = {
        "sha256": sha256 or hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "offset": offset,
        "length": len(content) - offset if length is None else length,
    }
    return json.dumps(told).encode() + b"\n"


def opening(bundle: Path, content: bytes = CONTENT, **other: Any) -> bytes:
    asked = {"folder": str(bundle), "wanted": wanted(content), "rehash": False, "writing": True}
    return json.dumps({**asked, "record": {"version": "1"}, **other}).encode() + b"\n"


def program(sent: bytes) -> list[dict[str, Any]]:
    """What a host says: it runs the program as it is sent there."""
    argv = [sys.executable, "-c", host_program.text(bundle_delivery.PROGRAM)]
    done = subprocess.run(argv, input=sent, capture_output=True, check=True)
    return [dict(json.loads(line)) for line in done.stdout.splitlines()]


def receive(bundle: Path, sent: bytes) -> dict[str, Any]:
    return program(opening(bundle) + sent)[-1]


def problem(told: dict[str, Any]) -> str:
    return str((told["problem"] or {}).get("error_key", ""))


def test_what_is_not_there_is_said_and_taken_and_then_is_there(tmp_path: Path) -> None:
    looked, told = program(opening(tmp_path) + b"\n\n" + head() + CONTENT + END)
    assert looked["folder"] == str(tmp_path / "sha256")
    assert [one["present"] for one in looked["found"]] == [False]
    assert told == {"taken": [SHA256], "recorded": True, "problem": None}
    assert json.loads((tmp_path / "current.json").read_text()) == {"version": "1"}
    # What was hashed while it came is not hashed again.
    assert SHA256 in json.loads((tmp_path / "verified.json").read_text())["files"]
    looked, told = program(opening(tmp_path))
    assert [one["present"] for one in looked["found"]] == [True]
    assert told == {"taken": [], "recorded": False, "problem": None}


def test_where_nothing_may_be_written_it_is_only_looked(tmp_path: Path) -> None:
    looked, told = program(opening(tmp_path / "new", writing=False))
    assert [one["present"] for one in looked["found"]] == [False]
    assert told == {"taken": [], "recorded": False, "problem": None}
    assert not (tmp_path / "new").exists()


def test_what_has_no_room_is_refused_before_anything_is_asked_for(tmp_path: Path) -> None:
    (told,) = program(opening(tmp_path, wanted=[{"sha256": SHA256, "size": 1 << 60}]))
    assert problem(told) == "storage_full"
    assert told["problem"]["detail"]["needed_bytes"] > 1 << 60


def test_another_delivery_to_the_same_host_is_waited_for(tmp_path: Path) -> None:
    program(opening(tmp_path))
    sent = opening(tmp_path) + head() + CONTENT + END
    with (tmp_path / "sha256" / ".lock").open("w") as lock, ThreadPoolExecutor(1) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = pool.submit(program, sent)
        time.sleep(1)
        assert not second.done()
        (tmp_path / "sha256" / f"{SHA256}.part").write_bytes(CONTENT[:100])
        fcntl.flock(lock, fcntl.LOCK_UN)
        looked, told = second.result()
    # What the first one brought until then counts.
    assert looked["found"][0]["partial_bytes"] == 100
    assert told["taken"] == [SHA256]


def test_files_get_their_names_when_they_are_whole(tmp_path: Path) -> None:
    told = receive(tmp_path, head() + CONTENT + head(content=b"") + END)
    assert told["taken"] == [SHA256, hashlib.sha256(b"").hexdigest()]
    assert (tmp_path / "sha256" / SHA256).read_bytes() == CONTENT
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("there", [0, 1, 2000, len(CONTENT)])
def test_a_cut_file_is_gone_on_with(tmp_path: Path, there: int) -> None:
    told = receive(tmp_path, head() + CONTENT[:there])
    assert problem(told) == "ssh_unreachable"
    if there < len(CONTENT):
        assert (tmp_path / "sha256" / f"{SHA256}.part").stat().st_size == there
        assert receive(tmp_path, head(there) + CONTENT[there:] + END)["taken"] == [SHA256]
    assert (tmp_path / "sha256" / SHA256).read_bytes() == CONTENT


def test_a_file_may_come_in_portions_and_the_last_one_is_checked(tmp_path: Path) -> None:
    first = receive(tmp_path, head(0, 1000) + CONTENT[:1000] + END)
    assert first == {"taken": [], "recorded": False, "problem": None}
    # Bytes that came after it was asked how far this file is are written over.
    with (tmp_path / "sha256" / f"{SHA256}.part").open("ab") as file:
        file.write(b"late")
    assert receive(tmp_path, head(1000) + CONTENT[1000:] + END)["taken"] == [SHA256]
    assert (tmp_path / "sha256" / SHA256).read_bytes() == CONTENT


def test_what_has_another_sum_is_not_kept(tmp_path: Path) -> None:
    program(opening(tmp_path))
    part = tmp_path / "sha256" / f"{SHA256}.part"
    part.write_bytes(b"?" * 1000)
    for sent in (head(1000) + CONTENT[1000:] + END, head() + CONTENT[:-1] + b"?" + END):
        told = receive(tmp_path, sent)
        assert problem(told) == "artifact_checksum_mismatch"
        assert told["problem"]["sha256"] == SHA256
        assert not told["recorded"]
        assert [one.name for one in (tmp_path / "sha256").iterdir()] == [".lock"]
    part.write_bytes(b"short")
    assert problem(receive(tmp_path, head(1000) + CONTENT[1000:] + END))


@given(st.lists(st.integers(0, len(CONTENT)), max_size=4))
def test_any_division_into_pieces_gives_the_file(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(CONTENT)]
    sent = b""
    for start, end in itertools.pairwise(edges):
        if start < end:
            sent += head(start, end - start) + CONTENT[start:end]
    with tempfile.TemporaryDirectory() as folder:
        reading, writing = os.pipe()
        os.write(writing, sent + END)
        os.close(writing)
        assert bundle_receiver.receive(folder, bundle_receiver.Source(reading)) == ([SHA256], None)
        os.close(reading)
        assert (Path(folder) / SHA256).read_bytes() == CONTENT


def wanted(content: bytes = CONTENT) -> list[dict[str, Any]]:
    return [{"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}]


def looked(bundle: Path, **how: Any) -> dict[str, Any]:
    (found,) = bundle_store.look(str(bundle), wanted(), how.get("rehash", False), how.get("writing", True))
    return found


def test_what_was_verified_is_hashed_again_when_somebody_touched_it(tmp_path: Path) -> None:
    file = tmp_path / "sha256" / SHA256
    assert looked(tmp_path) == {"sha256": SHA256, "present": False, "altered": False, "partial_bytes": 0}
    file.write_bytes(CONTENT)
    assert looked(tmp_path)["present"]
    when = file.stat()
    file.write_bytes(b"?" + CONTENT[1:])
    os.utime(file, ns=(when.st_atime_ns, when.st_mtime_ns))
    assert looked(tmp_path, writing=False)["altered"]
    assert file.exists()
    assert looked(tmp_path)["altered"]
    assert not file.exists()


def test_after_a_boot_nothing_is_known_to_be_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked(tmp_path)
    (tmp_path / "sha256" / SHA256).write_bytes(CONTENT)
    looked(tmp_path)
    hashed: list[str] = []
    real = bundle_store._sum
    monkeypatch.setattr(bundle_store, "_sum", lambda path: hashed.append(path) or real(path))
    looked(tmp_path)
    assert hashed == []
    monkeypatch.setattr(bundle_store, "_boot", lambda: "another")
    looked(tmp_path)
    assert len(hashed) == 1


def test_half_files_are_known_by_their_size_and_old_ones_forgotten(tmp_path: Path) -> None:
    looked(tmp_path)
    part = tmp_path / "sha256" / f"{SHA256}.part"
    part.write_bytes(b"x" * 100)
    assert looked(tmp_path)["partial_bytes"] == 100
    part.write_bytes(b"x" * (len(CONTENT) + 1))
    assert looked(tmp_path)["partial_bytes"] == 0
    old = tmp_path / "sha256" / ("0" * 64 + ".part")
    other = tmp_path / "sha256" / "notes"
    for one in (old, other, part):
        one.write_bytes(b"x")
        os.utime(one, (1, 1))
    looked(tmp_path)
    assert (old.exists(), other.exists(), part.exists()) == (False, True, True)


def test_room_is_asked_for_what_is_missing_only(tmp_path: Path) -> None:
    huge = [{"sha256": SHA256, "size": 1 << 60}]
    found = bundle_store.look(str(tmp_path / "new"), huge, False, False)
    with pytest.raises(ReleaseError) as caught:
        bundle_store.require_room(str(tmp_path / "new" / "er"), found, huge)
    assert caught.value.error_key == "storage_full"
    assert caught.value.detail["needed_bytes"] > 1 << 60
    bundle_store.require_room(str(tmp_path), [{**found[0], "present": True}], huge)
    bundle_store.require_room(str(tmp_path), [{**found[0], "partial_bytes": 1 << 60}], huge)
