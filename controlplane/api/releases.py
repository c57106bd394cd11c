# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/deploy/releases`: preview, apply, watch, decide, roll back. DESIGN section 3."""

from __future__ import annotations

from typing import Any

from flask import Response
from marshmallow import fields, validate

from controlplane.api import schema, sse
from controlplane.api.approvals import ApproveSchema, RejectSchema, TicketDetailSchema
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.events import EventSchema
from controlplane.api.header import understands
from controlplane.api.idempotency import idempotent
from controlplane.api.jobs import JobSchema, LogLineSchema
from controlplane.api.prefer import PREFER, asked_wait
from controlplane.domain.permission import Permission
from controlplane.domain.release import ALIASES, State
from controlplane.services import approvals, jobs, previews, releases, timeline

blueprint = Blueprint(
    "releases", __name__, url_prefix="/deploy/releases", description="Preview, apply, watch, roll back."
)


class PreviewSchema(schema.AnswerSchema):
    """What would change, the checks, the risk; `preview_ref` is null while or where it cannot be applied."""

    release_id = schema.text(example="rel_01jd2k3m4n5p6q7r8s9tavbwcx")
    preview_ref = schema.text(nullable=True, example="prv_01jd2k3m4n5p6q7r8s9tavbwcx")
    preview_digest = schema.text("SHA-256 over everything that the preview binds.", nullable=True)
    preview_expires_at = schema.time(nullable=True)
    status = schema.text("previewing previewed preview_failed", example="previewed")
    strategy = schema.text(
        "The way it would go; of a rollback, one that works from where things are.", example="rolling"
    )
    strategy_params = schema.document()
    summary = schema.document("Services to be added, changed, removed.")
    hosts = schema.document("What would change, per host.")
    checks = fields.List(
        fields.Dict(), required=True, metadata={"description": "`{level, code, message, hint}`."}
    )
    risk_level = schema.text("low medium high critical", nullable=True)
    risk_reasons = fields.List(fields.Raw(), required=True)
    approval = schema.document("What policy asks for before it may be applied.", nullable=True)
    binding = schema.document("What the digest covers.", nullable=True)


class ReleaseSchema(schema.AnswerSchema):
    """The standard fields of a release. `lifecycle_state` may be relied on, `status` is the finer word."""

    release_id = schema.text(example="rel_01jd2k3m4n5p6q7r8s9tavbwcx")
    status = schema.text(example="previewed")
    lifecycle_state = fields.String(required=True, metadata={"enum": [str(state) for state in State]})
    runtime_type = schema.text(example="compose")
    approval_required = fields.Boolean(required=True)
    approval_ticket = schema.text("Id of its ticket.", nullable=True)
    preview_ref = schema.text(nullable=True, example="prv_01jd2k3m4n5p6q7r8s9tavbwcx")
    preview_digest = schema.text(nullable=True)
    preview_expires_at = schema.time(nullable=True)
    diagnostics_json = schema.document("What is known of a failure.", nullable=True)
    project_id = schema.text()
    action = schema.text("apply rollback", example="apply")
    service = schema.text(example="shop")
    service_id = schema.text()
    service_version = schema.text(example="2")
    target = schema.text(example="shop-production")
    target_id = schema.text()
    environment = schema.text(example="production")
    environment_id = schema.text()
    stage = schema.text(example="production")
    strategy = schema.text(example="rolling")
    strategy_params = schema.document()
    variables = schema.document("Secret ones as `hmac:` digests.")
    trigger_source = schema.text(example="api")
    created_by = schema.text()
    created_by_name = schema.text()
    created_at = schema.time()
    started_at = schema.time(nullable=True)
    finished_at = schema.time(nullable=True)
    rollback_of = schema.text("The release that this one undoes.", nullable=True)
    restores = schema.text("The release that this one applies again.", nullable=True)
    rolled_back_by = schema.text("The release that undid this one.", nullable=True)
    cancel_requested_at = schema.time(nullable=True)
    kept_until = schema.time("When the colour that had the traffic before is deleted.", nullable=True)
    version = fields.Integer(required=True)


class ReleaseDetailSchema(ReleaseSchema):
    """A release with its jobs."""

    jobs = fields.List(fields.Nested(JobSchema), required=True)


class PreviewedReleaseSchema(ReleaseSchema):
    """A release with its whole preview."""

    preview = fields.Nested(PreviewSchema, required=True)


class DiagnosticsSchema(schema.AnswerSchema):
    """What is known of a failure; members are empty where nothing failed."""

    summary = schema.text()
    stage = schema.text(nullable=True)
    error_key = schema.text(nullable=True)
    failure_domain = schema.text(
        "connection auth integrity preflight runtime health timeout policy cancelled lost internal",
        nullable=True,
    )
    hosts = fields.List(fields.Dict(), required=True)
    objects = fields.List(fields.Dict(), required=True)
    hints = fields.List(fields.Raw(), required=True)


class ReleaseLogSchema(schema.AnswerSchema):
    """What the newest job of a release printed."""

    items = fields.List(fields.Nested(LogLineSchema), required=True)
    next = fields.Integer(required=True, allow_none=True)
    job_id = schema.text(nullable=True)


class AskedSchema(schema.StrictSchema):
    """What may be said of a release when it is asked for."""

    version = fields.String(allow_none=True, validate=validate.Length(1, 64), metadata={"example": "2"})
    strategy = fields.String(allow_none=True, validate=validate.OneOf(("rolling", "blue_green", "canary")))
    strategy_params = fields.Dict(
        keys=fields.String(), allow_none=True, metadata={"example": {"max_parallel": 1}}
    )
    variables = fields.Dict(
        keys=fields.String(), allow_none=True, metadata={"example": {"greeting": "hello"}}
    )


class AskPreviewSchema(AskedSchema):
    """What is to be previewed."""

    target_id = fields.String(
        required=True,
        validate=validate.Length(1, 255),
        metadata={"example": "tgt_01jd2k3m4n5p6q7r8s9tavbwcx"},
    )
    service = fields.String(required=True, validate=validate.Length(1, 255), metadata={"example": "shop"})


class ApplySchema(AskedSchema):
    """A preview to be applied. Parameters of the preview may be repeated; one that differs refuses."""

    preview_ref = fields.String(
        allow_none=True,
        validate=validate.Length(0, 255),
        metadata={"example": "prv_01jd2k3m4n5p6q7r8s9tavbwcx"},
    )
    target_id = fields.String(allow_none=True, validate=validate.Length(1, 255))
    service = fields.String(allow_none=True, validate=validate.Length(1, 255))


class RollbackPreviewSchema(schema.StrictSchema):
    """Where to go back to, and over what."""

    to_release_id = fields.String(
        allow_none=True,
        validate=validate.Length(1, 40),
        metadata={"description": "The newest verified release before it, when left out."},
    )
    force_conflicts = fields.Boolean(
        allow_none=True,
        metadata={
            "description": "Kubernetes only: take over the fields that others changed since, such as a number of "
            "replicas. The preview names each with its owner, and policy is asked about it as a risk. When left out, "
            "as the release that is gone back to did."
        },
    )


class RollbackSchema(schema.StrictSchema):
    """The rollback preview to be applied."""

    preview_ref = fields.String(
        allow_none=True,
        validate=validate.Length(0, 255),
        metadata={"example": "prv_01jd2k3m4n5p6q7r8s9tavbwcx"},
    )


class ReleaseArgs(schema.PageArgs):
    """Filters of the list."""

    target = schema.word_filter("Id or name of the target.")
    environment = schema.word_filter("Id or name of the environment.")
    service = schema.word_filter("Id or name of the service.")
    created_by = schema.word_filter("Id or name of who asked for it.")
    project_id = schema.id_filter("The project.")
    lifecycle_state = fields.String(
        validate=validate.OneOf([str(state) for state in State] + sorted(ALIASES)),
        metadata={"description": "`succeeded` and `rolled_back` are understood as well."},
    )


def _answer_preview(release_id: str) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Wait for a preview as long as the caller prefers: 201 with it, or 202 with the release so far."""
    wait = asked_wait()
    release = previews.wait(current_core(), current_actor(), release_id, wait.seconds)
    headers = {"Location": f"/api/v1/deploy/releases/{release_id}", **wait.headers}
    return release, 202 if release["status"] == "previewing" else 201, headers


@blueprint.route("/preview", methods=["POST"])
@requires(Permission.RELEASE_APPLY)
@idempotent
@understands(PREFER)
@blueprint.arguments(AskPreviewSchema)
@blueprint.alt_response(
    202, schema=PreviewedReleaseSchema, description="Still previewing; follow the release."
)
@blueprint.response(
    201, PreviewedReleaseSchema, description="The whole preview; no preview_ref where a check blocks."
)
def preview_release(body: dict[str, Any]) -> Any:
    """Show what a release would change. Nothing is changed by asking.

    Problems: not_found, permission_denied, validation_error.
    """
    release = previews.request(current_core(), current_actor(), body)
    return _answer_preview(release["release_id"])


@blueprint.route("/apply", methods=["POST"])
@requires(Permission.RELEASE_APPLY)
@idempotent
@blueprint.arguments(ApplySchema)
@blueprint.response(202, ReleaseSchema)
def apply_release(body: dict[str, Any]) -> dict[str, Any]:
    """Start what a preview showed, or ask for the approval that policy wants.

    Problems: preview_required, preview_expired, preview_mismatch, preview_stale, preview_used.
    """
    return releases.apply(current_core(), current_actor(), body.pop("preview_ref", None) or None, body)


@blueprint.route("")
@requires(Permission.RELEASE_READ)
@blueprint.arguments(ReleaseArgs, location="query")
@blueprint.response(200, schema.page_of(ReleaseSchema))
def list_releases(query: dict[str, Any]) -> dict[str, Any]:
    """List releases, newest first."""
    filters, page = schema.page_request(query)
    return releases.list_(current_core(), current_actor(), filters, page)


@blueprint.route("/<string:release_id>")
@requires(Permission.RELEASE_READ)
@blueprint.response(200, ReleaseDetailSchema)
def get_release(release_id: str) -> dict[str, Any]:
    """Read a release."""
    return releases.get(current_core(), current_actor(), release_id)


@blueprint.route("/<string:release_id>/preview")
@requires(Permission.RELEASE_READ)
@blueprint.response(200, PreviewSchema)
def get_release_preview(release_id: str) -> dict[str, Any]:
    """Read the whole preview of a release."""
    return releases.preview_document(current_core(), current_actor(), release_id)


@blueprint.route("/<string:release_id>/diagnostics")
@requires(Permission.RELEASE_READ)
@blueprint.response(200, DiagnosticsSchema)
def get_release_diagnostics(release_id: str) -> dict[str, Any]:
    """Read what is known of a release's failure."""
    return releases.diagnostics(current_core(), current_actor(), release_id)


@blueprint.route("/<string:release_id>/timeline")
@requires(Permission.RELEASE_READ)
@blueprint.arguments(schema.SeqArgs, location="query")
@blueprint.response(200, schema.positions_of(EventSchema))
def get_release_timeline(query: dict[str, Any], release_id: str) -> dict[str, Any]:
    """Read on in the events of a release."""
    return timeline.of_release(current_core(), current_actor(), release_id, query["after"], query["limit"])


@blueprint.route("/<string:release_id>/timeline/stream")
@requires(Permission.RELEASE_READ)
@blueprint.arguments(sse.StreamArgs, location="query")
@understands(sse.LAST_EVENT_ID)
@blueprint.response(200, {"type": "string"}, content_type=sse.MEDIA_TYPE)
def stream_release_timeline(query: dict[str, Any], release_id: str) -> Response:
    """Follow the events of a release as server-sent events, from the beginning unless told otherwise.

    The stream ends with `event: end` once the release is in an end state and everything was sent.
    """
    return sse.answer(sse.ReleaseStream(current_core(), current_actor(), release_id), query)


@blueprint.route("/<string:release_id>/logs")
@requires(Permission.RELEASE_READ)
@blueprint.arguments(schema.SeqArgs, location="query")
@blueprint.response(200, ReleaseLogSchema)
def get_release_logs(query: dict[str, Any], release_id: str) -> dict[str, Any]:
    """Read on in what the newest job of a release printed."""
    return jobs.release_logs(current_core(), current_actor(), release_id, query["after"], query["limit"])


@blueprint.route("/<string:release_id>/rollback/preview", methods=["POST"])
@requires(Permission.RELEASE_ROLLBACK)
@idempotent
@understands(PREFER)
@blueprint.arguments(RollbackPreviewSchema)
@blueprint.alt_response(
    202, schema=PreviewedReleaseSchema, description="Still previewing; follow the release."
)
@blueprint.response(201, PreviewedReleaseSchema)
def preview_rollback(body: dict[str, Any], release_id: str) -> Any:
    """Show what going back would change. The rollback is a release of its own.

    Problems: release_not_found, not_found, permission_denied, release_state_invalid, validation_error.
    """
    rollback = previews.request_rollback(
        current_core(), current_actor(), release_id, body.get("to_release_id"), body.get("force_conflicts")
    )
    return _answer_preview(rollback["release_id"])


@blueprint.route("/<string:release_id>/rollback", methods=["POST"])
@requires(Permission.RELEASE_ROLLBACK)
@idempotent
@blueprint.arguments(RollbackSchema)
@blueprint.response(202, ReleaseSchema)
def rollback_release(body: dict[str, Any], release_id: str) -> dict[str, Any]:
    """Start the rollback that a rollback preview showed. Returns the rollback release."""
    return releases.rollback(current_core(), current_actor(), release_id, body.get("preview_ref") or None)


@blueprint.route("/<string:release_id>/approve", methods=["POST"])
@requires(Permission.RELEASE_READ)
@idempotent
@blueprint.arguments(ApproveSchema)
@blueprint.response(200, TicketDetailSchema)
def approve_release(body: dict[str, Any], release_id: str) -> dict[str, Any]:
    """Approve the ticket of a release. The ticket names the permission that this needs."""
    return approvals.decide_release(
        current_core(), current_actor(), release_id, "approve", body["comment"], body["expected_digest"]
    )


@blueprint.route("/<string:release_id>/reject", methods=["POST"])
@requires(Permission.RELEASE_READ)
@idempotent
@blueprint.arguments(RejectSchema)
@blueprint.response(200, TicketDetailSchema)
def reject_release(body: dict[str, Any], release_id: str) -> dict[str, Any]:
    """Reject the ticket of a release, with a reason."""
    return approvals.decide_release(current_core(), current_actor(), release_id, "reject", body["comment"])


@blueprint.route("/<string:release_id>/cancel", methods=["POST"])
@requires(Permission.RELEASE_READ)
@idempotent
@blueprint.response(202, ReleaseSchema)
def cancel_release(release_id: str) -> dict[str, Any]:
    """Take a release back: at once before it started, else its worker ends it.

    Needs the permissions that its apply or rollback needs.
    """
    return releases.cancel(current_core(), current_actor(), release_id)


@blueprint.route("/<string:release_id>/promote", methods=["POST"])
@requires(Permission.RELEASE_READ)
@idempotent
@blueprint.response(202, ReleaseSchema)
def promote_release(release_id: str) -> dict[str, Any]:
    """Let a paused release go on to the rest.

    Needs the permissions that its apply or rollback needs.
    """
    return releases.promote(current_core(), current_actor(), release_id)


@blueprint.route("/<string:release_id>/abort", methods=["POST"])
@requires(Permission.RELEASE_READ)
@idempotent
@blueprint.response(202, ReleaseSchema)
def abort_release(release_id: str) -> dict[str, Any]:
    """Take a paused release back to what was there.

    Needs the permissions that its apply or rollback needs.
    """
    return releases.abort(current_core(), current_actor(), release_id)
