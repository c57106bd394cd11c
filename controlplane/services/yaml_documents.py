# SPDX-License-Identifier: Apache-2.0
"""YAML that somebody sends, read within bounds: events are counted before anything is built of them.

A real parser finds the ends of documents, so that `---` inside a string is part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset({"str", "null", "bool", "int", "float", "map", "seq"})
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]{1,3})?")


class NotTaken(ValueError):
    """It is no YAML, or more than the bounds let in. The message is for people and repeats no value."""


@dataclass(frozen=True)
class Bounds:
    """How much is let in: bytes of text, nodes with every alias written out, levels."""

    most_bytes: int
    most_nodes: int
    most_depth: int = 60
    allow_aliases: bool = True


def read(text: str, bounds: Bounds) -> Iterator[Any]:
    """Yield each document as plain values. A bare `{{ name }}` becomes the text `{{ name }}`.

    Raises:
        NotTaken: also half way through, for what a later document has.
    """
    if len(text.encode("utf-8", "surrogatepass")) > bounds.most_bytes:
        raise NotTaken(f"it is larger than {bounds.most_bytes} bytes")
    try:
        yield from _Reader(text, bounds).documents()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark is not None else ""
        raise NotTaken(f"it is no YAML{place}: {getattr(error, 'problem', None) or 'not readable'}") from None
    except (ValueError, UnicodeError, RecursionError) as error:
        raise NotTaken(str(error) if isinstance(error, NotTaken) else "it is no YAML") from None


class _Reader:
    def __init__(self, text: str, bounds: Bounds) -> None:
        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._loader = loader(text)
        self._bounds = bounds
        self._count = 0
        # What each anchor stands for and how many nodes that is; 0 while it is still being read.
        self._anchors: dict[str, tuple[Any, int]] = {}

    def documents(self) -> Iterator[Any]:
        try:
            while not isinstance(event := self._loader.get_event(), yaml.StreamEndEvent):
                if isinstance(event, yaml.DocumentStartEvent):
                    self._anchors = {}
                    yield self._node(self._loader.get_event(), 0)
        finally:
            self._loader.dispose()

    def _node(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._add(1)
        if depth > self._bounds.most_depth:
            raise NotTaken(f"it has more than {self._bounds.most_depth} levels")
        if event.anchor and not self._bounds.allow_aliases:
            raise NotTaken(f"anchors are not taken; there is one in line {_line(event)}")
        if event.tag not in (None, "!") and event.tag.removeprefix(_TAG) not in _PLAIN_TAGS:
            raise NotTaken(f"the tag in line {_line(event)} is not understood")
        before = self._count
        if event.anchor:
            self._anchors[event.anchor] = (None, 0)
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = []
            while not isinstance(inner := self._loader.get_event(), yaml.SequenceEndEvent):
                value.append(self._node(inner, depth + 1))
        else:
            value = self._mapping(event, depth)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._count - before + 1)
        return value

    def _alias(self, event: Any) -> Any:
        value, size = self._anchors.get(event.anchor, (None, 0))
        if not size or not self._bounds.allow_aliases:
            raise NotTaken(f"the alias in line {_line(event)} stands for nothing, or for itself")
        self._add(size)
        return value

    def _mapping(self, start: Any, depth: int) -> Any:
        found: dict[str, Any] = {}
        merged: list[Any] = []
        while not isinstance(event := self._loader.get_event(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                return self._bare(start, event, found, depth)
            key = event.value
            is_merge = key == "<<" and event.implicit[0]
            self._add(1)
            value = self._node(self._loader.get_event(), depth + 1)
            if is_merge:
                merged += value if isinstance(value, list) else [value]
            elif key in found:
                raise NotTaken(f"a key is there twice in line {_line(event)}")
            else:
                found[key] = value
        for one in merged:
            if not isinstance(one, dict):
                raise NotTaken("only mappings can be merged")
            found = {**one, **found}
        return found

    def _bare(self, start: Any, event: Any, found: dict[str, Any], depth: int) -> str:
        """Read a `{{ name }}` without quotes, which is a mapping within a mapping to YAML."""
        key = self._node(event, depth + 1)
        value = self._node(self._loader.get_event(), depth + 1)
        end = self._loader.get_event()
        is_bare = start.flow_style and not found and isinstance(end, yaml.MappingEndEvent)
        if not is_bare or value is not None or not isinstance(key, dict) or list(key.values()) != [None]:
            raise NotTaken(f"a key is no word in line {_line(event)}")
        return f"{{{{ {next(iter(key))} }}}}"

    def _add(self, nodes: int) -> None:
        self._count += nodes
        if self._count > self._bounds.most_nodes:
            raise NotTaken(f"with its aliases written out it has more than {self._bounds.most_nodes} nodes")


def _scalar(event: Any) -> Any:
    text, tag = event.value, event.tag
    if tag in ("!", _TAG + "str") or (tag is None and not event.implicit[0]):
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
