# SPDX-License-Identifier: Apache-2.0
"""The one exception of this package; only the outermost function turns it into a task result."""

from __future__ import annotations

from typing import Any


class ReleaseError(Exception):
    """What went wrong: one of Tidegate's error keys, a sentence, and a hint that says what to do next."""

    def __init__(self, error_key: str, message: str, hint: str = "", **detail: Any) -> None:
        super().__init__(message)
        self.error_key = error_key
        self.hint = hint
        self.detail = detail
