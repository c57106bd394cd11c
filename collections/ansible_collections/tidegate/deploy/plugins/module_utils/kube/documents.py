# SPDX-License-Identifier: Apache-2.0
"""Many YAML documents become objects, one after another, so that a large set needs little memory.

Scalars are read as kubectl reads them (`0644` is octal, `yes` is true). A real parser finds the ends of documents:
`---` inside a string is part of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

try:
    import yaml
except ImportError:  # hosts have none, and render nothing
    yaml = None  # type: ignore[assignment]

from ..release.errors import ReleaseError

MOST_BYTES = 8 * 1024 * 1024
MOST_DOCUMENT_NODES = 100_000
MOST_NODES = 600_000
MOST_DEPTH = 60
MOST_OBJECTS = 2000
_TAG = "tag:yaml.org,2002:"
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_INT = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class _Builder:
    """Objects straight from the parser's events: nesting is counted before anything is built of it."""

    def __init__(self, text: str) -> None:
        self._loader = yaml.CLoader(text)
        self._left = MOST_NODES
        self._here = 0
        # What each anchor stands for, and how many nodes that is; 0 while it is still being read.
        self._anchors: dict[str, tuple[Any, int]] = {}

    def documents(self) -> Iterator[Any]:
        """One document after another; raises ReleaseError manifest_invalid, or what the parser raises."""
        try:
            while not isinstance(event := self._loader.get_event(), yaml.StreamEndEvent):
                if isinstance(event, yaml.DocumentStartEvent):
                    self._anchors, self._here = {}, 0
                    yield self._node(self._loader.get_event(), 0)
        finally:
            self._loader.dispose()

    def _node(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            value, count = self._anchors.get(event.anchor, (None, 0))
            if not count:
                raise invalid(
                    f"the aliases of line {event.start_mark.line + 1} stand for nothing, or for themselves"
                )
            self._count(count, depth)
            return value
        self._count(1, depth)
        before = self._here
        if event.anchor:
            self._anchors[event.anchor] = (None, 0)
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            _require_tag(event, "seq")
            value = []
            while not isinstance(inner := self._loader.get_event(), yaml.SequenceEndEvent):
                value.append(self._node(inner, depth + 1))
        else:
            _require_tag(event, "map")
            value = self._mapping(event, depth)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._here - before + 1)
        return value

    def _mapping(self, start: Any, depth: int) -> Any:
        found: dict[str, Any] = {}
        merged: list[Any] = []
        bare = None
        while not isinstance(event := self._loader.get_event(), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            if isinstance(event, yaml.ScalarEvent) and not event.anchor:
                key = event.value
                is_merge = key == "<<" and event.implicit[0]
            else:
                # `{{ name }}` without quotes is a mapping in a mapping to YAML.
                key, is_merge = self._node(event, depth + 1), False
                if not (
                    start.flow_style and isinstance(key, dict) and list(key.values()) == [None] and not found
                ):
                    raise invalid(f"a key is no word in line {line}")
                bare, key = next(iter(key)), ""
            value = self._node(self._loader.get_event(), depth + 1)
            if is_merge:
                merged += value if isinstance(value, list) else [value]
            elif key in found:
                raise invalid(f"{key[:100]} is there twice in line {line}")
            else:
                found[key] = value
        if bare is not None:
            if found != {"": None}:
                raise invalid(f"a key is no word in line {start.start_mark.line + 1}")
            return "{{ %s }}" % bare
        for one in merged:
            if not isinstance(one, dict):
                raise invalid("only mappings can be merged")
            found = {**one, **found}
        return found

    def _count(self, nodes: int, depth: int) -> None:
        self._here += nodes
        self._left -= nodes
        if self._left < 0 or self._here > MOST_DOCUMENT_NODES:
            raise invalid("with its aliases followed it has too many nodes")
        if depth > MOST_DEPTH:
            raise invalid(f"it has more than {MOST_DEPTH} levels")


def _require_tag(event: Any, kind: str) -> None:
    if event.tag not in (None, "!", _TAG + kind):
        raise invalid(f"the tag {str(event.tag)[:100].replace(_TAG, '!!')} is not understood")


def _scalar(event: Any) -> Any:
    text, tag = event.value, event.tag
    if tag in ("!", _TAG + "str") or (tag is None and not event.implicit[0]):
        return text
    if tag is None:
        return _plain(text, event.start_mark.line + 1)
    value = _plain(text, event.start_mark.line + 1)
    kinds = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
    if tag.startswith(_TAG) and isinstance(value, kinds.get(tag[len(_TAG) :], ())):
        return value
    raise invalid(f"the tag {tag[:100].replace(_TAG, '!!')} is not understood")


def _plain(text: str, line: int) -> Any:
    """A scalar without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-+.0123456789":
        return text
    if _INT.fullmatch(text):
        digits = text.lstrip("+-").replace("_", "")
        sign = -1 if text.startswith("-") else 1
        if re.fullmatch(r"0[0-7]+", digits):
            return sign * int(digits, 8)
        return sign * int(digits, 0)
    if re.fullmatch(r"[-+]?[0-9]{1,18}", text):
        return int(text)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isfinite(value):
            return value
    if _NO_NUMBER.fullmatch(text) or _FLOAT.fullmatch(text):
        raise invalid(f"{text[:100]} in line {line} is no number")
    return text


def read(text: str) -> list[dict[str, Any]]:
    """The objects of many documents, lists of kind `List` unpacked, in order; raises ReleaseError manifest_invalid."""
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise invalid(f"they are larger than {MOST_BYTES} bytes")
    objects: list[dict[str, Any]] = []
    try:
        for number, document in enumerate(_Builder(text).documents(), start=1):
            if document is None:
                continue
            objects += _unpacked(document, f"document {number}")
            if len(objects) > MOST_OBJECTS:
                raise invalid(f"there are more than {MOST_OBJECTS} objects")
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, UnicodeError) as error:
        raise invalid(f"no YAML: {' '.join(str(error).split())[:500]}") from error
    if not objects:
        raise invalid("there is no object in them")
    return objects


def plain(text: str, name: str) -> Any:
    """The one document of a file that is no manifest; raises ReleaseError manifest_invalid."""
    try:
        found = list(_Builder(text).documents())
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, UnicodeError) as error:
        raise invalid(f"{name} is no YAML: {' '.join(str(error).split())[:500]}") from error
    if len(found) != 1:
        raise invalid(f"{name} is not one document")
    return found[0]


def invalid(why: str, **detail: Any) -> ReleaseError:
    """The error for manifests that cannot be."""
    return ReleaseError(
        "manifest_invalid", f"the manifests cannot be used: {why}", "Correct the manifests.", **detail
    )


def _unpacked(document: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(document, dict):
        raise invalid(f"{where} is not a mapping")
    if document.get("kind") == "List" and document.get("apiVersion") == "v1":
        items = document.get("items")
        if not isinstance(items, list):
            raise invalid(f"{where} is a List without items")
        return [
            one for index, item in enumerate(items) for one in _unpacked(item, f"{where} item {index + 1}")
        ]
    _require_object(document, where)
    return [document]


def _require_object(document: dict[str, Any], where: str) -> None:
    for name in ("apiVersion", "kind"):
        if not isinstance(document.get(name), str) or not document[name]:
            raise invalid(f"{where} has no {name}")
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        raise invalid(f"{where}, a {document['kind'][:100]}, has no metadata.name", field="metadata.name")
