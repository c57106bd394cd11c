# SPDX-License-Identifier: Apache-2.0
"""The checks that stand against a preview: from what went wrong while it was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.domain.diagnostics import DOMAIN_OF_KEY, Findings
from controlplane.domain.errors import ERRORS


def blocking(code: str, message: str, host: str | None, hint: str | None = None) -> dict[str, Any]:
    """Return a check that keeps a preview from getting its ref."""
    known = ERRORS.get(code)
    return {
        "level": "blocking",
        "code": code,
        "message": message,
        "hint": hint or (known.hint if known else ""),
        "host": host,
        "failure_domain": DOMAIN_OF_KEY.get(code, "internal"),
    }


def warning(code: str, message: str, hint: str = "") -> dict[str, Any]:
    """Return a check that keeps nothing from being done, and is to be read before it is."""
    return {"level": "warning", "code": code, "message": message, "hint": hint, "host": None}


def of_findings(findings: Findings, reached: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """Return one check for each host that was not reached, and for each that told of a failure.

    Args:
        reached: for each unreachable host, the error key and sentence that a probe found.
    """
    found = [blocking(key, said, host) for host, (key, said) in sorted(reached.items())]
    for host, data in sorted(findings.failures.items()):
        told = data.get("diagnostics")
        summary = told.get("summary") if isinstance(told, Mapping) else None
        said = data.get("msg") or summary or "the preview failed there"
        key = str(data.get("error_key") or "internal_error")
        found.append(blocking(key, str(said), host, data.get("hint")))
    return found
