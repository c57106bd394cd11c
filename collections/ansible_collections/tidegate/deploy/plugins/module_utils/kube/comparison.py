# SPDX-License-Identifier: Apache-2.0
"""Two states of an object, field by field, with secrets masked on both sides. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..release import redaction
from ..release.veil import Veil
from . import kinds, ownership
from .manifests import Manifests, decoded, value_at

MOST_CHANGES = 200
_MOST_TEXT = 2000
# The server's own business, and ours: no change that anybody asked for.
_SKIPPED = {
    ("metadata", name)
    for name in ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink",
                 "deletionTimestamp", "deletionGracePeriodSeconds")
} | {
    ("status",),
    ("metadata", "labels", ownership.RELEASE),
    ("metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"),
    ("metadata", "annotations", "deployment.kubernetes.io/revision"),
}  # fmt: skip
_MAPS = (("metadata", "labels"), ("metadata", "annotations"))
_LOOKS_SECRET = re.compile(r"PASS|SECRET|TOKEN|CREDENTIAL|PRIVATE|API_?KEY", re.IGNORECASE)
_SECRET_FIELDS = re.compile(r"(?:data|stringData)(?:\..*)?$", re.DOTALL)


def changes(
    before: Mapping[str, Any], after: Mapping[str, Any], hidden: Iterable[str], veil: Veil
) -> list[dict[str, Any]]:
    """What differs, as rows of path, before and after; `hidden` are paths, as `path_text` writes them."""
    hides = tuple(hidden)
    is_secret = after.get("kind", before.get("kind")) == "Secret"
    rows = []
    for path, old, new in _differing(before, after, ()):
        where = path_text(path)
        if is_secret and _SECRET_FIELDS.match(where) or _is_hidden(where, hides) or _names_secret(path):
            old, new = (None if one is None else veil.mask(one) for one in (old, new))
        else:
            old, new = (_veiled(one, path, lambda _: False, veil) for one in (old, new))
        rows.append({"path": where, "before": _short(old), "after": _short(new)})
        if len(rows) >= MOST_CHANGES:
            break
    return rows


def is_same(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Would applying leave the object as it is: what it is, and who owns its fields?"""
    return next(_differing(before, after, ()), None) is None and _owners(before) == _owners(after)


def hidden_paths(manifests: Manifests) -> dict[int, list[str]]:
    """For each object by index, where a secret variable is part of it: with names in place of list indices."""
    found: dict[int, list[str]] = {}
    for index, *path in manifests.secrets:
        thing = manifests.objects[int(index)]
        found.setdefault(int(index), []).append(path_text(_keyed(thing, path)))
    return found


def secret_texts(manifests: Manifests) -> set[str]:
    """The texts that must be shown nowhere: secret variables also by line, and as JSON and URLs have them."""
    texts = {str(value_at(manifests.objects[int(index)], path)) for index, *path in manifests.secrets}
    texts = redaction.spellings(texts | redaction.lines(manifests.texts) | {*manifests.texts})
    for thing in manifests.objects:
        texts |= texts_of_secret(thing)
    return {text for text in texts if len(text) >= 4}


def texts_of_secret(thing: Mapping[str, Any]) -> set[str]:
    """The values of a Secret, as they are in it and decoded; empty for other kinds."""
    if thing.get("kind") != "Secret":
        return set()
    texts = {str(value) for value in (thing.get("stringData") or {}).values()}
    for value in (thing.get("data") or {}).values():
        texts |= {str(value), decoded(value) or ""}
    return {text for text in texts if len(text) >= 4}


def shown(thing: Mapping[str, Any], hidden: Iterable[str], veil: Veil) -> dict[str, Any]:
    """An object for people's eyes."""
    hides = tuple(hidden)

    is_secret = thing.get("kind") == "Secret"

    def conceals(path: tuple[str, ...]) -> bool:
        is_value = is_secret and len(path) == 2 and path[0] in ("data", "stringData")
        return is_value or bool(hides) and path_text(path) in hides

    return dict(_veiled(dict(thing), (), conceals, veil))


def path_text(path: Sequence[str | int]) -> str:
    """A path as it is told: `spec.template.spec.containers[web].image`."""
    text = ""
    for part in path:
        part = str(part)
        text += part if part.startswith("[") and part.endswith("]") or not text else f".{part}"
    return text


def risk_facts(
    rows: Sequence[Mapping[str, Any]],
    objects: Iterable[Mapping[str, Any]],
    images: Sequence[Mapping[str, Any]],
) -> set[str]:
    """What makes a release risky, as words the policy knows. `rows` are {name, kind, action, changes}."""
    found = set()
    for row in rows:
        if row["action"] == "remove":
            found.add("deletes")
        if row["kind"] in kinds.STATEFUL and row["action"] in ("change", "remove"):
            found.add("stateful_change")
        for change in row["changes"]:
            before, after = change["before"], change["after"]
            if change["path"] == "spec.replicas" and isinstance(before, int) and (after or 0) < before:
                found.add("replica_loss")
    if any(not image["pinned"] for image in images):
        found.add("image_unpinned")
    if any(_is_privileged(thing) for thing in objects):
        found.add("privileged")
    return found


def _is_privileged(thing: Mapping[str, Any]) -> bool:
    if thing["kind"] in ("ClusterRole", "ClusterRoleBinding"):
        return True
    spec = kinds.pod_spec(thing)
    if spec is None:
        return False
    if any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        return True
    if any(isinstance(one, Mapping) and one.get("hostPath") for one in spec.get("volumes") or []):
        return True
    for one in kinds.containers(spec):
        context = one.get("securityContext") or {}
        if context.get("privileged") or context.get("allowPrivilegeEscalation"):
            return True
        if (context.get("capabilities") or {}).get("add"):
            return True
    return False


def _differing(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if path in _SKIPPED or before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            yield from _differing(before.get(key), after.get(key), (*path, str(key)))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _differing_lists(before, after, path)
    elif before is None and isinstance(after, Mapping) and path in _MAPS:
        yield from _differing({}, after, path)
    else:
        yield path, before, after


def _differing_lists(
    before: list[Any], after: list[Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if not (_has_names(before) and _has_names(after)):
        # A variable that is there twice is told with its name, which says whether its value is shown.
        if len(before) != len(after) or path[-1:] == ("env",):
            yield path, before, after
            return
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differing(old, new, (*path, f"[{index}]"))
        return
    old_by, new_by = ({one["name"]: one for one in each} for each in (before, after))
    for name in sorted({*old_by, *new_by}):
        yield from _differing(old_by.get(name), new_by.get(name), (*path, f"[{name}]"))
    if list(old_by) != list(new_by) and set(old_by) == set(new_by):
        yield (*path, "(order)"), list(old_by), list(new_by)


def _has_names(items: list[Any]) -> bool:
    names = [one.get("name") for one in items if isinstance(one, Mapping)]
    return len(names) == len(items) == len(set(map(str, names))) and all(
        isinstance(name, str) for name in names
    )


def _steps(items: list[Any]) -> list[str]:
    return (
        [f"[{one['name']}]" for one in items] if _has_names(items) else [f"[{n}]" for n in range(len(items))]
    )


def _keyed(thing: Mapping[str, Any], path: Sequence[str | int]) -> tuple[str, ...]:
    node: Any = thing
    found = []
    for part in path:
        found.append(_steps(node)[part] if isinstance(part, int) else part)
        node = node[part]
    return tuple(found)


def _is_hidden(where: str, hides: tuple[str, ...]) -> bool:
    """Is the place a hidden one, inside one, or around one?"""
    return any(
        where == one or where.startswith((one + ".", one + "[")) or one.startswith((where + ".", where + "["))
        for one in hides
    )


def _names_secret(path: tuple[str, ...]) -> bool:
    """Is it the value of a variable whose name looks secret?"""
    return path[-3:-2] == ("env",) and path[-1] == "value" and _LOOKS_SECRET.search(path[-2]) is not None


def _veiled(node: Any, path: tuple[str, ...], conceals: Callable[[tuple[str, ...]], bool], veil: Veil) -> Any:
    """What is at a path, masked where `conceals` says so and where the name of a variable looks secret."""
    if conceals(path):
        return veil.mask(node)
    if isinstance(node, Mapping):
        is_variable = path[-2:-1] == ("env",) and _LOOKS_SECRET.search(str(node.get("name"))) is not None
        return {
            key: veil.mask(value)
            if is_variable and key == "value"
            else _veiled(value, (*path, key), conceals, veil)
            for key, value in node.items()
            if (*path, key) not in _SKIPPED
        }
    if isinstance(node, list):
        steps = _steps(node)
        return [_veiled(one, (*path, step), conceals, veil) for one, step in zip(node, steps, strict=True)]
    return node


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _MOST_TEXT else value[:_MOST_TEXT] + " [cut]"
    if isinstance(value, dict | list):
        text = json.dumps(value, sort_keys=True, ensure_ascii=False)
        return value if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + " [cut]"
    return value


def _owners(thing: Mapping[str, Any]) -> list[str]:
    entries = thing["metadata"].get("managedFields") or []
    return sorted(
        json.dumps({key: value for key, value in one.items() if key != "time"}, sort_keys=True)
        for one in entries
        if one.get("subresource") != "status"
    )
