# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/clusters/{id}/network-entry`: one virtual IP before a cluster. DESIGN section 7."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from controlplane.api import schema
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.header import understands
from controlplane.api.idempotency import idempotent
from controlplane.api.installs import ApplyInstallSchema, InstallStepSchema
from controlplane.api.jobs import JobSchema
from controlplane.api.lvs_vip import ClusterNetworksSchema, LvsVipSchema
from controlplane.api.prefer import PREFER
from controlplane.api.task_routes import TaskRoutes
from controlplane.domain import network_entry as rules
from controlplane.domain.install import TaskState
from controlplane.domain.permission import Permission
from controlplane.services import network_entries

blueprint = Blueprint(
    "network_entries",
    __name__,
    url_prefix="/clusters/<string:cluster_id>/network-entry",
    description="One virtual IP before a cluster.",
)


class EntryPreviewSchema(schema.AnswerSchema):
    """What would be done on each host, and the checks; `preview_ref` is null while or where it cannot be applied."""

    task_id = schema.text(example="tsk_01jd2k3m4n5p6q7r8s9tavbwcx")
    preview_ref = schema.text(nullable=True, example="pvw_01jd2k3m4n5p6q7r8s9tavbwcx")
    preview_digest = schema.text("SHA-256 over everything that the preview binds.", nullable=True)
    preview_expires_at = schema.time(nullable=True)
    status = schema.text("previewing previewed preview_failed", example="previewed")
    summary = schema.document("How many configurations would be added, changed, removed or stay.")
    hosts = schema.document("Per host: its part, its keepalived.conf before and after, its fingerprint.")
    lvs_vip = schema.document(
        "The parameters with their defaults; of the password only whether.", nullable=True
    )
    remove = fields.Boolean(required=True)
    checks = fields.List(
        fields.Dict(),
        required=True,
        metadata={"description": "`{level, code, reason, message, hint, host}`."},
    )
    risk_level = schema.text("low medium high critical", nullable=True)
    risk_reasons = fields.List(fields.Raw(), required=True)
    approval = schema.document("What policy asks for before it may be applied.", nullable=True)
    binding = schema.document("What the digest covers.", nullable=True)


class EntryTaskSchema(schema.AnswerSchema):
    """Something that is done with an entry. `state` may be relied on, `status` is the finer word."""

    task_id = schema.text(example="tsk_01jd2k3m4n5p6q7r8s9tavbwcx")
    kind = schema.text("apply rollback failover_test", example="apply")
    state = fields.String(required=True, metadata={"enum": [str(state) for state in TaskState]})
    status = schema.text(example="previewed")
    project_id = schema.text()
    cluster = schema.text(example="blue")
    cluster_id = schema.text()
    stage = schema.text("The strictest of what uses the cluster.", example="production")
    runtime_type = schema.text(example="k8s")
    nodes = fields.List(fields.Dict(), required=True)
    undoes = schema.text("The apply that this one takes back.", nullable=True)
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


class PreviewedEntrySchema(EntryTaskSchema):
    """A task with its whole preview."""

    preview = fields.Nested(EntryPreviewSchema, required=True)


class EntryTaskDetailSchema(PreviewedEntrySchema):
    """A task with its preview, its steps and its jobs."""

    steps = fields.List(fields.Nested(InstallStepSchema), required=True)
    jobs = fields.List(fields.Nested(JobSchema), required=True)


class EntrySchema(schema.AnswerSchema):
    """The entry of a cluster as it was last seen."""

    cluster_id = schema.text()
    cluster = schema.text(example="blue")
    mode = fields.String(required=True, metadata={"enum": ["none", "lvs_vip"]})
    status = schema.text("none applying rolling_back ready degraded failed unknown", example="ready")
    vip_address = schema.text(nullable=True, example="192.0.2.10/24")
    active_node = schema.text("Who holds the VIP.", nullable=True)
    backends = fields.List(fields.Dict(), required=True)
    problems = fields.List(
        fields.Dict(),
        required=True,
        metadata={"description": "`{level, code, reason, message, hint, host}`."},
    )
    nodes = fields.List(fields.Dict(), required=True)
    lvs_vip = schema.document("The parameters; of the password only whether.", nullable=True)
    task_id = schema.text("The apply that made it so.", nullable=True)
    previous_task_id = schema.text("What a rollback goes back to.", nullable=True)
    connection = schema.document(
        "How Tidegate reaches the cluster: `{endpoint, through_vip, direct_endpoint}`. `direct_endpoint` is what it "
        "goes back to when the entry is taken back."
    )
    last_check_at = schema.time(nullable=True)
    last_failover = schema.document("`{from, to, outage_ms, observed_at, seen_by}`", nullable=True)


class NewEntryPreviewSchema(schema.StrictSchema):
    """What is to be done: `lvs_vip` for an apply; nothing more for a rollback or a failover test."""

    kind = fields.String(load_default="apply", validate=validate.OneOf(rules.KINDS))
    lvs_vip = fields.Nested(LvsVipSchema)
    cluster_networks = fields.Nested(ClusterNetworksSchema)
    remove = fields.Boolean(
        load_default=False,
        metadata={"description": "Rollback: take the entry away, also where there is one to go back to."},
    )


class EntryTaskArgs(schema.PageArgs):
    """Filters of the list."""

    kind = fields.String(validate=validate.OneOf(rules.KINDS))
    state = fields.String(validate=validate.OneOf([str(state) for state in TaskState]))


ROUTES = TaskRoutes(
    blueprint,
    network_entries.SUBJECT,
    path="/tasks",
    name="network_entry_task",
    plural="network_entry_tasks",
    a_task="a task",
    of="of a network entry",
    reads=Permission.CLUSTER_READ,
    changes=Permission.ENVIRONMENT_INSTALL,
    filters=EntryTaskArgs,
    row=EntryTaskSchema,
    detail=EntryTaskDetailSchema,
)


@blueprint.route("")
@requires(Permission.CLUSTER_READ)
@blueprint.response(200, EntrySchema)
def get_network_entry(cluster_id: str) -> dict[str, Any]:
    """Read the entry of a cluster, as it was last seen."""
    return network_entries.show(current_core(), current_actor(), cluster_id)


@blueprint.route("/preview", methods=["POST"])
@requires(Permission.ENVIRONMENT_INSTALL)
@idempotent
@understands(PREFER)
@blueprint.arguments(NewEntryPreviewSchema)
@blueprint.alt_response(202, schema=PreviewedEntrySchema, description="Still previewing; follow the task.")
@blueprint.response(201, PreviewedEntrySchema)
def preview_network_entry(body: dict[str, Any], cluster_id: str) -> Any:
    """Show what an apply, a rollback or a failover test would do on each host. Changes nothing.

    Problems: vip_conflict, backend_nodes_invalid, conflict.
    """
    core, actor = current_core(), current_actor()
    task = network_entries.request_preview(core, actor, cluster_id, body)
    return ROUTES.previewed(task["task_id"], f"/api/v1/clusters/{cluster_id}/network-entry")


@blueprint.route("/apply", methods=["POST"])
@requires(Permission.ENVIRONMENT_INSTALL)
@idempotent
@blueprint.arguments(ApplyInstallSchema)
@blueprint.response(202, EntryTaskSchema)
def apply_network_entry(body: dict[str, Any], cluster_id: str) -> dict[str, Any]:
    """Start what a preview showed, or ask for the approval that policy wants.

    Problems: preview_required, preview_expired, preview_mismatch, preview_stale, preview_used.
    """
    return ROUTES.applied(body, cluster_id, "apply")


@blueprint.route("/rollback", methods=["POST"])
@requires(Permission.ENVIRONMENT_INSTALL)
@idempotent
@blueprint.arguments(ApplyInstallSchema)
@blueprint.response(202, EntryTaskSchema)
def rollback_network_entry(body: dict[str, Any], cluster_id: str) -> dict[str, Any]:
    """Start the rollback that a preview with `kind: rollback` showed."""
    return ROUTES.applied(body, cluster_id, "rollback")


@blueprint.route("/failover-test", methods=["POST"])
@requires(Permission.ENVIRONMENT_INSTALL)
@idempotent
@blueprint.arguments(ApplyInstallSchema)
@blueprint.response(202, EntryTaskSchema)
def test_network_entry_failover(body: dict[str, Any], cluster_id: str) -> dict[str, Any]:
    """Let the active director stand back, and measure: what a preview with `kind: failover_test` showed."""
    return ROUTES.applied(body, cluster_id, "failover_test")


ROUTES.register()
