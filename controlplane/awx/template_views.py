# SPDX-License-Identifier: Apache-2.0
"""`/api/v2/job_templates/{id}/...`: launching. awxkit: cli/custom.py (Launchable)."""

from __future__ import annotations

from flask import Response, request

from controlplane.api.auth import current_actor, current_core
from controlplane.awx import jobs, launching, query, templates
from controlplane.awx.answer import body, json_answer
from controlplane.awx.launching import Origin


def launch_document(pk: str) -> Response:
    """Say what a launch asks for."""
    return json_answer(templates.launch_document(current_core(), current_actor(), pk))


def survey(pk: str) -> Response:
    """Show what a launch may be told as a survey."""
    return json_answer(templates.survey(current_core(), current_actor(), pk))


def launch(pk: str) -> Response:
    """Launch a release or an install: it is previewed, and applied as policy lets it."""
    core, actor, sent = current_core(), current_actor(), body()
    template = templates.load(core, actor, pk)
    asked = launching.read(template, sent)
    job_id = launching.launch(core, actor, template, asked, Origin(request_key=request_key()))
    shown = jobs.shown(core, job_id)
    document = {"job": job_id, "ignored_fields": dict(asked.ignored), **shown}
    return json_answer(document, 201, {"Location": shown["url"]})


def jobs_of(pk: str) -> Response:
    """List the jobs of a template."""
    core, actor = current_core(), current_actor()
    template = templates.load(core, actor, pk)
    return json_answer(query.page(core, actor, jobs.JOBS, jobs.of_template(actor, template.id)))


def request_key(part: int = 0) -> str | None:
    """Return what makes this request, sent again, the same launch; the `part`th of it."""
    return launching.request_key(
        current_actor(), request.headers.get("X-Request-ID"), request.path, request.get_data(cache=True), part
    )
