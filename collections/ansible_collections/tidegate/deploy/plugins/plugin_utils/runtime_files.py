# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings and units of the container engine, out of a bundle's templates."""

from __future__ import annotations

from typing import Any

from ansible_collections.tidegate.deploy.plugins.plugin_utils import bundle_template

FILES = {
    "/etc/containerd/config.toml": "templates/compose/config.toml.j2",
    "/etc/docker/daemon.json": "templates/compose/daemon.json.j2",
}
UNITS = {
    "containerd.service": "templates/compose/containerd.service.j2",
    "docker.service": "templates/compose/docker.service.j2",
}


def of(bundle: dict[str, Any], inputs: dict[str, Any]) -> dict[str, dict[str, str]]:
    """`files` (path on the host -> text) and `units` (name -> text). Raises ReleaseError."""
    values = {**inputs, "container_runtime_bin": "/usr/local/bin"}
    return {
        "files": {path: bundle_template.render(bundle, name, values) for path, name in FILES.items()},
        "units": {unit: bundle_template.render(bundle, name, values) for unit, name in UNITS.items()},
    }
