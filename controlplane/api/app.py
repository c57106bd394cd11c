# SPDX-License-Identifier: Apache-2.0
"""The Flask application of one installation."""

from __future__ import annotations

from importlib import metadata

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from controlplane import bootstrap
from controlplane.api import health, metrics, openapi, path_text, problem, request_id, request_log, routes
from controlplane.api.blueprint import Api
from controlplane.api.login_limit import LoginLimit
from controlplane.api.streams import EventHub
from controlplane.services.core import Core

PREFIX = "/api/v1"


def create_app(core: Core) -> Flask:
    """Return the application that answers for an installation."""
    app = Flask("controlplane.api", static_folder=None)
    answer_for(app, core)
    app.config.update(
        PROVIDE_AUTOMATIC_OPTIONS=False,
        PROPAGATE_EXCEPTIONS=False,
        API_TITLE="Tidegate",
        API_VERSION="v1",
        OPENAPI_VERSION="3.1.0",
        API_SPEC_OPTIONS=openapi.spec_options(metadata_version()),
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    request_id.init_app(app)
    request_log.init_app(app)
    metrics.init_app(app)
    path_text.init_app(app)
    problem.init_app(app)
    api = Api(app)
    for blueprint in routes.blueprints():
        api.register_blueprint(blueprint, url_prefix=PREFIX + (blueprint.url_prefix or ""))
    openapi.init_app(app, api, PREFIX)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(metrics.blueprint)
    bootstrap.open_doors(app)
    # Not before the rest: it changes who asks, for everything inside.
    if core.settings.trusted_proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=core.settings.trusted_proxies, x_proto=0, x_host=0, x_port=0, x_prefix=0
        )
    return app


def answer_for(app: Flask, core: Core) -> None:
    """Give the application what belongs to one installation, and nothing of who it answered for before."""
    hub = EventHub(core)
    app.extensions["tidegate"] = core
    app.extensions["tidegate.hub"] = hub
    app.extensions["tidegate.login_limit"] = LoginLimit()
    app.extensions["tidegate.metrics"] = metrics.RequestMetrics(core, hub)
    app.config["MAX_CONTENT_LENGTH"] = core.settings.max_body_bytes


def metadata_version() -> str:
    """Return the installed version of Tidegate, `0` in a tree that is not installed."""
    try:
        return metadata.version("tidegate")
    except metadata.PackageNotFoundError:
        return "0"
