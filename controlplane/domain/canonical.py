# SPDX-License-Identifier: Apache-2.0
"""One text for one value, so that a digest over it means something."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spare space.

    Raises:
        ValueError: NaN or infinity, which have no JSON.
        TypeError: what has no JSON.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Return `sha256:` and the hex digest of the canonical JSON."""
    text = canonical_json(value).encode("utf-8", "surrogatepass")
    return "sha256:" + hashlib.sha256(text).hexdigest()
