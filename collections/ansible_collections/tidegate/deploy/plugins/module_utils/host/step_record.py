# SPDX-License-Identifier: Apache-2.0
"""What a module says of the steps it took, as the data that timelines are made of."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

_RFC3339 = "%Y-%m-%dT%H:%M:%S.%fZ"
TAIL = 2000
DOMAINS = {
    "validation_error": "preflight",
    "preflight_failed": "preflight",
    "storage_full": "preflight",
    "artifact_missing": "integrity",
    "artifact_checksum_mismatch": "integrity",
    "artifact_unlisted": "integrity",
    "artifact_version_unsupported": "integrity",
    "bundle_index_missing": "integrity",
    "bundle_index_invalid": "integrity",
    "bundle_signature_invalid": "integrity",
    "hook_missing": "integrity",
    "preview_stale": "policy",
    "resource_locked": "policy",
    "ssh_unreachable": "connection",
    "ssh_auth_failed": "auth",
    "compose_unhealthy": "health",
    "compose_up_failed": "runtime",
}


def step(name: str, status: str, started: float, output: str = "", **detail: Any) -> dict[str, Any]:
    """One step. `status` is succeeded, failed or unchanged; `started` is seconds since the epoch."""
    return {
        "step": name,
        "status": status,
        "started_at": datetime.fromtimestamp(started, timezone.utc).strftime(_RFC3339),  # noqa: UP017 (3.9 has no UTC)
        "duration_ms": int((time.time() - started) * 1000),
        "exit_code": 1 if status == "failed" else 0,
        "stdout_tail": "",
        "stderr_tail": tail(output),
        "detail": detail,
    }


def tail(text: str) -> str:
    """The last lines of an output. A secret that is cut in two would not be known for one."""
    if len(text) <= TAIL:
        return text
    first, newline, rest = text[-TAIL:].partition("\n")
    return rest if newline else first


def done(host: str, changed: bool, steps: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The value of the result's `tidegate` key when all went well."""
    return {"schema": "tidegate.step/v1", "host": host, "changed": changed, "steps": steps, **more}


def failure(
    host: str, error_key: str, message: str, hint: str, steps: list[dict[str, Any]]
) -> dict[str, Any]:
    """The value of the result's `tidegate` key on failure; the last failed step is the one that is blamed."""
    blamed = next((one for one in reversed(steps) if one["status"] == "failed"), None)
    domain = DOMAINS.get(error_key, "runtime")
    return {
        "schema": "tidegate.step/v1",
        "host": host,
        "changed": any(one["status"] == "succeeded" for one in steps),
        "error_key": error_key,
        "failure_domain": domain,
        "hint": hint,
        "steps": steps,
        "diagnostics": {
            "summary": message,
            "stage": blamed["step"] if blamed else "preflight",
            "error_key": error_key,
            "failure_domain": domain,
            "hosts": [
                {
                    "host": host,
                    "step": blamed["step"] if blamed else "preflight",
                    "exit_code": blamed["exit_code"] if blamed else None,
                    "stdout_tail": "",
                    "stderr_tail": (blamed["stderr_tail"] if blamed else "") or message,
                }
            ],
            "objects": [],
            "hints": [hint] if hint else [],
        },
    }
