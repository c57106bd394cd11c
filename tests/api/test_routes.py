# SPDX-License-Identifier: Apache-2.0
"""Each route says who may call it, and the document tells of each."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask
from flask.views import MethodView

from controlplane.api.auth import ANYBODY, PUBLIC
from controlplane.awx import routes
from controlplane.awx.auth import OR
from controlplane.domain.permission import Permission

KNOWN = {PUBLIC, ANYBODY, *(str(permission) for permission in Permission)}
# What is open to everybody. A route that joins them is a decision, not an oversight.
OPEN = {
    "/healthz", "/readyz", "/metrics", "/api/v1/openapi.json", "/api/v1/docs", "/api/v1/docs.js", "/api/v1/docs.css",
} | routes.OPEN  # fmt: skip

# POSTs that may be sent again without a key: what they do twice is what they do once.
REPEATABLE = {
    # Kept by content: the second push of an archive finds the first. (A key would need its digest before it is read.)
    "/api/v1/artifacts",
    "/api/v1/artifacts/gc",
    # Looks: nothing is made, and nothing decided.
    "/api/v1/hosts/<string:host_id>/host-key/fetch",
    "/api/v1/hosts/<string:host_id>/check",
    "/api/v1/clusters/<string:cluster_id>/connect/test",
    # A session for a browser; and payloads of forges, each of which is taken once (tests/awx/test_hooks.py).
    "/api/login/",
    "/api/logout/",
    "/api/v2/job_templates/<string:pk>/github/",
    "/api/v2/job_templates/<string:pk>/gitlab/",
}


def views(app: Flask) -> list[tuple[str, str, Any]]:
    """Return (rule, method, function) of everything that is routed."""
    found = []
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        view_class = getattr(view, "view_class", None)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            is_class = view_class is not None and issubclass(view_class, MethodView)
            found.append((rule.rule, method, getattr(view_class, method.lower()) if is_class else view))
    return found


def test_each_route_declares_who_may_call_it(app: Flask) -> None:
    silent = [
        (rule, method)
        for rule, method, view in views(app)
        if not KNOWN.issuperset(str(getattr(view, "declared_access", None)).split(OR))
    ]
    assert silent == []


def test_each_route_that_creates_or_decides_takes_an_idempotency_key(app: Flask) -> None:
    without = {
        rule
        for rule, method, view in views(app)
        if method == "POST" and not getattr(view, "takes_key", False)
    }
    assert without == REPEATABLE


def test_only_what_is_meant_to_be_is_open(app: Flask) -> None:
    assert {rule for rule, _, view in views(app) if view.declared_access == PUBLIC} <= OPEN


def test_each_route_that_is_not_open_refuses_a_stranger(app: Flask, anonymous: Any) -> None:
    for rule, method, view in views(app):
        if view.declared_access == PUBLIC:
            continue
        answer = anonymous.open(re.sub(r"<[^>]+>", "x", rule), method=method)
        assert (answer.status_code, answer.json["error_key"]) == (401, "authentication_required"), (
            method,
            rule,
        )
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_document_names_each_route_of_the_api(app: Flask, anonymous: Any) -> None:
    document = anonymous.get("/api/v1/openapi.json").json
    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    routed = {
        (re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule), method)
        for rule, method, _ in views(app)
        if rule.startswith("/api/v1/") and rule not in OPEN
    }
    assert described >= routed


def test_the_page_needs_nothing_from_elsewhere(anonymous: Any) -> None:
    for name in ("docs", "docs.js", "docs.css"):
        answer = anonymous.get(f"/api/v1/{name}")
        assert answer.status_code == 200
        assert "//" not in answer.text.replace("// ", "").replace("<!doctype", "")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
