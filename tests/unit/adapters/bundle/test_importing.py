# SPDX-License-Identifier: Apache-2.0
"""Artifacts come out of folders and Debian packages, and only those that the index means."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from controlplane.adapters.bundle import debian, importing, index_file, rules
from controlplane.domain.errors import Problem
from tests.unit.bundle_folder import TOOL, index

from .conftest import Make
from .packages import PACKED, deb

RUNC = {"id": "runc", "type": "binary", "path": "bin/runc", "mode": "0755"}
ENGINE = {"id": "engine", "type": "archive", "path": "bin/engine.tar"}


def out_of(artifact: dict[str, Any], **debian: Any) -> dict[str, Any]:
    return {**artifact, "source": {"debian": {"package": "runc", **debian}}}


def refused(folder: Path, *sources: Path) -> str:
    with pytest.raises(Problem) as caught:
        importing.take(folder, sources)
    return caught.value.error_key


def with_artifacts(*artifacts: dict[str, Any]) -> dict[str, Any]:
    return {"artifacts": [*index()["artifacts"], *artifacts]}


@pytest.mark.parametrize("packed", PACKED)
def test_a_file_comes_out_of_a_package(make: Make, tmp_path: Path, packed: str) -> None:
    bundle = make(locked=False, **with_artifacts(out_of(RUNC, member="usr/sbin/runc")))
    package = deb(
        tmp_path / "a.deb", {"usr/sbin/runc": b"run", "usr/bin/runc": "../sbin/runc"}, packed=packed
    )
    done = importing.take(bundle, [package])
    assert [one["id"] for one in done["imported"]] == ["runc"]
    assert done["missing"] == []
    assert (bundle / "bin/runc").read_bytes() == b"run"
    assert (bundle / "bin/runc").stat().st_mode & 0o777 == 0o755
    assert index_file.read(bundle)["artifacts"][1]["version"] == "1.1.5+ds1-1"
    assert rules.part("lock").lock(str(bundle))[2] == []
    assert not importing.take(bundle, [package])["imported"][0]["changed"]


def test_an_archive_is_made_of_several_files_and_is_the_same_each_time(make: Make, tmp_path: Path) -> None:
    files: dict[str, Any] = {
        "usr/lib/cni/b": b"2",
        "usr/lib/cni/a": b"1",
        "usr/bin/x": b"3",
        "usr/lib/cni/l": "a",
    }
    package = deb(tmp_path / "a.deb", files, version="1:2-3")
    made = []
    for name in ("one", "two"):
        bundle = make(
            name, locked=False, **with_artifacts(out_of(ENGINE, members=["usr/bin/x", "usr/lib/cni/"]))
        )
        importing.take(bundle, [package])
        made.append((bundle / "bin/engine.tar").read_bytes())
        with tarfile.open(bundle / "bin/engine.tar") as tar:
            assert [(one.name, one.mode) for one in tar] == [("a", 0o755), ("b", 0o755), ("x", 0o755)]
    assert made[0] == made[1]
    assert index_file.read(bundle)["artifacts"][1]["version"] == "2-3"


def test_files_and_packages_are_found_in_a_folder(make: Make, tmp_path: Path) -> None:
    bundle = make(locked=False, **with_artifacts(out_of(RUNC, member="usr/sbin/runc"), ENGINE))
    source = tmp_path / "source"
    source.mkdir()
    deb(source / "a.deb", {"usr/sbin/runc": b"run"})
    deb(source / "other.deb", {"usr/bin/other": b"x"}, name="other")
    (source / "engine.tar").write_bytes(b"tar")
    (source / "tool").symlink_to("/etc/passwd")
    done = importing.take(bundle, [source])
    assert {one["id"] for one in done["imported"]} == {"runc", "engine"}
    assert (bundle / TOOL).read_bytes() == b"a tool"


def test_the_folder_that_one_is_in_is_filled_and_nothing_else_is_ever_in_it(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make(locked=False, **with_artifacts(out_of(RUNC, member="usr/sbin/runc")))
    package = deb(tmp_path / "a.deb", {"usr/sbin/runc": b"run"})
    seen: list[Path] = []

    def extract(path: Path, members: list[str], goal: Path) -> dict[str, Path]:
        seen.append(goal.resolve())
        return real(path, members, goal)

    real = debian.extract
    monkeypatch.setattr(debian, "extract", extract)
    monkeypatch.chdir(bundle)
    importing.take(Path("."), [package])
    assert (bundle / "bin/runc").read_bytes() == b"run"
    assert [bundle in one.parents for one in seen] == [False]


def test_a_file_that_cannot_be_read_is_named(make: Make) -> None:
    # Nobody, root neither, reads the beginning of a process's memory.
    bundle = make(locked=False, **with_artifacts({**RUNC, "path": "bin/mem"}))
    with pytest.raises(Problem, match="/proc/self/mem cannot be read") as caught:
        importing.take(bundle, [Path("/proc/self")])
    assert caught.value.error_key == "artifact_missing"


def test_what_the_index_does_not_mean_is_refused(make: Make, tmp_path: Path) -> None:
    bundle = make(locked=False, **with_artifacts(out_of(RUNC, member="usr/sbin/runc")))
    good = deb(tmp_path / "good.deb", {"usr/sbin/runc": b"run"})
    importing.take(bundle, [good])
    rules.part("lock").lock(str(bundle))
    other = deb(tmp_path / "other.deb", {"usr/sbin/runc": b"other"})
    assert refused(bundle, other) == "artifact_checksum_mismatch"
    assert (bundle / "bin/runc").read_bytes() == b"run"
    assert importing.take(bundle, [other], update=True)["imported"][0]["changed"]
    assert (
        refused(bundle, deb(tmp_path / "a.deb", {"usr/sbin/runc": b"run"}, architecture="arm64"))
        == "artifact_missing"
    )
    assert refused(bundle, deb(tmp_path / "b.deb", {"usr/bin/x": b"run"})) == "artifact_missing"
    assert refused(bundle, deb(tmp_path / "c.deb", {"usr/sbin/runc": "/etc/passwd"})) == "artifact_missing"


@pytest.mark.parametrize(
    "content", [b"", b"!<thin>\nx", b"!<arch>\n", b"!<arch>\n" + b"x" * 60, b"no package at all"]
)
def test_what_is_no_package_is_refused(make: Make, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.deb").write_bytes(content)
    assert refused(make(), tmp_path / "bad.deb") == "artifact_missing"


def test_a_package_that_is_cut_is_refused(make: Make, tmp_path: Path) -> None:
    bundle = make(locked=False, **with_artifacts(out_of(RUNC, member="usr/sbin/runc")))
    whole = deb(tmp_path / "a.deb", {"usr/sbin/runc": bytes(range(256)) * 400}, packed="zst").read_bytes()
    for end in (len(whole) - 40, len(whole) // 2, 100):
        (tmp_path / "cut.deb").write_bytes(whole[:end])
        assert refused(bundle, tmp_path / "cut.deb") == "artifact_missing"
        assert not (bundle / "bin/runc").exists()


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not installed")
def test_it_reads_what_debian_s_own_tool_makes(tmp_path: Path) -> None:
    (tmp_path / "tree/DEBIAN").mkdir(parents=True)
    (tmp_path / "tree/DEBIAN/control").write_text(
        "Package: runc\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: a\n"
    )
    (tmp_path / "tree/usr/sbin").mkdir(parents=True)
    (tmp_path / "tree/usr/sbin/runc").write_bytes(b"run" * 1000)
    for kind in ("xz", "gzip"):
        package = tmp_path / f"{kind}.deb"
        subprocess.run(["dpkg-deb", f"-Z{kind}", "--build", str(tmp_path / "tree"), str(package)], check=True)
        assert debian.describe(package) == debian.Package("runc", "1", "all")
        (tmp_path / kind).mkdir()
        found = debian.extract(package, ["usr/sbin/runc"], tmp_path / kind)
        assert found["usr/sbin/runc"].read_bytes() == b"run" * 1000
