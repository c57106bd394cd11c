# SPDX-License-Identifier: Apache-2.0
"""Who asks, and the permission that each route declares. What it is held *on* is asked by the services."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import wraps
from typing import Any, TypeVar, cast

from flask import current_app, g, request

from controlplane.api.login_limit import LoginLimit
from controlplane.api.request_id import current_request_id
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor, Permission, Reach, reach
from controlplane.services import access
from controlplane.services.core import Core

PUBLIC = "public"
ANYBODY = "anybody"

View = TypeVar("View", bound=Callable[..., Any])


def current_core() -> Core:
    """Return the installation that this application serves."""
    return cast(Core, current_app.extensions["tidegate"])


def current_actor() -> Actor:
    """Return who asks. Only in routes that declare a permission."""
    return cast(Actor, g.actor)


def requires(permission: Permission) -> Callable[[View], View]:
    """Declare that a route needs a permission; without it anywhere, nobody gets past this line.

    Raises (in the route):
        Problem: `authentication_required`, `token_expired`, `permission_denied`.
    """

    def decorate(view: View) -> View:
        return _declare(view, permission)

    return decorate


def authenticated(view: View) -> View:
    """Declare that a route needs a token and no permission: what it answers is about the caller only."""
    return _declare(view, None)


def public(view: View) -> View:
    """Declare that a route is open to everybody."""
    return _mark(view, PUBLIC)


def _declare(view: View, permission: Permission | None) -> View:
    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        g.actor = authenticate()
        if permission is not None and reach(g.actor, permission) == Reach():
            _refuse(g.actor, permission)
        return view(*args, **kwargs)

    return _mark(cast(View, guarded), str(permission) if permission else ANYBODY)


def _mark(view: View, declared: str) -> View:
    view.__dict__["declared_access"] = declared
    document = deepcopy(view.__dict__.get("_apidoc", {}))
    document["access"] = declared
    view.__dict__["_apidoc"] = document
    return view


def authenticate() -> Actor:
    """Return who the request's bearer token, or name and password where these are allowed, belong to.

    From an address that failed too often no password is looked at any more; a good token still passes.

    Raises:
        Problem: `authentication_required`, `token_expired`, `rate_limited`.
    """
    core, limit, address = current_core(), _login_limit(), request.remote_addr or ""
    is_spent = limit.is_spent(address)
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    basic = request.authorization
    try:
        if scheme.lower() == "basic" and basic is not None and core.settings.basic_auth:
            if is_spent:
                raise limit.refusal(address)
            return access.authenticate_password(
                core, basic.username or "", basic.password or "", current_request_id()
            )
        if scheme.lower() != "bearer" or not text:
            raise Problem("authentication_required")
        return access.authenticate_token(core, text.strip(), current_request_id(), is_recorded=not is_spent)
    except Problem as problem:
        if problem.error_key != "authentication_required" or not text:
            raise
        if is_spent:
            raise limit.refusal(address) from None
        limit.note(address)
        raise


def _login_limit() -> LoginLimit:
    return cast(LoginLimit, current_app.extensions["tidegate.login_limit"])


def _refuse(actor: Actor, permission: Permission) -> None:
    core = current_core()
    with core.database.write() as session:
        access.record_denial(session, core, actor, permission, None, ("route", (request.endpoint or "")[:40]))
    raise Problem("permission_denied", f"this needs {permission}", extra={"permission": str(permission)})
