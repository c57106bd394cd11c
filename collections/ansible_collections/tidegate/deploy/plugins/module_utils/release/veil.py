# SPDX-License-Identifier: Apache-2.0
"""Secrets as their HMAC: the one way in which a secret value enters a digest, a diff or a fingerprint."""

from __future__ import annotations

import hmac
import json
from typing import Any


class Veil:
    """Shows values, and secrets only as an HMAC: `key` is bytes of the installation."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def digest(self, value: Any) -> str:
        """HMAC-SHA-256 of a value's JSON."""
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()

    def mask(self, value: Any) -> str:
        """What is shown in place of a secret."""
        return "hmac:" + self.digest(value)[:16]

    def key_of(self, host: str, project: str) -> bytes:
        """The key of one project on one host. The host may have it: it tells nothing of any other's."""
        return bytes.fromhex(self.digest(["fingerprint", host, project]))
