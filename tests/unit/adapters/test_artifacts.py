# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import http.server
import io
import json
import os
import subprocess
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.adapters.artifacts.folder import FolderArtifacts
from controlplane.adapters.artifacts.http import HttpArtifacts
from controlplane.adapters.artifacts.inspect import NotAnImageArchive, inspect_archive
from controlplane.domain.errors import Problem

LIMIT = 10_000_000


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tar_of(files: dict[str, bytes], more: list[tarfile.TarInfo] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in more or []:
            tar.addfile(info)
    return out.getvalue()


CONFIG = b'{"architecture":"amd64"}'


def docker_files(tag: str = "shop:1") -> dict[str, bytes]:
    name = sha(CONFIG) + ".json"
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": ["abc/layer.tar"]}]
    return {"abc/layer.tar": b"layer", name: CONFIG, "manifest.json": json.dumps(manifest).encode()}


def oci_files() -> dict[str, bytes]:
    layer = b"layer"
    manifest = json.dumps(
        {"config": {"digest": f"sha256:{sha(CONFIG)}"}, "layers": [{"digest": f"sha256:{sha(layer)}"}]}
    ).encode()
    name = {"io.containerd.image.name": "shop:2"}
    index = {"manifests": [{"digest": f"sha256:{sha(manifest)}", "annotations": name}]}
    blobs = {f"blobs/sha256/{sha(data)}": data for data in (layer, manifest, CONFIG)}
    return {
        **blobs,
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps(index).encode(),
    }


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def store(tmp_path: Path) -> FolderArtifacts:
    return FolderArtifacts(tmp_path / "store")


def files_in(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(("files", "reference"), [(docker_files(), "shop:1"), (oci_files(), "shop:2")])
def test_an_image_archive_is_kept_under_its_digest(
    store: FolderArtifacts, pack: type[bytes], files: dict[str, bytes], reference: str
) -> None:
    data = pack(tar_of(files))
    kept = store.put(io.BytesIO(data), None, LIMIT)
    assert kept.digest == f"sha256:{sha(data)}"
    assert (kept.size, kept.is_new) == (len(data), True)
    assert kept.image_ids == (f"sha256:{sha(CONFIG)}",)
    assert kept.references == (reference,)
    assert kept.media.endswith("+gzip") == (pack is gzip.compress)
    assert store.path(kept.digest).read_bytes() == data
    with store.open(kept.digest) as file:
        assert file.read() == data


def test_nothing_is_kept_twice_and_deleting_frees(store: FolderArtifacts, tmp_path: Path) -> None:
    data = tar_of(docker_files())
    first = store.put(io.BytesIO(data), None, LIMIT)
    second = store.put(io.BytesIO(data), first.digest, LIMIT)
    assert (first.is_new, second.is_new) == (True, False)
    assert second.image_ids == first.image_ids
    assert len(files_in(tmp_path)) == 1
    assert list(store.digests()) == [first.digest]
    assert store.delete(first.digest) == len(data)
    assert store.delete(first.digest) == 0
    assert files_in(tmp_path) == []
    with pytest.raises(Problem, match="artifact_missing"):
        store.path(first.digest)


def test_a_digest_is_never_a_path(store: FolderArtifacts) -> None:
    for digest in ("sha256:../../etc/passwd", "", "sha256:" + "A" * 64, "sha256:" + "a" * 64 + "\n"):
        with pytest.raises(Problem, match="artifact_missing"):
            store.open(digest)
        assert store.delete(digest) == 0
    with pytest.raises(Problem, match="validation_error"):
        store.put(io.BytesIO(b""), "md5:x", LIMIT)


@pytest.mark.parametrize(
    ("data", "promised", "limit", "key"),
    [
        (tar_of(docker_files()), "sha256:" + "0" * 64, LIMIT, "artifact_checksum_mismatch"),
        (tar_of(docker_files()), None, 1000, "payload_too_large"),
        (b"hello", None, LIMIT, "validation_error"),
        (b"", None, LIMIT, "validation_error"),
    ],
)
def test_what_is_refused_leaves_nothing(
    store: FolderArtifacts, tmp_path: Path, data: bytes, promised: str | None, limit: int, key: str
) -> None:
    with pytest.raises(Problem) as caught:
        store.put(io.BytesIO(data), promised, limit)
    assert caught.value.error_key == key
    assert files_in(tmp_path) == []


def test_a_broken_upload_leaves_nothing(store: FolderArtifacts, tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.put(Broken(), None, LIMIT)
    assert files_in(tmp_path) == []


def test_leftovers_of_the_killed_go_and_running_uploads_stay(store: FolderArtifacts, tmp_path: Path) -> None:
    left = tmp_path / "store" / "incoming" / "dead.part"
    left.write_bytes(b"half")
    data = tar_of(docker_files())
    seen: list[int] = []

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            FolderArtifacts(tmp_path / "store")
            seen.append(len(list((tmp_path / "store" / "incoming").iterdir())))
            return super().read(size)

    store.put(Slow(data), None, LIMIT)
    assert not left.exists()
    assert seen[0] == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"mount is not allowed here: {done.stderr.strip()}")
    try:
        store = FolderArtifacts(mount)
        with pytest.raises(Problem, match="storage_full"):
            store.put(io.BytesIO(tar_of({"layer.tar": os.urandom(1_000_000)})), None, LIMIT)
        assert files_in(mount) == []
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def config_that_lies() -> dict[str, bytes]:
    files = docker_files()
    files[sha(CONFIG) + ".json"] = b'{"architecture":"lie"}'
    return files


def without(name: str) -> dict[str, bytes]:
    files = docker_files()
    del files[name]
    return files


def device() -> tarfile.TarInfo:
    info = tarfile.TarInfo("dev")
    info.type = tarfile.CHRTYPE
    return info


HOSTILE = {
    "empty tar": tar_of({}),
    "other tar": tar_of({"readme": b"hi"}),
    "climbing path": tar_of({"../../etc/cron.d/x": b"", **docker_files()}),
    "absolute path": tar_of({"/etc/passwd": b"", **docker_files()}),
    "climbing link": tar_of(docker_files(), [link("x", "../../etc/passwd")]),
    "absolute link": tar_of(docker_files(), [link("x", "/etc/passwd")]),
    "climbing hard link": tar_of(docker_files(), [link("x", "../etc/passwd", tarfile.LNKTYPE)]),
    "device": tar_of(docker_files(), [device()]),
    "layer missing": tar_of(without("abc/layer.tar")),
    "config missing": tar_of(without(sha(CONFIG) + ".json")),
    "config of another digest": tar_of(config_that_lies()),
    "manifest no list": tar_of({**docker_files(), "manifest.json": b"{}"}),
    "manifest nonsense": tar_of({**docker_files(), "manifest.json": b'[{"Config": 5}]'}),
    "manifest too deep": tar_of({**docker_files(), "manifest.json": b"[" * 100_000}),
    "cut short": tar_of(docker_files())[:1500],
    "cut gzip": gzip.compress(tar_of(docker_files()))[:-40],
    "zstd": b"\x28\xb5\x2f\xfd" + b"\0" * 100,
    "many members": tar_of({f"f{number}": b"" for number in range(20_001)}),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused(case: str) -> None:
    with pytest.raises(NotAnImageArchive):
        inspect_archive(io.BytesIO(HOSTILE[case]), len(HOSTILE[case]))


def test_links_that_stay_inside_are_fine() -> None:
    # As older engines write layers that two images share.
    files = docker_files()
    name = sha(CONFIG) + ".json"
    files["manifest.json"] = json.dumps([{"Config": name, "Layers": ["def/layer.tar"]}]).encode()
    data = tar_of(files, [link("def/layer.tar", "../abc/layer.tar")])
    assert inspect_archive(io.BytesIO(data), len(data)).image_ids == (f"sha256:{sha(CONFIG)}",)


def test_bombs_cost_little_memory(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb"
    huge = tarfile.TarInfo("zeros")
    huge.size = 1 << 40
    with gzip.open(bomb, "wb", compresslevel=1) as out:
        out.write(huge.tobuf())
        for _ in range(300):
            out.write(b"\0" * 1_000_000)
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.XHDTYPE, 1 << 33
    sparse = tmp_path / "sparse"
    sparse.write_bytes(header.tobuf())
    os.truncate(sparse, 1 << 33)
    tracemalloc.start()
    for path in (bomb, sparse):
        with path.open("rb") as file, pytest.raises(NotAnImageArchive):
            inspect_archive(file, path.stat().st_size)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.fixture
def server(store: FolderArtifacts) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            digest = self.path.split("/")[4]
            try:
                data = store.path(digest).read_bytes()
            except Problem:
                self.send_error(404)
                return
            if self.headers["Authorization"] != "Bearer tg_right":
                self.send_error(401)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: object) -> None:
            return

    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{service.server_port}", asked
    service.shutdown()
    service.server_close()


def test_what_was_put_again_meanwhile_is_not_removed_on_the_word_of_before(store: FolderArtifacts) -> None:
    data = tar_of(docker_files())
    digest = store.put(io.BytesIO(data), None, LIMIT).digest
    assert store.delete(digest, idle_seconds=60) == 0
    os.utime(store.path(digest), (1, 1))
    assert not store.put(io.BytesIO(data), None, LIMIT).is_new
    assert store.delete(digest, idle_seconds=60) == 0
    os.utime(store.path(digest), (1, 1))
    assert store.delete(digest, idle_seconds=60) == len(data)
    assert list(store.digests()) == []


def test_a_worker_elsewhere_fetches_what_it_lacks_once(
    store: FolderArtifacts, server: tuple[str, list[str]], tmp_path: Path
) -> None:
    data = tar_of(docker_files())
    digest = store.put(io.BytesIO(data), None, LIMIT).digest
    url, asked = server
    remote = HttpArtifacts(url, "tg_right", tmp_path / "cache")
    threads = [threading.Thread(target=remote.path, args=(digest,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert remote.path(digest).read_bytes() == data
    assert asked == [f"/api/v1/artifacts/{digest}/content"]


def test_a_worker_elsewhere_keeps_what_it_used_last(
    store: FolderArtifacts, server: tuple[str, list[str]], tmp_path: Path
) -> None:
    sent = [tar_of(docker_files(f"shop:{number}")) for number in range(4)]
    old, older, recent, new = (store.put(io.BytesIO(data), None, LIMIT).digest for data in sent)
    cached = FolderArtifacts(tmp_path / "cache")
    remote = HttpArtifacts(server[0], "tg_right", tmp_path / "cache", cache_bytes=2 * len(sent[0]))
    for digest in (old, older, recent):
        remote.path(digest)
    assert sorted(remote.digests()) == sorted([old, older, recent]), "a run may use them still"
    for age, digest in ((8, old), (9, older), (7, recent)):
        os.utime(cached.path(digest), (time.time() - 3600 * age,) * 2)
    remote.path(older)
    remote.path(new)
    assert sorted(remote.digests()) == sorted([older, new])


def test_a_worker_elsewhere_keeps_nothing_false(
    store: FolderArtifacts, server: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, _ = server
    digest = store.put(io.BytesIO(tar_of(docker_files())), None, LIMIT).digest
    other = tar_of(docker_files("shop:other"))
    store.path(digest).write_bytes(other)
    remote = HttpArtifacts(url, "tg_right", tmp_path / "cache")
    with pytest.raises(Problem, match="artifact_checksum_mismatch"):
        remote.path(digest)
    for wrong in (
        lambda: remote.path("sha256:" + "0" * 64),
        lambda: HttpArtifacts(url, "tg_wrong", tmp_path / "cache").path(digest),
        lambda: HttpArtifacts("http://127.0.0.1:1", "tg_right", tmp_path / "cache").path(digest),
    ):
        with pytest.raises(Problem, match="artifact_missing"):
            wrong()
    assert files_in(tmp_path / "cache") == []


def put(store: FolderArtifacts) -> str:
    """Put one archive; return its digest."""
    return store.put(io.BytesIO(tar_of(docker_files())), None, LIMIT).digest


def test_puts_and_removals_at_once_end_with_what_was_put_last(store: FolderArtifacts) -> None:
    digest = put(store)
    place = store.path(digest)
    faults: list[Exception] = []

    def put_again() -> None:
        try:
            for _round in range(200):
                put(store)
        except Exception as fault:
            faults.append(fault)

    def remove() -> None:
        try:
            for _round in range(1000):
                with contextlib.suppress(FileNotFoundError):
                    os.utime(place, (0, 0))
                store.delete(digest, 60)
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work) for work in (put_again, remove, remove)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    put(store)
    assert store.delete(digest, 60) == 0 and place.exists()
    assert not list(place.parent.glob("*.going"))


def test_nobody_who_holds_the_folder_holds_up_a_push(store: FolderArtifacts) -> None:
    handle = os.open(store._kept, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert store.delete(put(store)) > 0
    finally:
        os.close(handle)


def test_what_a_killed_removal_put_aside_is_put_back(store: FolderArtifacts) -> None:
    place = store.path(put(store))
    place.rename(place.with_name(place.name + ".0.going"))
    store.remove_leftovers()
    assert place.exists() and not list(place.parent.glob("*.going"))
