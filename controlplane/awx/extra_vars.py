# SPDX-License-Identifier: Apache-2.0
"""Values as a launch sends them: an object, or JSON or YAML text."""

from __future__ import annotations

import json
from typing import Any

from controlplane.domain.errors import Problem
from controlplane.services import yaml_documents
from controlplane.services.yaml_documents import Bounds, NotTaken

_BOUNDS = Bounds(most_bytes=256 * 1024, most_nodes=5_000, most_depth=20)


def read(given: Any, name: str = "extra_vars") -> dict[str, Any]:
    """Return a mapping.

    Raises:
        Problem: `validation_error`, under this name.
    """
    if given in (None, "", {}):
        return {}
    if isinstance(given, str):
        given = _parsed(given, name)
    if not isinstance(given, dict):
        raise Problem("validation_error", errors={name: ["must be a mapping, as JSON or YAML"]})
    return given


def _parsed(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        documents = list(yaml_documents.read(text, _BOUNDS))
    except NotTaken as error:
        raise Problem("validation_error", errors={name: [f"neither JSON nor YAML: {error}"]}) from None
    if len(documents) > 1:
        raise Problem("validation_error", errors={name: ["must be one document"]})
    return documents[0] if documents and documents[0] is not None else {}
