# SPDX-License-Identifier: Apache-2.0
"""Locking writes what is true of the files, keeps what people wrote, and refuses what no bundle may hold."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from ansible_collections.tidegate.deploy.plugins.module_utils.bundle import index, lock
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle.bundle_path import INDEX, SIGNATURE, SUMS

from .small_bundle import TOOL, make

TEXT = """\
artifacts:   # all of them
  - {id: flow, path: a/flow, type: binary}  # with a comment
  - id: block
    path: "a/block"  # quoted
    type: binary
  - {id: again, sha256: "old", size: 5, path: a/again}
  - {id: gone, path: a/gone}
"""


def test_sums_and_sizes_are_filled_in_and_all_else_stays() -> None:
    known = {
        f"a/{name}": {"sha256": n * 64, "size": int(n)}
        for name, n in (("flow", "1"), ("block", "2"), ("again", "3"))
    }
    filled = lock.filled_in(TEXT, known)
    assert filled == (
        "artifacts:   # all of them\n"
        f'  - {{id: flow, path: a/flow, sha256: "{"1" * 64}", size: 1, type: binary}}  # with a comment\n'
        "  - id: block\n"
        f'    path: "a/block"\n    sha256: "{"2" * 64}"\n    size: 2  # quoted\n'
        "    type: binary\n"
        f'  - {{id: again, sha256: "{"3" * 64}", size: 3, path: a/again}}\n'
        "  - {id: gone, path: a/gone}\n"
    )
    assert lock.filled_in(filled, known) == filled


def test_a_bundle_locked_again_stays_as_it_is(tmp_path: Path) -> None:
    bundle = make(tmp_path)
    document, faults = index.read((bundle / INDEX).read_bytes())
    assert document is not None and not faults
    tool = document["artifacts"][0]
    assert (tool["sha256"], tool["size"]) == (hashlib.sha256(b"a tool").hexdigest(), 6)
    before = (bundle / INDEX).stat().st_mtime_ns, (bundle / SUMS).stat().st_mtime_ns
    assert lock.lock(str(bundle))[1:] == (False, [])
    assert ((bundle / INDEX).stat().st_mtime_ns, (bundle / SUMS).stat().st_mtime_ns) == before
    # The list is one that anybody can check without Tidegate.
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=bundle, check=True)


def test_a_signature_that_no_longer_fits_is_removed(tmp_path: Path) -> None:
    bundle = make(tmp_path)
    (bundle / SIGNATURE).write_text("c2lnbmF0dXJl")
    lock.lock(str(bundle))
    assert (bundle / SIGNATURE).exists()
    (bundle / TOOL).write_text("new")
    assert lock.lock(str(bundle))[1]
    assert not (bundle / SIGNATURE).exists()


def test_what_no_bundle_may_hold_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    bundle = make(tmp_path, locked=False)
    (bundle / "bin/linux-amd64/link").symlink_to("/etc/passwd")
    (bundle / "bin/unnamed").write_text("x")
    (bundle / "hooks/look.sh").unlink()
    digest, changed, faults = lock.lock(str(bundle))
    assert (digest, changed) == ("", False)
    assert [one.key for one in faults] == ["artifact_unlisted", "artifact_unlisted", "hook_missing"]
    assert not (bundle / SUMS).exists()
