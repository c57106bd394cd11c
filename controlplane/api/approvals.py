# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/approvals/inbox`: what waits for a decision, and deciding it. DESIGN section 4."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from controlplane.api import schema
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.idempotency import idempotent
from controlplane.domain.approval import SCOPE_TYPES, TicketStatus
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, approvals

blueprint = Blueprint(
    "approvals", __name__, url_prefix="/approvals/inbox", description="What waits for a decision."
)


class TicketSchema(schema.AnswerSchema):
    """An approval ticket."""

    ticket = schema.text(example="tkt_01jd2k3m4n5p6q7r8s9tavbwcx")
    scope_type = schema.text(example="release")
    scope_id = schema.text("What it is about.", example="rel_01jd2k3m4n5p6q7r8s9tavbwcx")
    project_id = schema.text()
    team_id = schema.text(nullable=True)
    environment_id = schema.text(nullable=True)
    runtime_type = schema.text(example="compose")
    risk_level = schema.text("low medium high critical", example="high")
    risk_reasons = fields.List(fields.Raw(), required=True)
    priority = fields.Integer(required=True, metadata={"description": "0 is first.", "example": 1})
    status = fields.String(required=True, metadata={"enum": [str(status) for status in TicketStatus]})
    required_permission = schema.text(example="deploy:release:approve")
    requested_by = schema.text()
    requested_by_name = schema.text()
    assigned_to = schema.text(nullable=True)
    summary = schema.text()
    detail = schema.document()
    preview_digest = schema.text(nullable=True)
    min_approvals = fields.Integer(required=True)
    created_at = schema.time()
    expires_at = schema.time(nullable=True)
    sla_due_at = schema.time(nullable=True)
    decided_at = schema.time(nullable=True)
    version = fields.Integer(required=True)


class TicketActionSchema(schema.AnswerSchema):
    """What somebody did to a ticket."""

    action = schema.text(example="approved")
    actor_id = schema.text()
    actor_name = schema.text()
    comment = schema.text()
    occurred_at = schema.time()


class TicketDetailSchema(TicketSchema):
    """A ticket with its actions and what it is about."""

    actions = fields.List(fields.Nested(TicketActionSchema), required=True)
    release = schema.document("The release it is about.", nullable=True)
    install_task = schema.document("The install it is about.", nullable=True)
    network_entry_task = schema.document("The network entry's task it is about.", nullable=True)
    cert_rotation_task = schema.document("The rotation of certificates it is about.", nullable=True)
    preview = schema.document("The preview that is to be decided on.", nullable=True)


class StatsSchema(schema.AnswerSchema):
    """Counts over the rows that the caller may see."""

    pending = fields.Integer(required=True)
    overdue = fields.Integer(required=True)
    expiring_15m = fields.Integer(required=True)


class InboxSchema(schema.page_of(TicketSchema)):  # type: ignore[misc]
    """A page of tickets, and counts of the whole view."""

    stats = fields.Nested(StatsSchema, required=True)


class InboxArgs(schema.PageArgs):
    """View and filters of the inbox."""

    view = fields.String(load_default="mine", validate=validate.OneOf(("mine", "pending", "all")))
    status = fields.String(validate=validate.OneOf([str(status) for status in TicketStatus]))
    scope_type = fields.String(validate=validate.OneOf(SCOPE_TYPES))
    project_id = schema.id_filter("The project.")
    team_id = schema.id_filter("The team of the project.")
    environment_id = schema.id_filter("The environment.")
    runtime_type = fields.String(validate=validate.OneOf(("compose", "k8s")))
    risk_level = fields.String(validate=validate.OneOf(("low", "medium", "high", "critical")))
    priority = fields.Integer(validate=validate.Range(0, 3))
    assigned_to = schema.id_filter("The user it is assigned to.")
    requested_by = schema.id_filter("The user who asked.")
    q = schema.word_filter("Text in the summary.")


class ApproveSchema(schema.StrictSchema):
    """A yes. `expected_digest` must be the preview's, when it is given."""

    comment = fields.String(
        load_default="",
        validate=validate.Length(max=approvals.COMMENT_LENGTH),
        metadata={"example": "looks right"},
    )
    expected_digest = fields.String(load_default=None, allow_none=True, validate=validate.Length(1, 80))


class RejectSchema(schema.StrictSchema):
    """A no, with its reason."""

    comment = fields.String(
        required=True,
        validate=validate.Length(1, approvals.COMMENT_LENGTH),
        metadata={"example": "not before the weekend"},
    )


class CommentSchema(schema.StrictSchema):
    """A comment."""

    comment = fields.String(
        required=True, validate=validate.Length(1, approvals.COMMENT_LENGTH), metadata={"example": "why now?"}
    )


class AssignSchema(schema.StrictSchema):
    """Who should decide: id or name of a user who could."""

    user_id = fields.String(required=True, validate=validate.Length(1, 255), metadata={"example": "approver"})


def _decider() -> Actor:
    return access.through(current_actor(), "inbox")


@blueprint.route("")
@requires(Permission.APPROVAL_READ)
@blueprint.arguments(InboxArgs, location="query")
@blueprint.response(200, InboxSchema)
def list_inbox(query: dict[str, Any]) -> dict[str, Any]:
    """List tickets: pending first, then priority, expiry, age, unless sorted otherwise."""
    view = query.pop("view")
    filters, page = schema.page_request(query)
    texts = {name: str(value) for name, value in filters.items()}
    return approvals.inbox(current_core(), current_actor(), view, texts, page)


@blueprint.route("/<string:ticket_id>")
@requires(Permission.APPROVAL_READ)
@blueprint.response(200, TicketDetailSchema)
def get_ticket(ticket_id: str) -> dict[str, Any]:
    """Read a ticket. The first look of somebody who could decide it is kept."""
    return approvals.get(current_core(), current_actor(), ticket_id)


@blueprint.route("/<string:ticket_id>/approve", methods=["POST"])
@requires(Permission.APPROVAL_READ)
@idempotent
@blueprint.arguments(ApproveSchema)
@blueprint.response(200, TicketDetailSchema)
def approve_ticket(body: dict[str, Any], ticket_id: str) -> dict[str, Any]:
    """Say yes. The ticket names the permission that this needs.

    Problems: ticket_expired, ticket_decided, self_approval_denied, approval_permission_denied,
    ticket_scope_mismatch.
    """
    return approvals.approve(current_core(), _decider(), ticket_id, body["comment"], body["expected_digest"])


@blueprint.route("/<string:ticket_id>/reject", methods=["POST"])
@requires(Permission.APPROVAL_READ)
@idempotent
@blueprint.arguments(RejectSchema)
@blueprint.response(200, TicketDetailSchema)
def reject_ticket(body: dict[str, Any], ticket_id: str) -> dict[str, Any]:
    """Say no, with a reason."""
    return approvals.reject(current_core(), _decider(), ticket_id, body["comment"])


@blueprint.route("/<string:ticket_id>/assign", methods=["POST"])
@requires(Permission.APPROVAL_REVIEW)
@idempotent
@blueprint.arguments(AssignSchema)
@blueprint.response(200, TicketDetailSchema)
def assign_ticket(body: dict[str, Any], ticket_id: str) -> dict[str, Any]:
    """Name who should decide; anybody who may decide still may."""
    return approvals.assign(current_core(), _decider(), ticket_id, body["user_id"])


@blueprint.route("/<string:ticket_id>/comment", methods=["POST"])
@requires(Permission.APPROVAL_READ)
@idempotent
@blueprint.arguments(CommentSchema)
@blueprint.response(200, TicketDetailSchema)
def comment_ticket(body: dict[str, Any], ticket_id: str) -> dict[str, Any]:
    """Add a comment."""
    return approvals.comment(current_core(), _decider(), ticket_id, body["comment"])
