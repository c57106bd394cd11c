# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""keepalived and ipvsadm in the bundle on the controller: found by the index, checked by their sums."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry.parameters import Entry
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

_FEATURE = "lvs_vip"


def artifacts(bundle_dir: Any, entry: Entry) -> dict[str, dict[str, Any]]:
    """Program name -> {"sha256", "type", "file": path on the controller} of the feature's artifacts.

    Raises ReleaseError: bundle_index_missing, bundle_index_invalid, artifact_missing, artifact_checksum_mismatch.
    """
    if not isinstance(bundle_dir, str) or not bundle_dir:
        raise ReleaseError(
            "bundle_index_missing", "bundle_dir: no bundle is named", "Name the bundle's folder."
        )
    folder = Path(bundle_dir)
    index = _index(folder / "manifests" / "index.yaml")
    needed = ["keepalived"] + (["ipvsadm"] if entry.balancer == "ipvs" else [])
    named = (index.get("features") or {}).get(_FEATURE, {}).get("artifacts") or []
    listed = {one.get("id"): one for one in index.get("artifacts") or [] if isinstance(one, dict)}
    found = {}
    for name in needed:
        one = listed.get(name)
        if name not in named or one is None:
            raise ReleaseError(
                "artifact_missing", f"the bundle's feature {_FEATURE} has no artifact {name}",
                "Use a bundle that can make a network entry.",
            )  # fmt: skip
        found[name] = _checked(folder, name, one)
    return found


def _index(path: Path) -> dict[str, Any]:
    try:
        index = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReleaseError(
            "bundle_index_missing", f"no index: {error}", "Name the bundle's folder."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ReleaseError(
            "bundle_index_invalid", f"the index is no YAML: {error}", "Fetch it again."
        ) from error
    if not isinstance(index, dict):
        raise ReleaseError("bundle_index_invalid", "the index is no mapping", "Fetch the bundle again.")
    return index


def _checked(folder: Path, name: str, one: dict[str, Any]) -> dict[str, Any]:
    file = folder / str(one.get("path"))
    if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
        raise ReleaseError("artifact_missing", f"{name}: {one.get('path')} is not in the bundle", "Fetch it.")
    with open(file, "rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    if sha256 != one.get("sha256"):
        raise ReleaseError(
            "artifact_checksum_mismatch", f"{name} is not what the index says", "Fetch the bundle again."
        )
    return {"sha256": sha256, "type": str(one.get("type", "archive")), "file": str(file)}
