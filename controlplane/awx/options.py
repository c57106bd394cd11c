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
        actions["POST"] = {name: dict(rule) for name, rule in resource.post.items()}
    return _answer(resource.about, actions, ("GET", "POST") if resource.post else ("GET",), resource.type)


def detail(resource: Resource) -> Response:
    """Answer for one, whether there is such a one or not: what could be done with it, and nothing about it."""
    return _answer(resource.about, {"GET": _shown(resource)}, resource.detail_methods, resource.type)


def action(about: str, post: Mapping[str, Mapping[str, Any]], methods: tuple[str, ...]) -> Response:
    """Answer for what can be done with something: which fields it takes."""
    return _answer(about, {"POST": {name: dict(rule) for name, rule in post.items()}}, methods, None)


def _shown(resource: Resource) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, column in resource.columns.items():
        if "__" in name:
            continue
        fields[name] = {
            "type": column.type,
            "label": _LABELS.get(name, name.replace("_", " ").capitalize()),
            "help_text": column.help_text,
            "filterable": True,
            **({"choices": [[word, word.capitalize()] for word in column.choices]} if column.choices else {}),
        }
    for name, (kind, about) in resource.fields.items():
        label = name.replace("_", " ").capitalize()
        fields[name] = {"type": kind, "label": label, "help_text": about, "filterable": False}
    return fields


def _answer(about: str, actions: dict[str, Any], methods: tuple[str, ...], kind: str | None) -> Response:
    allowed = list(dict.fromkeys((*methods, "HEAD", "OPTIONS")))
    document = {
        "name": about.partition(":")[0],
        "description": about,
        "renders": ["application/json"],
        "parses": ["application/json"],
        "actions": actions,
        **({"types": [kind]} if kind else {}),
    }
    return json_answer(document, headers={"Allow": ", ".join(allowed)})
