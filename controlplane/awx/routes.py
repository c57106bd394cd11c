# SPDX-License-Identifier: Apache-2.0
"""Where each request of an AWX client goes. Every route declares its permission, as the API's own do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flask import Blueprint, Response

from controlplane.api.auth import current_actor, current_core
from controlplane.api.auth import public as open_to_all
from controlplane.api.idempotency import idempotent
from controlplane.awx import (
    auth,
    bulk_views,
    control,
    hooks,
    ids,
    job_views,
    kinds,
    notifiers,
    options,
    schedule_views,
    schedules,
    template_views,
)
from controlplane.awx import query as queries
from controlplane.awx.answer import json_answer, refusal, translated
from controlplane.awx.auth import guarded
from controlplane.awx.bulk import WORKFLOW_JOBS
from controlplane.awx.jobs import JOBS, UNIFIED_JOBS
from controlplane.awx.resource import Resource, one, row
from controlplane.awx.resources import HOSTS, INVENTORIES, PREFIX, READ_ONLY, hosts_of_inventory
from controlplane.awx.templates import JOB_TEMPLATES, LAUNCH_FIELDS, UNIFIED_JOB_TEMPLATES
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Permission

View = Callable[..., Response]
# What is open to everybody: where a client looks before it can say who it is, and what a forge signs instead.
OPEN = frozenset(
    {
        "/api/", "/api/v2/", "/api/v2/ping/", "/api/login/", "/api/logout/",
        "/api/v2/job_templates/<string:pk>/github/", "/api/v2/job_templates/<string:pk>/gitlab/",
    }
)  # fmt: skip
LISTS = (
    JOB_TEMPLATES,
    UNIFIED_JOB_TEMPLATES,
    JOBS,
    UNIFIED_JOBS,
    WORKFLOW_JOBS,
    schedules.SCHEDULES,
    notifiers.NOTIFIERS,
    notifiers.NOTIFICATIONS,
    *READ_ONLY,
)


def blueprint() -> Blueprint:
    """Return the routes."""
    made = Blueprint("awx", __name__)
    made.register_error_handler(Problem, refusal)
    door = _Door(made)
    _control(door)
    for resource in LISTS:
        _resource(door, resource)
    _jobs(door)
    _templates(door)
    _bulk(door)
    _schedules(door)
    _notifiers(door)
    return made


class _Door:
    def __init__(self, made: Blueprint) -> None:
        self._made = made

    def add(self, rule: str, method: str, view: View) -> None:
        """Route a method of a path to a view that says who may call it."""
        endpoint = (
            f"{method.lower()}_{rule.strip('/').replace('/', '_').replace('<string:', '').replace('>', '')}"
        )
        self._made.add_url_rule(rule, endpoint, view, methods=[method])

    def read(self, rule: str, permissions: tuple[Permission, ...], view: View) -> None:
        """Route GET, for who has one of the permissions; for everybody who says who they are where there is none."""
        self.add(rule, "GET", guarded(*permissions)(view))

    def change(
        self, rule: str, permissions: tuple[Permission, ...], view: View, method: str = "POST"
    ) -> None:
        """Route what changes something; a POST takes an `Idempotency-Key`."""
        once = idempotent(translated(view)) if method == "POST" else view
        self.add(rule, method, guarded(*permissions)(once))

    def describe(self, rule: str, view: View) -> None:
        """Route OPTIONS, for everybody who says who they are."""
        self.add(rule, "OPTIONS", guarded()(view))


def _control(door: _Door) -> None:
    door.add("/api/", "GET", open_to_all(control.versions))
    door.add("/api/v2/", "GET", open_to_all(control.index))
    door.add(f"{PREFIX}/ping/", "GET", open_to_all(control.ping))
    door.add("/api/login/", "GET", auth.show_login)
    door.add("/api/login/", "POST", auth.log_in)
    door.add("/api/logout/", "GET", auth.log_out)
    door.add("/api/logout/", "POST", auth.log_out)
    door.read(f"{PREFIX}/me/", (), control.me)
    door.read(f"{PREFIX}/config/", (), control.config)
    door.read(f"{PREFIX}/metrics/", (), control.metrics)
    for name in ("ping", "me", "config", "metrics"):
        door.describe(f"{PREFIX}/{name}/", control.describe)
    for name in control.ABSENT:
        door.describe(f"{PREFIX}/{name}/", control.describe_absent)


def _resource(door: _Door, resource: Resource) -> None:
    path = f"{PREFIX}/{resource.path}/"

    def listed() -> Response:
        ids.number(current_core(), resource.kinds)
        return json_answer(queries.page(current_core(), current_actor(), resource))

    def detail(pk: str) -> Response:
        return json_answer(one(current_core(), current_actor(), resource, pk))

    door.read(path, resource.permissions, listed)
    door.describe(path, lambda: options.described(resource))
    door.describe(f"{path}<string:pk>/", lambda pk: options.detail(resource))
    # What is unified has its address as what it is.
    if "GET" in resource.detail_methods:
        door.read(f"{path}<string:pk>/", resource.permissions, detail)


def _jobs(door: _Door) -> None:
    one = f"{PREFIX}/jobs/<string:pk>/"
    door.read(f"{one}job_events/", kinds.READ, job_views.events)
    door.read(f"{one}stdout/", kinds.READ, job_views.stdout)
    door.read(f"{one}cancel/", kinds.READ, job_views.can_cancel)
    door.change(f"{one}cancel/", kinds.LAUNCH, job_views.cancel)
    door.read(f"{one}relaunch/", kinds.READ, job_views.can_relaunch)
    door.change(f"{one}relaunch/", kinds.LAUNCH, job_views.relaunch)
    door.describe(f"{one}job_events/", job_views.describe_events)
    _described(door, f"{one}stdout/", "What a job printed, as one text.", {}, ("GET",))
    _described(door, f"{one}cancel/", "Cancel a job.", {}, ("GET", "POST"))
    _described(door, f"{one}relaunch/", "Launch the same again.", {}, ("GET", "POST"))


def _templates(door: _Door) -> None:
    one = f"{PREFIX}/job_templates/<string:pk>/"
    door.read(f"{one}launch/", kinds.SEE, template_views.launch_document)
    door.change(f"{one}launch/", kinds.LAUNCH, template_views.launch)
    door.read(f"{one}survey_spec/", kinds.SEE, template_views.survey)
    door.read(f"{one}jobs/", kinds.READ, template_views.jobs_of)
    door.read(f"{one}webhook_key/", kinds.SEE, hooks.show)
    door.change(f"{one}webhook_key/", kinds.LAUNCH, hooks.set_up)
    door.change(f"{one}webhook_key/", kinds.LAUNCH, hooks.remove, "DELETE")
    door.add(f"{one}github/", "POST", open_to_all(hooks.github))
    door.add(f"{one}gitlab/", "POST", open_to_all(hooks.gitlab))
    _described(door, f"{one}launch/", "Launch a release.", LAUNCH_FIELDS, ("GET", "POST"))
    _described(door, f"{one}survey_spec/", "What a launch may be told.", {}, ("GET",))
    door.describe(f"{one}jobs/", lambda pk: options.described(JOBS))
    _described(door, f"{one}webhook_key/", "A forge's webhook.", hooks.FIELDS, ("GET", "POST", "DELETE"))
    path = f"{PREFIX}/inventories/<string:pk>/hosts/"
    door.read(path, INVENTORIES.permissions, _hosts)
    door.describe(path, lambda pk: options.described(HOSTS))


def _bulk(door: _Door) -> None:
    door.read(f"{PREFIX}/bulk/", (), bulk_views.index)
    door.describe(f"{PREFIX}/bulk/", control.describe)
    path = f"{PREFIX}/bulk/job_launch/"
    door.change(path, kinds.LAUNCH, bulk_views.launch)
    _described(door, path, "Launch several templates.", bulk_views.FIELDS, ("POST",))
    path = f"{PREFIX}/workflow_jobs/<string:pk>/cancel/"
    door.read(path, kinds.READ, bulk_views.can_cancel)
    door.change(path, kinds.LAUNCH, bulk_views.cancel)
    _described(door, path, "Cancel each job of it.", {}, ("GET", "POST"))


def _hosts(pk: str) -> Response:
    core, actor = current_core(), current_actor()
    ids.number(core, HOSTS.kinds)
    with core.database.read() as session:
        inventory = row(session, actor, INVENTORIES, pk)
    narrowed = hosts_of_inventory(actor, inventory.Environment.id)
    return json_answer(queries.page(core, actor, HOSTS, narrowed))


def _schedules(door: _Door) -> None:
    path = f"{PREFIX}/schedules/"
    door.change(path, kinds.LAUNCH, schedule_views.create_view)
    for method in ("PATCH", "PUT"):
        door.change(f"{path}<string:pk>/", kinds.LAUNCH, schedule_views.update_view, method)
    door.change(f"{path}<string:pk>/", kinds.LAUNCH, schedule_views.delete_view, "DELETE")
    door.read(f"{path}<string:pk>/jobs/", kinds.READ, schedule_views.jobs_view)
    door.describe(f"{path}<string:pk>/jobs/", lambda pk: options.described(JOBS))
    one = f"{PREFIX}/job_templates/<string:pk>/schedules/"
    door.read(one, kinds.SEE, schedule_views.of_template_view)
    door.change(one, kinds.LAUNCH, schedule_views.create_for_template_view)
    door.describe(one, lambda pk: options.described(schedules.SCHEDULES))


def _notifiers(door: _Door) -> None:
    path, needed = f"{PREFIX}/notification_templates/", (Permission.TARGET_WRITE,)
    door.change(path, needed, notifiers.create_view)
    for method in ("PATCH", "PUT"):
        door.change(f"{path}<string:pk>/", needed, notifiers.update_view, method)
    door.change(f"{path}<string:pk>/", needed, notifiers.delete_view, "DELETE")
    door.change(f"{path}<string:pk>/test/", needed, notifiers.test_view)
    _described(door, f"{path}<string:pk>/test/", "Send a test.", {}, ("POST",))
    door.read(f"{path}<string:pk>/notifications/", kinds.READ, notifiers.notifications_view)
    door.describe(f"{path}<string:pk>/notifications/", lambda pk: options.described(notifiers.NOTIFICATIONS))
    for event in notifiers.EVENTS:
        rule = f"{PREFIX}/job_templates/<string:pk>/notification_templates_{event}/"
        door.read(rule, kinds.READ, partial(notifiers.linked_view, event=event))
        door.change(rule, needed, partial(notifiers.link_view, event=event))
        _described(door, rule, "What is told of its jobs.", notifiers.LINK_FIELDS, ("GET", "POST"))


def _described(
    door: _Door, rule: str, about: str, fields: Mapping[str, Mapping[str, Any]], methods: tuple[str, ...]
) -> None:
    door.describe(rule, lambda **_path: options.action(about, fields, methods))
