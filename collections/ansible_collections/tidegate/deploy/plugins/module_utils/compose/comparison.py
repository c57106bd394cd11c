# SPDX-License-Identifier: Apache-2.0
"""What a preview concludes from what was observed: the diff and the risks. Pure; on the controller."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..release import redaction
from ..release.errors import ReleaseError
from . import apply, health, template
from .fingerprint import Veil, by_service

_LOOKS_SECRET = re.compile(r"PASS|SECRET|TOKEN|CREDENTIAL|PRIVATE|API_?KEY", re.IGNORECASE)
_OWN_LABELS = (apply.DIGEST_LABEL, apply.RELEASE_LABEL)


def environment(definition: Mapping[str, Any]) -> dict[str, str | None]:
    """A service's environment as a mapping, from either form."""
    given = definition.get("environment") or {}
    if isinstance(given, list):
        pairs = (str(one).partition("=") for one in given)
        return {name: value if equals else None for name, equals, value in pairs}
    return {name: None if value is None else _word(value) for name, value in given.items()}


def _word(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def hidden_names(document: Mapping[str, Any]) -> set[tuple[str, str]]:
    """(service, variable) of every secret environment value of a rendered project."""
    hidden = set()
    for path in template.secret_paths(document):
        if path[0] != "services":
            continue
        entry = document["services"][path[1]]["environment"]
        name = str(entry[path[3]]).partition("=")[0] if isinstance(entry, list) else str(path[3])
        hidden.add((str(path[1]), name))
    return hidden


def secret_values(document: Mapping[str, Any]) -> set[str]:
    """The secret texts of a rendered project, to be taken out of logs; a plain `$` is `$` again.

    An application may tell a secret that is part of a longer value, one line of it, or write it as JSON or in a URL.
    """
    values = {text.replace("$$", "$") for text in template.secret_texts(document)}
    values |= redaction.lines(values)
    for path in template.secret_paths(document):
        node: Any = document
        for part in path:
            node = node[part]
        text = str(node).replace("$$", "$")
        values.add(text.partition("=")[2] if isinstance(path[-1], int) else text)
    return redaction.spellings(values)


def shown(document: Mapping[str, Any], veil: Veil) -> str:
    """The project for people's eyes."""
    copy = json.loads(json.dumps(document))
    for path in template.secret_paths(document):
        node = copy
        for part in path[:-1]:
            node = node[part]
        value = node[path[-1]]
        named, equals, rest = str(value).partition("=")
        node[path[-1]] = f"{named}={veil.mask(rest)}" if isinstance(path[-1], int) else veil.mask(value)
    copy.pop(template.SECRETS_KEY, None)
    return json.dumps(copy, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def services(
    document: Mapping[str, Any], images: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Any], veil: Veil
) -> list[dict[str, Any]]:
    """What becomes of each service: added, changed (and in what), removed, or left as it is."""
    grouped = by_service(facts["containers"])
    applied = facts.get("applied") or {}
    hidden = hidden_names(document) | (hidden_names(applied) if applied.get("services") else set())
    rows = []
    for name in sorted({*document["services"], *grouped}):
        if name not in document["services"]:
            rows.append({"name": name, "action": "remove", "changes": []})
        elif name not in grouped:
            rows.append({"name": name, "action": "add", "changes": []})
        else:
            changes = _changes(name, document, images.get(name), grouped[name], applied, hidden, veil)
            rows.append({"name": name, "action": "change" if changes else "none", "changes": changes})
    return rows


def _changes(
    name: str, document: Mapping[str, Any], image: Mapping[str, Any] | None, containers: list[dict[str, Any]],
    applied: Mapping[str, Any], hidden: set[tuple[str, str]], veil: Veil,
) -> list[dict[str, Any]]:  # fmt: skip
    wanted = document["services"][name]
    before = (applied.get("services") or {}).get(name) or {}
    first = containers[0]
    changes = []

    def changed(path: str, old: Any, new: Any) -> None:
        if path.startswith("environment."):
            variable = path.partition(".")[2]
            if (name, variable) in hidden or _LOOKS_SECRET.search(variable):
                old, new = (None if one is None else veil.mask(one) for one in (old, new))
        changes.append({"path": path, "before": old, "after": new})

    if image and not any(image.get("image_id") == one["Image"] for one in containers):
        pinned = _pin(image)
        if first["Config"].get("Image") != pinned:
            changed("image", first["Config"].get("Image"), image.get("reference"))
    live = dict(str(one).partition("=")[::2] for one in first["Config"].get("Env") or [])
    new, old = environment(wanted), environment(before)
    for variable in sorted({*new, *old}):
        value = None if new.get(variable) is None else str(new[variable]).replace("$$", "$")
        if variable not in new or (value is not None and live.get(variable) != value):
            changed(f"environment.{variable}", live.get(variable), value)
    skipped = ("environment", "image", "labels", "deploy", "scale")
    for key in sorted({*wanted, *before} - set(skipped)) if before else []:
        if wanted.get(key) != before.get(key):
            changed(key, before.get(key), wanted.get(key))
    if before and _labels(before) != _labels(wanted):
        changed("labels", _labels(before), _labels(wanted))
    if health.replicas(wanted) != len(containers):
        changed("replicas", len(containers), health.replicas(wanted))
    running = sum(
        1 for one in containers if health.is_ready(one, True) or one["State"].get("Status") == "running"
    )
    if running < len(containers):
        changed("running", running, len(containers))
    digest = apply.service_digest(document, name, _pin(image))
    stamped = {one["Config"]["Labels"].get(apply.DIGEST_LABEL) for one in containers}
    if not changes and stamped != {digest}:
        changed("configuration", "as it was", "as released")
    return changes


def _pin(image: Mapping[str, Any] | None) -> str | None:
    try:
        return apply.pin(image) if image else None
    except ReleaseError:
        return None


def _labels(definition: Mapping[str, Any]) -> dict[str, str]:
    given = definition.get("labels") or {}
    if isinstance(given, list):
        given = dict(str(one).partition("=")[::2] for one in given)
    return {name: _word(value) for name, value in given.items() if name not in _OWN_LABELS}


def risk_facts(
    document: Mapping[str, Any], rows: list[dict[str, Any]], images: list[dict[str, Any]]
) -> list[str]:
    """What makes a release risky, as words the policy knows."""
    found = set()
    if any(row["action"] == "remove" for row in rows):
        found.add("deletes")
    if any(not image["pinned"] for image in images):
        found.add("image_unpinned")
    for row in rows:
        definition = document["services"].get(row["name"]) or {}
        if (
            definition.get("privileged")
            or definition.get("cap_add")
            or definition.get("network_mode") == "host"
        ):
            found.add("privileged")
        for change in row["changes"]:
            if change["path"] == "replicas" and (change["after"] or 0) < (change["before"] or 0):
                found.add("replica_loss")
        if row["action"] in ("change", "remove") and any(c["path"] in ("volumes",) for c in row["changes"]):
            found.add("stateful_change")
    return sorted(found)


def redacted(node: Any, secrets: set[str]) -> Any:
    """The document with every secret text in it replaced."""
    if isinstance(node, str):
        for secret in sorted(secrets, key=len, reverse=True):
            node = node.replace(secret, "***")
        return node
    if isinstance(node, Mapping):
        return {key: redacted(value, secrets) for key, value in node.items()}
    return [redacted(one, secrets) for one in node] if isinstance(node, list) else node
