# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/environments/{id}/install`: preview an install, apply it, follow its tasks. DESIGN section 7."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from controlplane.api import schema
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.header import understands
from controlplane.api.idempotency import idempotent
from controlplane.api.jobs import JobSchema
from controlplane.api.lvs_vip import PlannedEntrySchema
from controlplane.api.prefer import PREFER
from controlplane.api.task_routes import TaskRoutes
from controlplane.domain.install import KINDS, TaskState
from controlplane.domain.permission import Permission
from controlplane.services import environment_health, installs

MOST_INPUTS = 100
MOST_HOSTS = 100

blueprint = Blueprint(
    "installs",
    __name__,
    url_prefix="/environments/<string:environment_id>",
    description="Install an environment from the bundle.",
)


class PostTaskSchema(schema.AnswerSchema):
    """A task that followed an install by itself. It is read and retried under its cluster's network entry."""

    task_id = schema.text(example="tsk_01jd2k3m4n5p6q7r8s9tavbwcx")
    type = schema.text(example="lvs_vip")
    follows = schema.text("The install.")
    cluster_id = schema.text()
    state = fields.String(required=True, metadata={"enum": [str(state) for state in TaskState]})
    status = schema.text(example="pending_approval")
    approval_ticket = schema.text(nullable=True)
    diagnostics_json = schema.document("What is known of a failure.", nullable=True)


class InstallPreviewSchema(schema.AnswerSchema):
    """What would be done on each host, and the checks; `preview_ref` is null while or where it cannot be applied."""

    task_id = schema.text(example="tsk_01jd2k3m4n5p6q7r8s9tavbwcx")
    preview_ref = schema.text(nullable=True, example="pvw_01jd2k3m4n5p6q7r8s9tavbwcx")
    preview_digest = schema.text("SHA-256 over everything that the preview binds.", nullable=True)
    preview_expires_at = schema.time(nullable=True)
    status = schema.text("previewing previewed preview_failed", example="previewed")
    summary = schema.document("How many steps would run, and how many are done.")
    hosts = schema.document("Facts and plan, per host.")
    inputs = fields.List(
        fields.Dict(), required=True, metadata={"description": "`{name, value, origin}`, secret ones masked."}
    )
    bundle = schema.document(
        "Digest of the bundle, who signed it, and `runtime`: the version that is installed, and its status.",
        nullable=True,
    )
    network_entry = schema.document("What follows once the cluster is there: `{mode, lvs_vip}`.")
    checks = fields.List(
        fields.Dict(), required=True, metadata={"description": "`{level, code, message, hint, host}`."}
    )
    risk_level = schema.text("low medium high critical", nullable=True)
    risk_reasons = fields.List(fields.Raw(), required=True)
    approval = schema.document("What policy asks for before it may be applied.", nullable=True)
    binding = schema.document("What the digest covers.", nullable=True)


class InstallTaskSchema(schema.AnswerSchema):
    """An install, or its rollback. `state` may be relied on, `status` is the finer word."""

    task_id = schema.text(example="tsk_01jd2k3m4n5p6q7r8s9tavbwcx")
    kind = schema.text("install rollback removal", example="install")
    state = fields.String(required=True, metadata={"enum": [str(state) for state in TaskState]})
    status = schema.text(example="previewed")
    project_id = schema.text()
    environment = schema.text(example="production")
    environment_id = schema.text()
    stage = schema.text(example="production")
    runtime_type = schema.text(example="compose")
    nodes = fields.List(fields.Dict(), required=True)
    undoes = schema.text("The task that this one takes back.", nullable=True)
    approval_required = fields.Boolean(required=True)
    approval_ticket = schema.text(nullable=True)
    preview_ref = schema.text(nullable=True)
    preview_digest = schema.text(nullable=True)
    preview_expires_at = schema.time(nullable=True)
    bundle_digest = schema.text(nullable=True)
    diagnostics_json = schema.document("What is known of a failure.", nullable=True)
    trigger_source = schema.text(example="api")
    created_by = schema.text()
    created_by_name = schema.text()
    created_at = schema.time()
    started_at = schema.time(nullable=True)
    finished_at = schema.time(nullable=True)
    cancel_requested_at = schema.time(nullable=True)
    version = fields.Integer(required=True)


class InstallStepSchema(schema.AnswerSchema):
    """A step of a task on a host."""

    host = schema.text(example="web-1")
    step = schema.text(example="container_runtime")
    status = schema.text("running succeeded unchanged failed", example="succeeded")
    attempt = fields.Integer(required=True)
    started_at = schema.time(nullable=True)
    finished_at = schema.time(nullable=True)
    duration_ms = fields.Integer(required=True, allow_none=True)
    exit_code = fields.Integer(required=True, allow_none=True)
    stdout_tail = schema.text()
    stderr_tail = schema.text()
    error_key = schema.text(nullable=True)
    remediation = schema.text(nullable=True)
    detail = schema.document()


class InstallTaskDetailSchema(InstallTaskSchema):
    """A task with its preview, its steps and its jobs."""

    preview = fields.Nested(InstallPreviewSchema, required=True)
    steps = fields.List(fields.Nested(InstallStepSchema), required=True)
    jobs = fields.List(fields.Nested(JobSchema), required=True)
    post_tasks = fields.List(fields.Nested(PostTaskSchema), required=True)


class PreviewedInstallSchema(InstallTaskSchema):
    """A task with its whole preview."""

    preview = fields.Nested(InstallPreviewSchema, required=True)


class NewInstallPreviewSchema(schema.StrictSchema):
    """What is to be installed; what is left out is the bundle's to say."""

    kind = fields.String(load_default="install", validate=validate.OneOf(KINDS))
    runtime_version = fields.String(validate=validate.Length(1, 64), metadata={"example": "2.40"})
    profile = fields.String(validate=validate.Length(1, 64), metadata={"example": "standard"})
    inputs = fields.Dict(
        keys=fields.String(validate=validate.Length(1, 64)), validate=validate.Length(0, MOST_INPUTS)
    )
    network_entry = fields.Nested(PlannedEntrySchema)
    task_id = fields.String(
        validate=validate.Length(1, schema.LONGEST_ID),
        metadata={
            "description": "For a rollback: the install to take back, and those after it; else the newest."
        },
    )
    host_ids = fields.List(
        fields.String(validate=validate.Length(1, schema.LONGEST_ID)),
        validate=validate.Length(1, MOST_HOSTS),
        metadata={
            "description": "For a removal: the nodes that are to leave; never the control plane that all began with."
        },
    )
    is_lost = fields.Boolean(
        metadata={
            "description": "For a removal: these hosts are gone, nobody asks them or waits for their pods."
        }
    )

    @validates_schema
    def _of_its_kind(self, body: dict[str, Any], **_more: Any) -> None:
        stray = [name for name in ("host_ids", "is_lost") if name in body and body["kind"] != "removal"]
        if stray:
            raise ValidationError({name: ["is for a removal only"] for name in stray})


class ApplyInstallSchema(schema.StrictSchema):
    """The preview that is to be applied."""

    preview_ref = fields.String(validate=validate.Length(0, schema.LONGEST_ID))


class TaskArgs(schema.PageArgs):
    """Filters of the list."""

    kind = fields.String(validate=validate.OneOf(KINDS))
    state = fields.String(validate=validate.OneOf([str(state) for state in TaskState]))


ROUTES = TaskRoutes(
    blueprint,
    installs.SUBJECT,
    path="/install/tasks",
    name="install_task",
    plural="install_tasks",
    a_task="a task",
    of="of an environment",
    reads=Permission.ENVIRONMENT_READ,
    changes=Permission.ENVIRONMENT_INSTALL,
    filters=TaskArgs,
    row=InstallTaskSchema,
    detail=InstallTaskDetailSchema,
)


@blueprint.route("/install/preview", methods=["POST"])
@requires(Permission.ENVIRONMENT_INSTALL)
@idempotent
@understands(PREFER)
@blueprint.arguments(NewInstallPreviewSchema)
@blueprint.alt_response(202, schema=PreviewedInstallSchema, description="Still previewing; follow the task.")
@blueprint.response(201, PreviewedInstallSchema)
def preview_install(body: dict[str, Any], environment_id: str) -> Any:
    """Show what an install, its rollback, or the removal of nodes would do on each host, and what stands in its way.
    Changes nothing.

    Problems: insufficient_nodes, node_role_invalid, conflict.
    """
    core, actor = current_core(), current_actor()
    kind = body.pop("kind")
    if kind == "removal":
        task = installs.request_removal(core, actor, environment_id, body)
    elif kind == "rollback":
        task = installs.request_rollback(core, actor, environment_id, body.get("task_id"))
    else:
        task = installs.request_preview(core, actor, environment_id, body)
    return ROUTES.previewed(task["task_id"], f"/api/v1/environments/{environment_id}")


@blueprint.route("/install/apply", methods=["POST"])
@requires(Permission.ENVIRONMENT_INSTALL)
@idempotent
@blueprint.arguments(ApplyInstallSchema)
@blueprint.response(202, InstallTaskSchema)
def apply_install(body: dict[str, Any], environment_id: str) -> dict[str, Any]:
    """Start what a preview showed, or ask for the approval that policy wants.

    Problems: preview_required, preview_expired, preview_mismatch, preview_stale, preview_used.
    """
    return ROUTES.applied(body, environment_id, "install")


@blueprint.route("/install/rollback", methods=["POST"])
@requires(Permission.ENVIRONMENT_INSTALL)
@idempotent
@blueprint.arguments(ApplyInstallSchema)
@blueprint.response(202, InstallTaskSchema)
def rollback_install(body: dict[str, Any], environment_id: str) -> dict[str, Any]:
    """Start the rollback that a preview with `kind: rollback` showed."""
    return ROUTES.applied(body, environment_id, "rollback")


@blueprint.route("/install/removal", methods=["POST"])
@requires(Permission.ENVIRONMENT_INSTALL)
@idempotent
@blueprint.arguments(ApplyInstallSchema)
@blueprint.response(202, InstallTaskSchema)
def remove_nodes(body: dict[str, Any], environment_id: str) -> dict[str, Any]:
    """Start the removal of nodes that a preview with `kind: removal` showed: drained, forgotten, and bare again."""
    return ROUTES.applied(body, environment_id, "removal")


ROUTES.register()


@blueprint.route("/health/check", methods=["POST"])
@requires(Permission.ENVIRONMENT_READ)
@idempotent
@blueprint.response(202, JobSchema)
def check_environment_health(environment_id: str) -> dict[str, Any]:
    """Ask the hosts whether the environment does its work; the answer is the environment's `health`."""
    return environment_health.request(current_core(), current_actor(), environment_id)
