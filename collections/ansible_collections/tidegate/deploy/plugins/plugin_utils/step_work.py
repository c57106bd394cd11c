# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host is told of the steps of its install: the same for the preview, for the promise and for the deed."""

from __future__ import annotations

from typing import Any

from ansible_collections.tidegate.deploy.plugins.plugin_utils import runtime_files
from ansible_collections.tidegate.deploy.plugins.plugin_utils.cluster_work import ClusterWork


def of(
    bundle: dict[str, Any],
    spec: dict[str, Any],
    inputs: dict[str, Any],
    nodes: list[dict[str, Any]],
    host: str,
    artifacts: dict[str, Any],
) -> dict[str, Any]:
    """The work; `artifacts` as delivered, or as the bundle has them. Raises ReleaseError."""
    if spec.get("runtime_type") == "k8s":
        return ClusterWork(bundle, spec, inputs, nodes, host).document(artifacts)
    return {
        **runtime_files.of(bundle, inputs),
        "runtime": "compose",
        "artifacts": artifacts,
        "inputs": inputs,
    }
