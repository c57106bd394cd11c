# SPDX-License-Identifier: Apache-2.0
"""What a bundle says that it goes together with, held against a host: its kernel, and the cluster that it is in."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional

from ..release.errors import ReleaseError
from . import checks, kubectl


def hold(known: Dict[str, Any], facts: Dict[str, Any], kubernetes: Optional[str]) -> List[Dict[str, Any]]:
    """What stands in the way, as `checks.hold` tells it.

    `known` is the index's `compatibility`; `kubernetes` the version that is to be installed, None where it is none.
    """
    oldest = str(known.get("kernel", "")).lstrip(">=")
    kernel = {
        "id": "compatibility", "kind": "kernel", "expect": {"at_least": oldest}, "severity": "blocking",
        "message": "The kernel is older than the bundle goes together with",
        "remediation": f"Install a kernel of {oldest} or newer, or use another bundle.",
    }  # fmt: skip
    failed = checks.hold([kernel], facts, {}, 0) if oldest else []
    if kubernetes and "k8s_skew" in known and kubectl.is_there():
        failed += _skew(int(known["k8s_skew"]), kubernetes)
    return failed


def _skew(most: int, wanted: str) -> List[Dict[str, Any]]:
    """The nodes of this host's cluster that are too many minor versions away."""
    try:
        versions = {one["name"]: one["version"] for one in kubectl.nodes()}
    except ReleaseError:
        # A cluster that does not answer is told of by the steps that need it, and may be what a retry mends.
        return []
    here = _minor(wanted)
    far = [f"{name} has {its}" for name, its in sorted(versions.items()) if _is_far(_minor(its), here, most)]
    if not far:
        return []
    message = f"The bundle's Kubernetes {wanted} is more than {most} minor versions away: {', '.join(far)}"
    return [
        {
            "level": "blocking",
            "code": "artifact_version_unsupported",
            "check": "compatibility",
            "message": message,
            "hint": "Use a bundle whose version is nearer to the cluster's.",
            "found": ", ".join(far),
        }
    ]


def _minor(version: str) -> Optional[List[int]]:
    match = re.match(r"v?(\d+)\.(\d+)", version)
    return [int(match[1]), int(match[2])] if match else None


def _is_far(there: Optional[List[int]], here: Optional[List[int]], most: int) -> bool:
    if there is None or here is None:
        return False
    return there[0] != here[0] or abs(there[1] - here[1]) > most
