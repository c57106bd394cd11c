# SPDX-License-Identifier: Apache-2.0
"""`/api/v2/bulk/` and `/api/v2/workflow_jobs/{id}/cancel/`. awxkit: cli/custom.py (BulkJobLaunch)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from controlplane.api.auth import current_actor, current_core
from controlplane.awx import bulk, extra_vars, jobs, kinds, launching, resource, template_views, templates
from controlplane.awx.about import Asked, Template
from controlplane.awx.answer import body, json_answer
from controlplane.awx.resource import field
from controlplane.awx.resources import PREFIX
from controlplane.domain.errors import Problem

MOST_AT_ONCE = 100
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "jobs": field(
        "field", "List of {unified_job_template, extra_data, scm_branch}: what is to be launched.", required=True
    ),
    "name": field("string", "What the whole is called.", default=bulk.NAME),
    "extra_vars": field("json", "Values for each of them, before its own.", default={}),
    "scm_branch": field("string", "The version of each of them."),
}  # fmt: skip
# Of the whole: said of each, and taken or refused there.
_OF_EACH = ("scm_branch", "limit", "job_tags", "skip_tags", "inventory")


def index() -> Response:
    """Say what can be done to several at once."""
    return json_answer({"job_launch": f"{PREFIX}/bulk/job_launch/"})


def launch() -> Response:
    """Launch several templates, each through its own gate. When one cannot be launched, none is."""
    core, actor, sent = current_core(), current_actor(), body()
    name = sent.get("name") or bulk.NAME
    if not isinstance(name, str) or len(name) > 255:
        raise Problem("validation_error", errors={"name": ["must be at most 255 characters"]})
    shared = {each: sent[each] for each in _OF_EACH if sent.get(each)}
    values = extra_vars.read(sent.get("extra_vars"))
    wanted = [_item(number, item, shared, values) for number, item in enumerate(_items(sent))]
    for number, (template, asked) in enumerate(wanted):
        try:
            kinds.of_template(template).check(core, actor, template, asked)
        except Problem as problem:
            raise _of_item(number, problem) from None
    whole, launched = bulk.launch(core, actor, name, wanted, template_views.request_key)
    ignored = {each: value for each, value in sent.items() if each not in (*FIELDS, *_OF_EACH)}
    document: dict[str, Any] = {
        **bulk.shown(core, whole),
        "jobs": [jobs.shown(core, number) for number in launched],
        "ignored_fields": {
            **ignored, **{str(number): dict(asked.ignored) for number, (_, asked) in enumerate(wanted)},
        },
    }  # fmt: skip
    return json_answer(document, 201, {"Location": document["url"]})


def can_cancel(pk: str) -> Response:
    """Say whether a job of it has not ended."""
    return json_answer({"can_cancel": bool(_open(pk))})


def cancel(pk: str) -> Response:
    """Cancel each of its jobs that has not ended, as each is cancelled by itself."""
    core, actor = current_core(), current_actor()
    found = _open(pk)
    if not found:
        raise Problem("release_state_invalid", "all jobs of it have ended")
    for number in found:
        try:
            jobs.cancel(core, actor, str(number))
        except Problem as problem:
            # It has ended by itself in between.
            if problem.error_key not in ("release_state_invalid", "conflict"):
                raise
    return json_answer({}, 202)


def _open(pk: str) -> list[int]:
    core, actor = current_core(), current_actor()
    with core.database.read() as session:
        number = resource.row(session, actor, bulk.WORKFLOW_JOBS, pk).AwxBulk.id
    return bulk.open_jobs(core, actor, number)


def _items(sent: Mapping[str, Any]) -> list[Any]:
    items = sent.get("jobs")
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_AT_ONCE:
        raise Problem("validation_error", errors={"jobs": [f"must be a list of 1 to {MOST_AT_ONCE}"]})
    return items


def _item(
    number: int, sent: Any, shared: Mapping[str, Any], values: Mapping[str, Any]
) -> tuple[Template, Asked]:
    named = sent.get("unified_job_template") if isinstance(sent, dict) else None
    # A template of Ansible's makes texts of numbers.
    if isinstance(named, bool) or not isinstance(named, int | str) or not str(named).isdecimal():
        raise Problem(
            "validation_error", errors={f"jobs[{number}]": ["must be an object with unified_job_template"]}
        )
    try:
        template = templates.load(current_core(), current_actor(), str(named))
        body_of_launch = {name: value for name, value in sent.items() if name != "unified_job_template"}
        own = extra_vars.read(body_of_launch.pop("extra_data", None), "extra_data")
        # As AWX has it: what is said of the whole goes before what is said of one.
        body_of_launch |= {**shared, "extra_vars": {**own, **values}}
        return template, launching.read(template, body_of_launch)
    except Problem as problem:
        raise _of_item(number, problem) from None


def _of_item(number: int, problem: Problem) -> Problem:
    errors = {
        f"jobs[{number}].{name.removeprefix('variables.')}": said for name, said in problem.errors.items()
    }
    told = errors or {f"jobs[{number}]": [problem.detail]}
    return Problem(problem.error_key, problem.detail, errors=told, extra=problem.extra)
