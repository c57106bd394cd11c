# SPDX-License-Identifier: Apache-2.0
"""One application for all tests of a process: to make its routes and its document takes longer than most tests."""

from __future__ import annotations

from flask import Flask

from controlplane.api.app import answer_for, create_app
from controlplane.services.core import Core

_made: list[Flask] = []


def application(core: Core) -> Flask:
    """Return the application, which answers for this installation from now on.

    A test that changes the application, or asks two at once, makes its own with `create_app`.
    """
    assert not core.settings.trusted_proxies, "which headers are believed is part of the application"
    if not _made:
        _made.append(create_app(core))
    answer_for(_made[0], core)
    return _made[0]
