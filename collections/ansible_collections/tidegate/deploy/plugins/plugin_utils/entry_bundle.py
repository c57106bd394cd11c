# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""keepalived and ipvsadm in the bundle on the controller: found by the index, held to its sums and their signature."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.bundle import fault, inspection, signature
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry.parameters import Entry
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

_FEATURE = "lvs_vip"


def artifacts(spec: Mapping[str, Any], entry: Entry) -> dict[str, dict[str, Any]]:
    """Program name -> {"sha256", "type", "file": path on the controller} of the feature's artifacts.

    Of the spec `bundle_dir` is read, and `bundle_trusted_keys`: where there is one, it must have signed the bundle.

    Raises ReleaseError: bundle_index_missing, bundle_index_invalid, bundle_signature_invalid, artifact_missing,
    artifact_checksum_mismatch.
    """
    bundle_dir = spec.get("bundle_dir")
    if not isinstance(bundle_dir, str) or not bundle_dir:
        raise ReleaseError(
            "bundle_index_missing", "bundle_dir: no bundle is named", "Name the bundle's folder."
        )
    found = inspection.listed(bundle_dir, signature.trusted_keys(spec.get("bundle_trusted_keys") or []))
    if found.faults or found.index is None:
        raise ReleaseError(
            found.faults[0].key, fault.summary(found.faults), "See `tidegate bundle verify`; fetch or lock it again.",
            faults=[one.document() for one in found.faults],
        )  # fmt: skip
    named = found.index.get("features", {}).get(_FEATURE, {}).get("artifacts", [])
    listed = {one["id"]: one for one in found.index["artifacts"]}
    needed = ["keepalived"] + (["ipvsadm"] if entry.balancer == "ipvs" else [])
    absent = [name for name in needed if name not in named or name not in listed]
    if absent:
        raise ReleaseError(
            "artifact_missing", f"the bundle's feature {_FEATURE} has no artifact {', '.join(absent)}",
            "Use a bundle that can make a network entry.",
        )  # fmt: skip
    return {name: _checked(Path(bundle_dir), name, listed[name], found.sums) for name in needed}


def _checked(folder: Path, name: str, one: Mapping[str, Any], sums: Mapping[str, str]) -> dict[str, Any]:
    file = folder / one["path"]
    if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
        raise ReleaseError("artifact_missing", f"{name}: {one['path']} is not in the bundle", "Fetch it.")
    with open(file, "rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    if {sha256} != {one.get("sha256"), sums.get(one["path"])}:
        raise ReleaseError(
            "artifact_checksum_mismatch",
            f"{name} is not what index and list of sums say",
            "Fetch the bundle again.",
        )
    return {"sha256": sha256, "type": one["type"], "file": str(file)}
