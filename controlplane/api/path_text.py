# SPDX-License-Identifier: Apache-2.0
"""What stands in a path is text that a database can be asked for, or there is no such thing."""

from __future__ import annotations

from flask import Flask, request

from controlplane.domain.errors import Problem

LONGEST = 255


def init_app(app: Flask) -> None:
    """Refuse paths with NUL, lone surrogates or names longer than any that is kept."""
    app.before_request(_check)


def _check() -> None:
    for value in (request.view_args or {}).values():
        if not isinstance(value, str):
            continue
        if "\x00" in value or len(value) > LONGEST or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise Problem("not_found")
