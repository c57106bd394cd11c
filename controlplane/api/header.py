# SPDX-License-Identifier: Apache-2.0
"""Request headers that a route understands, in its documentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])


def understands(parameter: Mapping[str, Any]) -> Callable[[View], View]:
    """Document a header of a route: an OpenAPI parameter object."""

    def decorate(view: View) -> View:
        document = deepcopy(view.__dict__.get("_apidoc", {}))
        document.setdefault("headers", []).append(dict(parameter))
        view.__dict__["_apidoc"] = document
        return view

    return decorate
