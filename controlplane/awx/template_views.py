# SPDX-License-Identifier: Apache-2.0
"""`/api/v2/job_templates/{id}/...` and `/api/v2/bulk/`: launching.

awxkit: cli/custom.py (Launchable, BulkJobLaunch).
"""

from __future__ import annotations

from typing import Any

from flask import Response, request

from controlplane.api.auth import current_actor, current_core
from controlplane.awx import jobs, kinds, launching, query, templates
from controlplane.awx.about import Asked, Template
from controlplane.awx.answer import body, json_answer
from controlplane.awx.launching import Origin
from controlplane.awx.resource import field
from controlplane.awx.resources import PREFIX
from controlplane.domain.errors import Problem

MOST_AT_ONCE = 100
BULK_FIELDS = {
    "jobs": field(
        "field",
        "List of {unified_job_template, extra_data, scm_branch}: what is to be launched.",
        required=True,
    )
}


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
    job_id = launching.launch(core, actor, template, asked, Origin(request_key=_key(0)))
    shown = jobs.shown(core, actor, job_id)
    document = {"job": job_id, "ignored_fields": dict(asked.ignored), **shown}
    return json_answer(document, 201, {"Location": shown["url"]})


def jobs_of(pk: str) -> Response:
    """List the jobs of a template."""
    core, actor = current_core(), current_actor()
    template = templates.load(core, actor, pk)
    return json_answer(query.page(core, actor, jobs.JOBS, jobs.of_template(actor, template.id)))


def bulk() -> Response:
    """Say what can be done to several at once."""
    return json_answer({"job_launch": f"{PREFIX}/bulk/job_launch/"})


def bulk_launch() -> Response:
    """Launch several templates, each through its own gate. When one cannot be launched, none is."""
    core, actor = current_core(), current_actor()
    wanted = [_item(number, sent) for number, sent in enumerate(_items())]
    for number, (template, asked) in enumerate(wanted):
        try:
            kinds.of_template(template).check(core, actor, template, asked)
        except Problem as problem:
            raise _of_item(number, problem) from None
    started = [
        launching.launch(core, actor, template, asked, Origin(request_key=_key(number)))
        for number, (template, asked) in enumerate(wanted)
    ]
    launched = [jobs.shown(core, actor, job_id) for job_id in started]
    document: dict[str, Any] = {
        "type": "bulk_job_launch",
        "jobs": launched,
        "ignored_fields": {str(number): dict(asked.ignored) for number, (_, asked) in enumerate(wanted)},
    }
    return json_answer(document, 201)


def _items() -> list[Any]:
    sent = body()
    items = sent.get("jobs")
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_AT_ONCE:
        raise Problem("validation_error", errors={"jobs": [f"must be a list of 1 to {MOST_AT_ONCE}"]})
    return items


def _item(number: int, sent: Any) -> tuple[Template, Asked]:
    if not isinstance(sent, dict) or not isinstance(sent.get("unified_job_template"), int):
        raise Problem(
            "validation_error", errors={f"jobs[{number}]": ["must be an object with unified_job_template"]}
        )
    try:
        template = templates.load(current_core(), current_actor(), str(sent["unified_job_template"]))
        body_of_launch = {name: value for name, value in sent.items() if name != "unified_job_template"}
        body_of_launch["extra_vars"] = body_of_launch.pop("extra_data", None)
        return template, launching.read(template, body_of_launch)
    except Problem as problem:
        raise _of_item(number, problem) from None


def _of_item(number: int, problem: Problem) -> Problem:
    errors = {
        f"jobs[{number}].{name.removeprefix('variables.')}": said for name, said in problem.errors.items()
    }
    told = errors or {f"jobs[{number}]": [problem.detail]}
    return Problem(problem.error_key, problem.detail, errors=told, extra=problem.extra)


def _key(part: int) -> str | None:
    return launching.request_key(
        current_actor(), request.headers.get("X-Request-ID"), request.path, request.get_data(cache=True), part
    )
