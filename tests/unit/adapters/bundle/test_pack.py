# SPDX-License-Identifier: Apache-2.0
"""A bundle packed and unpacked is the same; a pack that is spoilt or means harm leaves nothing behind."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from controlplane.adapters.bundle import keys, pack, rules
from controlplane.domain.errors import Problem
from tests.unit.bundle_folder import TOOL

from .conftest import Make


def packed(bundle: Path, goal: Path, split: int | None = None, trusted: Any = ()) -> list[Path]:
    return pack.pack(bundle, goal, trusted, split, lambda _count: None)


def unpacked(source: Path, goal: Path, trusted: Any = ()) -> Any:
    return pack.unpack(source, goal, trusted, lambda _count: None)


def content(folder: Path) -> dict[str, tuple[bytes, bool]]:
    return {
        str(one.relative_to(folder)): (one.read_bytes(), bool(one.stat().st_mode & 0o100))
        for one in folder.rglob("*")
        if one.is_file()
    }


def refused(source: Path, goal: Path, trusted: Any = ()) -> str:
    with pytest.raises(Problem) as caught:
        unpacked(source, goal, trusted)
    assert not goal.exists()
    assert [one.name for one in goal.parent.iterdir() if "unpacking" in one.name] == []
    return caught.value.error_key


def test_a_bundle_comes_back_as_it_was_and_packs_to_the_same_bytes(make: Make, tmp_path: Path) -> None:
    bundle = make()
    (one,) = packed(bundle, tmp_path / "a.tar.zst")
    found = unpacked(one, tmp_path / "back")
    there, back = content(bundle), content(tmp_path / "back")
    assert {path: data for path, (data, _run) in there.items()} == {
        path: data for path, (data, _run) in back.items()
    }
    assert {path for path, (_data, run) in back.items() if run} == {TOOL, "hooks/look.sh"}
    assert found.digest == rules.part("inspection").inspect(str(bundle)).digest
    (two,) = packed(tmp_path / "back", tmp_path / "b.tar.zst")
    assert one.read_bytes() == two.read_bytes()


def test_a_pack_in_parts_is_put_together_and_a_missing_part_is_told(make: Make, tmp_path: Path) -> None:
    bundle = make(locked=False)
    (bundle / TOOL).write_bytes(random.Random(1).randbytes(500_000))
    rules.part("lock").lock(str(bundle))
    parts = packed(bundle, tmp_path / "a.tar.zst", split=100_000)
    assert [one.name for one in parts[:2]] == ["a.tar.zst.001", "a.tar.zst.002"]
    assert [one.stat().st_size for one in parts[:-1]] == [100_000] * (len(parts) - 1)
    assert unpacked(parts[0], tmp_path / "back").faults == []
    parts[2].rename(tmp_path / "lost")
    assert refused(parts[0], tmp_path / "other") in ("bundle_index_invalid", "artifact_missing")
    assert refused(parts[1], tmp_path / "other") == "bundle_index_invalid"


def test_a_bundle_with_faults_is_not_packed_and_nothing_is_overwritten(make: Make, tmp_path: Path) -> None:
    bundle = make()
    (tmp_path / "there").write_text("mine")
    with pytest.raises(FileExistsError):
        packed(bundle, tmp_path / "there")
    with pytest.raises(FileExistsError):
        unpacked(packed(bundle, tmp_path / "a")[0], tmp_path / "bundle")
    (bundle / "bin/extra").write_text("x")
    with pytest.raises(Problem) as caught:
        packed(bundle, tmp_path / "b")
    assert caught.value.error_key == "artifact_unlisted"
    assert (tmp_path / "there").read_text() == "mine"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "bundle", "there"]


@pytest.mark.parametrize("end", [0, 10, 0.5, -4, -1])
def test_a_pack_that_is_cut_leaves_nothing(make: Make, tmp_path: Path, end: float) -> None:
    (whole,) = packed(make(), tmp_path / "a")
    data = whole.read_bytes()
    (tmp_path / "cut").write_bytes(data[: int(end * len(data)) if isinstance(end, float) else int(end)])
    if end == -1:
        # Only the checksum of the frame is cut: what was packed is whole, and is verified.
        try:
            assert unpacked(tmp_path / "cut", tmp_path / "back").faults == []
        except Problem as problem:
            assert problem.error_key == "bundle_index_invalid"
    elif end != -4:
        assert refused(tmp_path / "cut", tmp_path / "back")


def test_one_changed_byte_leaves_nothing(make: Make, tmp_path: Path) -> None:
    (whole,) = packed(make(), tmp_path / "a")
    data = bytearray(whole.read_bytes())
    data[len(data) // 2] ^= 1
    whole.write_bytes(data)
    assert refused(whole, tmp_path / "back")


def hostile(**fields: Any) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        member = tarfile.TarInfo(fields.pop("name", "bin/a"))
        body = fields.pop("body", b"x")
        member.size = len(body)
        for name, value in fields.items():
            setattr(member, name, value)
        tar.addfile(member, io.BytesIO(body))
        tar.addfile(member, io.BytesIO(body))
    return zstandard.ZstdCompressor().compress(data.getvalue())


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "../a"}, {"name": "/tmp/a"}, {"name": "bin/../../a"}, {"name": "bin/a\nb"}, {"name": ".a"},
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "body": b""},
        {"type": tarfile.LNKTYPE, "linkname": "bin/b", "body": b""},
        {"type": tarfile.CHRTYPE, "body": b""}, {"type": tarfile.FIFOTYPE, "body": b""},
        {"type": tarfile.DIRTYPE, "body": b""}, {"name": "bin/twice"},
    ],
)  # fmt: skip
def test_a_pack_that_means_harm_leaves_nothing(tmp_path: Path, fields: dict[str, Any]) -> None:
    (tmp_path / "hostile").write_bytes(hostile(**fields))
    assert refused(tmp_path / "hostile", tmp_path / "back") == "artifact_unlisted"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["hostile"]


def test_a_signature_is_asked_for_before_the_folder_appears(make: Make, tmp_path: Path) -> None:
    bundle = make()
    keys.make(tmp_path / "key", None)
    keys.make(tmp_path / "other", b"secret")
    trusted = keys.trusted([str(tmp_path / "key.pub")])
    (unsigned,) = packed(bundle, tmp_path / "unsigned")
    assert refused(unsigned, tmp_path / "back", trusted) == "bundle_signature_invalid"
    keys.sign(bundle, keys.read(tmp_path / "other", b"secret"))
    (wrong,) = packed(bundle, tmp_path / "wrong")
    assert refused(wrong, tmp_path / "back", trusted) == "bundle_signature_invalid"
    keys.sign(bundle, keys.read(tmp_path / "key", None))
    (right,) = packed(bundle, tmp_path / "right")
    assert unpacked(right, tmp_path / "back", trusted).signed_by == trusted[0].hex()
