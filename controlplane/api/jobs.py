# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/jobs`: the work that workers do, and what it printed."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from controlplane.api import schema
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.domain.permission import Permission
from controlplane.services import jobs

blueprint = Blueprint("jobs", __name__, url_prefix="/jobs", description="The work of the workers.")


class JobSchema(schema.AnswerSchema):
    """A job: what it is for, where it stands, who holds it, what it waits for."""

    job_id = schema.text(example="job_01jd2k3m4n5p6q7r8s9tavbwcx")
    kind = schema.text(example="release_apply")
    resource_type = schema.text(example="release")
    resource_id = schema.text(example="rel_01jd2k3m4n5p6q7r8s9tavbwcx")
    project_id = schema.text()
    state = schema.text("queued running paused done", example="running")
    outcome = schema.text("succeeded failed cancelled; null while it is not done", nullable=True)
    attempt = fields.Integer(required=True)
    resources = fields.List(fields.String(), required=True, metadata={"description": "What it locks."})
    waiting_for = schema.text("The job that holds what this one needs.", nullable=True)
    lease_owner = schema.text(nullable=True)
    lease_expires_at = schema.time(nullable=True)
    created_at = schema.time()
    started_at = schema.time(nullable=True)
    finished_at = schema.time(nullable=True)
    cancel_requested_at = schema.time(nullable=True)


class LogLineSchema(schema.AnswerSchema):
    """What one Ansible event printed."""

    position = fields.Integer(required=True, metadata={"example": 1000000017})
    run = fields.Integer(required=True)
    counter = fields.Integer(required=True)
    host = schema.text(nullable=True)
    at = schema.time()
    stdout = schema.text()


class JobArgs(schema.PageArgs):
    """Filters of the list."""

    kind = schema.word_filter("Kind of job, as in `release_apply`.")
    state = fields.String(validate=validate.OneOf(("queued", "running", "paused", "done")))
    outcome = fields.String(validate=validate.OneOf(("succeeded", "failed", "cancelled")))
    resource_id = schema.id_filter("What the job is about.")
    project_id = schema.id_filter("The project of the job.")


@blueprint.route("")
@requires(Permission.RELEASE_READ)
@blueprint.arguments(JobArgs, location="query")
@blueprint.response(200, schema.page_of(JobSchema))
def list_jobs(query: dict[str, Any]) -> dict[str, Any]:
    """List jobs, newest first."""
    filters, page = schema.page_request(query)
    return jobs.list_(current_core(), current_actor(), filters, page)


@blueprint.route("/<string:job_id>")
@requires(Permission.RELEASE_READ)
@blueprint.response(200, JobSchema)
def get_job(job_id: str) -> dict[str, Any]:
    """Read a job."""
    return jobs.get(current_core(), current_actor(), job_id)


@blueprint.route("/<string:job_id>/logs")
@requires(Permission.RELEASE_READ)
@blueprint.arguments(schema.SeqArgs, location="query")
@blueprint.response(200, schema.positions_of(LogLineSchema))
def get_job_logs(query: dict[str, Any], job_id: str) -> dict[str, Any]:
    """Read on in what a job printed."""
    return jobs.logs(current_core(), current_actor(), job_id, query["after"], query["limit"])
