# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The images that a bundle brings for a cluster, by the names in its archives: no image is named elsewhere.

Docker archives and OCI archives, as `docker save`, `skopeo copy` and `ctr images export` write them.
"""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import dataclass
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.compose import registry
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

_API_SERVER, _ETCD, _PAUSE = "kube-apiserver", "etcd", "pause"
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_MOST_BYTES = 8 << 20


@dataclass(frozen=True)
class ClusterImages:
    """`by_artifact` has the references of each archive; `version` is that of the API server's image (`v1.36.2`).

    `etcd_tag` is that of the bundle's etcd, which kubeadm would name by its own choice otherwise.
    """

    by_artifact: dict[str, list[str]]
    repository: str
    version: str
    etcd_tag: str
    pause: str


def of(bundle: dict[str, Any]) -> ClusterImages:
    """Read the archives of a verified bundle. Raises ReleaseError artifact_missing for an image that must be there."""
    found = {
        name: references(os.path.join(bundle["bundle_dir"], one["path"]))
        for name, one in bundle["delivered"]["artifacts"].items()
        if one["type"] == "image"
    }
    everything = [one for names in found.values() for one in names]
    server = _named(everything, _API_SERVER)
    return ClusterImages(
        by_artifact=found,
        repository=server.rpartition("/")[0],
        version=server.rpartition(":")[2],
        etcd_tag=_named(everything, _ETCD).rpartition(":")[2],
        pause=_named(everything, _PAUSE),
    )


def references(path: str) -> list[str]:
    """The references in one archive, as containerd names them. Raises ReleaseError artifact_missing."""
    try:
        with tarfile.open(path) as archive:
            members = {name.removeprefix("./"): name for name in archive.getnames()}
            if "manifest.json" in members:
                entries = _json(archive, members["manifest.json"])
                names = [tag for entry in entries for tag in entry.get("RepoTags") or []]
            else:
                entries = _json(archive, members["index.json"])["manifests"]
                annotations = [entry.get("annotations") or {} for entry in entries]
                names = [next((one[name] for name in _NAMES if name in one), "") for one in annotations]
    except (OSError, tarfile.TarError, KeyError, ValueError, TypeError, AttributeError) as error:
        said = f"{path} is no image archive: {error}"
        raise ReleaseError("artifact_missing", said, "Take an archive of `docker save`.") from error
    return sorted({_full(name) for name in names if name})


def _full(reference: str) -> str:
    server = registry.server(reference)
    if reference.startswith(f"{server}/"):
        return reference
    return f"{server}/{reference}" if "/" in reference else f"{server}/library/{reference}"


def _json(archive: tarfile.TarFile, name: str) -> Any:
    content = archive.extractfile(name)
    assert content is not None
    return json.loads(content.read(_MOST_BYTES))


def _named(names: list[str], last: str) -> str:
    found = [one for one in names if one.rpartition(":")[0].rpartition("/")[2] == last]
    if len(found) != 1:
        raise ReleaseError(
            "artifact_missing",
            f"the bundle's archives hold {len(found)} images of the name {last}, expected one",
            "Put the images that `kubeadm config images list` names into them.",
        )
    return found[0]
