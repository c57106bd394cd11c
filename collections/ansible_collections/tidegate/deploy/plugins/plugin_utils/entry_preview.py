# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""One host's preview of the network entry, and the comparison of a later one with it."""

from __future__ import annotations

import difflib
import hashlib
import json
import time
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import checks
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

_CONFIG = "keepalived.conf"


def document(host: str, answer: dict[str, Any], artifacts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The preview, `tidegate.preview/v1`, from what the host's module answered; the programs are bound with it."""
    parts = {**answer["parts"], "programs": _digest({name: one["sha256"] for name, one in artifacts.items()})}
    found = [*answer["checks"], *checks.clock_skew(answer["clock"], time.time())]
    before, after = answer["before"], answer["after"]
    action = "none" if before == after else "add" if not before else "change" if after else "remove"
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        f"before/{_CONFIG}",
        f"after/{_CONFIG}",
    )
    return {
        "schema": "tidegate.preview/v1",
        "host": host,
        "runtime_type": "network_entry",
        "shown": after,
        "files": [
            {"path": _CONFIG, "action": action, "before": before, "after": after, "diff": "".join(lines)}
        ],
        "entry": answer["entry"],
        "checks": [{**one, "host": host} for one in found],
        "rollback": answer["rollback"],
        "fingerprint_parts": parts,
        "fingerprint": fingerprint(parts),
    }


def without(host: str, said: str) -> dict[str, Any]:
    """The preview of a node that cannot be reached, and without which an apply goes on."""
    check = {
        "level": "warning",
        "code": "ssh_unreachable",
        "reason": "node_unreachable",
        "message": f"{host} cannot be reached, and would not be led to the VIP: {said}",
        "hint": "It works on without the VIP; apply the entry again when it answers.",
        "host": host,
    }
    return {
        "schema": "tidegate.preview/v1",
        "host": host,
        "runtime_type": "network_entry",
        "not_led": True,
        "files": [],
        "checks": [check],
    }


def fingerprint(parts: dict[str, str]) -> str:
    """One digest for all parts."""
    return _digest(parts)


def _digest(value: dict[str, str]) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def compare(spec: dict[str, Any], host: str, found: dict[str, Any], is_own_work: bool) -> None:
    """Raises ReleaseError for what stands in the way of an apply: a moved host, or the first blocking check."""
    compare_fingerprint(spec, host, found, is_own_work)
    blocking = [one for one in found["checks"] if one["level"] == "blocking"]
    if blocking:
        first = blocking[0]
        raise ReleaseError(
            first["code"], first["message"], first["hint"], reason=first["reason"], checks=blocking
        )


def compare_fingerprint(spec: dict[str, Any], host: str, found: dict[str, Any], is_own_work: bool) -> None:
    """Raises ReleaseError `preview_stale` for a host that moved since its preview."""
    expect = spec.get("expect") or {}
    known = (expect.get("fingerprints") or {}).get(host)
    # What moved on a host where this very operation was begun is its own work.
    if expect.get("compare_fingerprint") and known != found["fingerprint"] and not is_own_work:
        parts = (expect.get("fingerprint_parts") or {}).get(host) or {}
        now = found["fingerprint_parts"]
        moved = sorted(name for name in {*parts, *now} if parts.get(name) != now.get(name))
        raise ReleaseError(
            "preview_stale",
            "the host changed since the preview: " + ", ".join(moved),
            "Preview again.",
            moved=moved,
        )
