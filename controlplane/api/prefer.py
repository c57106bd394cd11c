# SPDX-License-Identifier: Apache-2.0
"""The header Prefer (RFC 7240): how long a caller waits for a preview."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flask import request

PREVIEW_WAIT_SECONDS = 30
PREFER = {
    "in": "header",
    "name": "Prefer",
    "required": False,
    "schema": {"type": "string", "maxLength": 200},
    "description": "`wait=N`: answer after N seconds at most, be there a preview or not (30 unless told).",
    "example": "wait=30",
}
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,4})(?:$|[,;\s])")


@dataclass(frozen=True)
class Wait:
    """How long to wait, and the headers that say whether that was asked for."""

    seconds: int
    headers: dict[str, str]


def asked_wait() -> Wait:
    """Return how long the caller of this request waits for a preview."""
    found = _WAIT.search(request.headers.get("Prefer", ""))
    if not found:
        return Wait(PREVIEW_WAIT_SECONDS, {})
    return Wait(int(found[1]), {"Preference-Applied": f"wait={int(found[1])}"})
