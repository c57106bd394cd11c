# SPDX-License-Identifier: Apache-2.0
"""What of secrets is to be taken out of what an application says: each way in which it may tell them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote

# A shorter line, or text, is likely to be another word.
_SHORTEST_LINE = 8
_SHORTEST_TEXT = 4


def lines(secrets: Iterable[str]) -> set[str]:
    """The lines of secrets that have several: a log is told line by line."""
    found = (line.strip() for text in secrets for line in text.splitlines())
    return {line for line in found if len(line) >= _SHORTEST_LINE}


def spellings(secrets: Iterable[str]) -> set[str]:
    """Secrets as they are, as JSON writes them, and as a URL does."""
    found = {spelling for text in secrets for spelling in _spellings(text)}
    return {spelling for spelling in found if len(spelling) >= _SHORTEST_TEXT}


def _spellings(text: str) -> tuple[str, ...]:
    as_json = (json.dumps(text, ensure_ascii=only_ascii)[1:-1] for only_ascii in (True, False))
    return (text, quote(text, safe=""), *as_json)
