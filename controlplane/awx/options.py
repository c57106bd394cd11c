# SPDX-License-Identifier: Apache-2.0
"""`OPTIONS`: which methods a resource takes and which fields there are. The `awx` command makes its flags of it.

awxkit: cli/options.py (ResourceOptionsParser).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from controlplane.awx.answer import json_answer
from controlplane.awx.resource import Resource

_LABELS = {"id": "ID", "type": "Type"}


def described(resource: Resource) -> Response:
    """Answer for a list: `GET` with what it can be filtered by, `POST` where something can be made."""
    actions: dict[str, Any] = {"GET": _shown(resource)}
    if resource.post:
        actions["POST"] = _taken(resource)
    return _answer(resource.about, actions, ("GET", "POST") if resource.post else ("GET",), resource.type)


def detail(resource: Resource) -> Response:
    """Answer for one, whether there is such a one or not: what could be done with it, and nothing about it."""
    actions: dict[str, Any] = {"GET": _shown(resource)} if "GET" in resource.detail_methods else {}
    if "PUT" in resource.detail_methods:
        actions["PUT"] = _taken(resource)
    return _answer(resource.about, actions, resource.detail_methods, resource.type)


def action(
    about: str,
    post: Mapping[str, Mapping[str, Any]],
    methods: tuple[str, ...],
    shown: Mapping[str, Mapping[str, Any]] | None = None,
) -> Response:
    """Answer for what can be done with something: which fields it takes, and which it shows."""
    of_method = {"GET": shown or {}, "POST": post}
    return _answer(about, {name: of_method.get(name, {}) for name in methods}, methods, None)


def _taken(resource: Resource) -> dict[str, Any]:
    return {name: dict(rule) for name, rule in resource.post.items()}


def _shown(resource: Resource) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, column in resource.columns.items():
        if "__" in name:
            continue
        fields[name] = told(name, column.type, column.help_text, is_filter=True)
        if column.choices:
            fields[name]["choices"] = [[word, word.capitalize()] for word in column.choices]
    for name, (kind, about) in resource.fields.items():
        fields.setdefault(name, told(name, kind, about))
    return fields


def told(name: str, kind: str, about: str, *, is_filter: bool = False) -> dict[str, Any]:
    """Return how OPTIONS tells of a field that is shown."""
    label = _LABELS.get(name, name.replace("_", " ").capitalize())
    return {"type": kind, "label": label, "help_text": about, "filterable": is_filter}


def _answer(about: str, actions: dict[str, Any], methods: tuple[str, ...], kind: str | None) -> Response:
    allowed = list(dict.fromkeys((*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS")))
    document = {
        "name": about.partition(":")[0],
        "description": about,
        "renders": ["application/json"],
        "parses": ["application/json"],
        "actions": actions,
        **({"types": [kind]} if kind else {}),
    }
    return json_answer(document, headers={"Allow": ", ".join(allowed)})
