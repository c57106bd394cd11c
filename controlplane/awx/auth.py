# SPDX-License-Identifier: Apache-2.0
"""Who asks: a bearer token, name and password where these are allowed, or the session that the `awx` command opens.

A session is a cookie that holds, encrypted, whose it is and until when; nothing of it is kept here. It ends with its
time, with the user being disabled, and with a change of the password. awxkit: api/client.py.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

from flask import Response, current_app, g, redirect, request

from controlplane.api import auth as api_auth
from controlplane.api.auth import current_core
from controlplane.api.login_limit import LoginLimit
from controlplane.api.request_id import current_request_id
from controlplane.awx.answer import json_answer
from controlplane.awx.launching import SOURCE
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor, Permission, Reach, reach
from controlplane.services import access
from controlplane.services.core import Core
from controlplane.store.tables import User

SESSION_COOKIE = "sessionid"
CSRF_COOKIE = "csrftoken"
SESSION_FOR = timedelta(minutes=30)
_SAFE = ("GET", "HEAD", "OPTIONS")
OR = " or "

View = Callable[..., Response]


def guarded(*permissions: Permission) -> Callable[[View], View]:
    """Declare what a route needs, as `api.auth.requires` does for the API's own: one of these, since what it needs is
    that of what is asked for, a release or an install. None at all: who asks is enough.
    """
    declared = OR.join(permissions)

    def decorate(view: View) -> View:
        @wraps(view)
        def guard(*args: Any, **kwargs: Any) -> Response:
            g.actor = access.through(_authenticate(), SOURCE)
            if permissions and all(reach(g.actor, each) == Reach() for each in permissions):
                _refuse(g.actor, declared)
            return view(*args, **kwargs)

        guard.__dict__["declared_access"] = declared or api_auth.ANYBODY
        return guard

    return decorate


def _authenticate() -> Actor:
    if "Authorization" not in request.headers and SESSION_COOKIE in request.cookies:
        return _of_session(request.cookies[SESSION_COOKIE])
    return api_auth.authenticate()


def _refuse(actor: Actor, declared: str) -> None:
    core = current_core()
    with core.database.write() as session:
        about = ("route", (request.endpoint or "")[:40])
        access.record_denial(session, core, actor, declared, None, about)
    raise Problem("permission_denied", f"this needs {declared}", extra={"permission": declared})


def _of_session(cookie: str) -> Actor:
    core = current_core()
    try:
        kept = json.loads(core.vault.decrypt(cookie.encode()))
        until = datetime.fromisoformat(kept["until"])
    except Exception:
        # Whatever is wrong with it: it is no session of ours.
        raise Problem("authentication_required", "the session is not known") from None
    if until <= core.clock.now():
        raise Problem("authentication_required", "the session has ended")
    if request.method not in _SAFE:
        _check_csrf(str(kept["csrf"]))
    with core.database.read() as session:
        user = session.get(User, kept["user"])
        actor = access.actor_of(session, kept["user"])
    if actor is None or user is None or not hmac.compare_digest(_proof(user), str(kept["proof"])):
        raise Problem("authentication_required", "the session has ended")
    return replace(actor, request_id=current_request_id())


def _proof(user: User) -> str:
    """Return what changes with the user's password, and tells nothing of it."""
    return hashlib.sha256(b"session:" + (user.password_hash or "").encode()).hexdigest()[:32]


def _check_csrf(expected: str) -> None:
    sent = request.headers.get("X-CSRFToken", "")
    if not hmac.compare_digest(sent.encode(), expected.encode()):
        raise Problem("permission_denied", "the X-CSRFToken header is not that of the session")


def with_csrf(answer: Response) -> Response:
    """Give a client without a CSRF cookie one: `awx` looks for it before it logs in."""
    if CSRF_COOKIE not in request.cookies:
        answer.set_cookie(
            CSRF_COOKIE, secrets.token_urlsafe(32), samesite="Lax", secure=request.is_secure, path="/api/"
        )
    return answer


@api_auth.public
def show_login() -> Response:
    """Say how to log in, and set the CSRF cookie."""
    return with_csrf(
        json_answer({"detail": "POST username, password and next, with the X-CSRFToken of the cookie."})
    )


@api_auth.public
def log_in() -> Response:
    """Open a session for a name and a password, as `awx` does when it is given these and no token."""
    core, limit = current_core(), _login_limit()
    csrf = request.cookies.get(CSRF_COOKIE, "")
    if not csrf or not hmac.compare_digest(_offered_csrf().encode(), csrf.encode()):
        raise Problem("permission_denied", "the X-CSRFToken header is not that of the cookie")
    if not core.settings.basic_auth:
        raise Problem("authentication_required", "passwords are not taken here; use a token")
    address = request.remote_addr or ""
    if limit.is_spent(address):
        raise limit.refusal(address)
    name, password = request.form.get("username", ""), request.form.get("password", "")
    try:
        actor = access.authenticate_password(core, name, password, current_request_id())
    except Problem:
        limit.note(address)
        raise
    answer = redirect(_next())
    answer.set_cookie(
        SESSION_COOKIE, _new_session(core, actor, csrf), max_age=int(SESSION_FOR.total_seconds()),
        httponly=True, samesite="Lax", secure=request.is_secure, path="/api/",
    )  # fmt: skip
    answer.headers["X-API-Session-Cookie-Name"] = SESSION_COOKIE
    return answer  # type: ignore[return-value]


@api_auth.public
def log_out() -> Response:
    """Take the session's cookie away."""
    answer = redirect("/api/")
    answer.delete_cookie(SESSION_COOKIE, path="/api/")
    return answer  # type: ignore[return-value]


def _offered_csrf() -> str:
    return request.headers.get("X-CSRFToken") or request.form.get("csrfmiddlewaretoken", "")


def _new_session(core: Core, actor: Actor, csrf: str) -> str:
    with core.database.read() as session:
        user = session.get_one(User, actor.id)
    kept = {
        "user": actor.id,
        "until": (core.clock.now() + SESSION_FOR).isoformat(),
        "csrf": csrf,
        "proof": _proof(user),
    }
    return core.vault.encrypt(json.dumps(kept).encode()).decode()


def _next() -> str:
    """Return where to go after the login: below `/api/`, and never to another server."""
    wanted = request.form.get("next", "/api/")
    is_ours = wanted.startswith("/api/") and "\\" not in wanted and wanted.isprintable()
    return wanted if is_ours else "/api/"


def _login_limit() -> LoginLimit:
    limit: LoginLimit = current_app.extensions["tidegate.login_limit"]
    return limit
