# SPDX-License-Identifier: Apache-2.0
"""Image archives are known by their content, and what is none is refused in words."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import archive

CONFIG = json.dumps({"rootfs": {"type": "layers", "diff_ids": []}}).encode()
CONFIG_ID = hashlib.sha256(CONFIG).hexdigest()
LAYER = b"a layer"
LAYER_ID = hashlib.sha256(LAYER).hexdigest()


def tar_of(path: Path, members: dict[str, bytes], mode: str = "w") -> str:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return str(path)


def docker_members(config_name: str = f"{CONFIG_ID}.json", **more: Any) -> dict[str, bytes]:
    manifest = [{"Config": config_name, "RepoTags": ["shop:1"], "Layers": ["l/layer.tar"]}]
    return {config_name: CONFIG, "l/layer.tar": LAYER, "manifest.json": json.dumps(manifest).encode(), **more}


def oci_members() -> dict[str, bytes]:
    manifest = json.dumps(
        {"config": {"digest": f"sha256:{CONFIG_ID}"}, "layers": [{"digest": f"sha256:{LAYER_ID}"}]}
    ).encode()
    manifest_id = hashlib.sha256(manifest).hexdigest()
    index = {"manifests": [{"digest": f"sha256:{manifest_id}", "annotations": {}}]}
    return {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps(index).encode(),
        f"blobs/sha256/{manifest_id}": manifest,
        f"blobs/sha256/{CONFIG_ID}": CONFIG,
        f"blobs/sha256/{LAYER_ID}": LAYER,
    }


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_docker_archive_gives_its_images_id_and_references(tmp_path: Path, mode: str) -> None:
    found = archive.read_archive(tar_of(tmp_path / "a.tar", docker_members(), mode))
    assert (found.kind, found.image_id, found.references) == ("docker", f"sha256:{CONFIG_ID}", ("shop:1",))
    assert archive.manifest_entry(found, "shop:1") is None


def test_an_oci_archive_gives_the_same_id_and_is_made_loadable_for_old_engines(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", oci_members())
    found = archive.read_archive(path)
    assert (found.kind, found.image_id) == ("oci", f"sha256:{CONFIG_ID}")
    out = io.BytesIO()
    archive.loadable(path, out.write, archive.manifest_entry(found, "shop:9"))
    (tmp_path / "b.tar").write_bytes(out.getvalue())
    again = archive.read_archive(str(tmp_path / "b.tar"))
    assert (again.kind, again.image_id, again.references) == ("docker", f"sha256:{CONFIG_ID}", ("shop:9",))


def test_of_several_images_the_one_with_the_reference_is_meant(tmp_path: Path) -> None:
    other = {"Config": f"{CONFIG_ID}.json", "RepoTags": ["else:1"], "Layers": []}
    members = docker_members()
    members["manifest.json"] = json.dumps([*json.loads(members["manifest.json"]), other]).encode()
    path = tar_of(tmp_path / "a.tar", members)
    assert archive.read_archive(path, "shop:1").references == ("shop:1",)
    with pytest.raises(archive.ArchiveError, match="holds 2 images"):
        archive.read_archive(path, "nobody:1")


def test_a_file_that_is_not_there_is_artifact_missing(tmp_path: Path) -> None:
    with pytest.raises(archive.ArchiveError) as refused:
        archive.read_archive(str(tmp_path / "none.tar"))
    assert refused.value.error_key == "artifact_missing"


@pytest.mark.parametrize(
    "content",
    [b"", b"no tar at all" * 100, b"\x1f\x8bnot gzip", b"\0" * 10240],
    ids=["empty", "text", "broken gzip", "empty tar"],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    with pytest.raises(archive.ArchiveError, match="not an image archive") as refused:
        archive.read_archive(str(path))
    assert refused.value.error_key == "validation_error"


@pytest.mark.parametrize(
    "members",
    [
        {"manifest.json": b"[]"},
        {"manifest.json": b"{"},
        {"manifest.json": b'[{"Config": 7, "Layers": []}]'},
        {"manifest.json": b'["x"]'},
        {**docker_members(), "manifest.json": b'[{"Config": "../../etc/passwd", "Layers": []}]'},
        {name: content for name, content in docker_members().items() if name != "l/layer.tar"},
        {name: content for name, content in oci_members().items() if not name.endswith(CONFIG_ID)},
    ],
)
def test_an_archive_with_a_part_missing_or_odd_is_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    with pytest.raises(archive.ArchiveError) as refused:
        archive.read_archive(tar_of(tmp_path / "a.tar", members))
    assert refused.value.error_key == "validation_error"


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    whole = Path(tar_of(tmp_path / "a.tar", docker_members(more=b"x" * 20000))).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:1800])
    with pytest.raises(archive.ArchiveError, match="not an image archive"):
        archive.read_archive(str(tmp_path / "cut.tar"))


def test_a_configuration_that_is_not_what_it_is_named_is_a_checksum_mismatch(tmp_path: Path) -> None:
    with pytest.raises(archive.ArchiveError) as refused:
        archive.read_archive(tar_of(tmp_path / "a.tar", docker_members(config_name=f"{'0' * 64}.json")))
    assert refused.value.error_key == "artifact_checksum_mismatch"


def test_hashing_a_beginning_and_the_rest_gives_the_files_digest(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)) * 9000)
    running = archive.file_digest(str(path), 1_500_000)
    for piece in archive.pieces(str(path), 1_500_000, 100_000):
        running.update(piece)
    assert running.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()
