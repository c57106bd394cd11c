# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Large files of a bundle held to their sums on the controller, each once in a run, however many hosts it is for."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable
from typing import Any

from ansible import constants
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle import bundle_path, fault, folder
from ansible_collections.tidegate.deploy.plugins.plugin_utils import bundle_source, hashed_files

# A file that was written to just now may be written to again within the same tick of the clock that stamps it.
SETTLED_NS = 2_000_000_000
_CTIME = 2


def require(known: dict[str, Any], paths: Iterable[str], afresh: bool = False) -> None:
    """Hash files of a bundle that was verified without them; what was hashed since this machine booted, and not
    touched since then, only when `afresh`.

    Raises ReleaseError artifact_checksum_mismatch when one is not what the bundle's list says.
    """
    wanted = sorted(paths)
    if not wanted:
        return
    found = _digests(known, wanted, afresh)
    faults = [
        fault.Fault("artifact_checksum_mismatch", path, f"is not what {bundle_path.SUMS} says")
        for path in wanted
        if found.get(path) != known["files"][path]["sha256"]
    ]
    if faults:
        raise bundle_source.faulty(faults)


def _digests(known: dict[str, Any], wanted: list[str], afresh: bool) -> dict[str, str]:
    """Path -> sha256. The hosts' processes take turns, and the later ones find what the first one hashed."""
    stamps = {path: known["files"][path]["stamp"] for path in wanted}
    stamped = {path: json.dumps([known["bundle_dir"], path, stamp]) for path, stamp in stamps.items()}
    # Ansible's folder of this run: it ends with it.
    memory = os.path.join(constants.DEFAULT_LOCAL_TMP, "tidegate-hashed.json")
    with open(memory, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        remembered: dict[str, str] = {
            **({} if afresh else hashed_files.recall()),
            **json.loads(file.read() or "{}"),
        }
        new = [path for path in wanted if stamped[path] not in remembered]
        begun = time.time_ns()
        hashed = folder.digests(known["bundle_dir"], new)
        # A file that was written to meanwhile is not known by the stamp that it had.
        bundle_source.unchanged(known)
        if hashed:
            sums = {stamped[path]: sha256 for path, (sha256, _size) in hashed.items()}
            remembered.update(sums)
            file.truncate(0)
            file.write(json.dumps(remembered))
            settled = [path for path in hashed if stamps[path][_CTIME] < begun - SETTLED_NS]
            hashed_files.keep({stamped[path]: sums[stamped[path]] for path in settled})
    return {path: remembered[stamped[path]] for path in wanted if stamped[path] in remembered}
