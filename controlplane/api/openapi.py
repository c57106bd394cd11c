# SPDX-License-Identifier: Apache-2.0
"""The API's own description: the document that clients are made from, and a page that people read."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from flask import Flask, Response
from flask_smorest import Api

from controlplane.api.auth import public
from controlplane.domain.errors import ERRORS
from controlplane.domain.event import ACTIONS
from controlplane.domain.release import STATUSES, TRANSITIONS, State

_PAGE_FILES = {"docs.html": "text/html", "docs.js": "text/javascript", "docs.css": "text/css"}
# The page may load what this server ships, and nothing else.
_PAGE_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'"


def spec_options(version: str) -> dict[str, Any]:
    """Return what the document says beside the routes."""
    return {
        "info": {
            "description": "Previewed, approved, applied, verified, rolled back and read back.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "x-tidegate-version": version,
        },
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API token: `tg_...`"}
            }
        },
        "security": [{"bearer": []}],
        "servers": [{"url": "/"}],
    }


def reference() -> dict[str, Any]:
    """Return the lifecycle, the error keys and the events from the tables that the code itself goes by."""
    return {
        "x-tidegate-lifecycle": {
            str(state): {
                "statuses": list(STATUSES[state]),
                "leaves_to": {str(goal): why for goal, why in TRANSITIONS[state].items()},
            }
            for state in State
        },
        "x-tidegate-errors": {
            key: {"status": kind.status, "title": kind.title, "hint": kind.hint}
            for key, kind in ERRORS.items()
        },
        "x-tidegate-events": sorted(ACTIONS),
    }


def init_app(app: Flask, api: Api, prefix: str) -> None:
    """Serve the document and the page below the API's prefix."""

    @cache
    def document() -> bytes:
        return json.dumps({**api.spec.to_dict(), **reference()}, indent=1).encode()

    @public
    def openapi_document() -> Response:
        return Response(document(), content_type="application/json")

    @public
    def docs(file: str = "docs.html") -> Response:
        text = resources.files("controlplane.api").joinpath("static", file).read_text("utf-8")
        response = Response(text, content_type=f"{_PAGE_FILES[file]}; charset=utf-8")
        response.headers["Content-Security-Policy"] = _PAGE_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    app.add_url_rule(f"{prefix}/openapi.json", "openapi_document", openapi_document)
    app.add_url_rule(f"{prefix}/docs", "docs", docs)
    for name in ("docs.js", "docs.css"):
        app.add_url_rule(f"{prefix}/{name}", name.replace(".", "_"), docs, defaults={"file": name})
