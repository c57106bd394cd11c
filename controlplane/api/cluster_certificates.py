# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/clusters/{id}/certs`: the certificates of a cluster's control planes, and their rotation."""

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
from controlplane.api.network_entries import EntryTaskSchema
from controlplane.api.prefer import PREFER
from controlplane.api.task_routes import TaskRoutes
from controlplane.domain import certificates as rules
from controlplane.domain.install import TaskState
from controlplane.domain.permission import Permission
from controlplane.services import cert_rotations, cluster_certificates

blueprint = Blueprint(
    "cluster_certificates",
    __name__,
    url_prefix="/clusters/<string:cluster_id>/certs",
    description="The certificates of clusters that Tidegate made.",
)


class CertificateSchema(schema.AnswerSchema):
    """One certificate, or authority, of a control plane."""

    name = schema.text(example="apiserver")
    kind = schema.text(
        "certificate authority kubelet external: a rotation renews the first.", example="certificate"
    )
    path = schema.text(example="/etc/kubernetes/pki/apiserver.crt")
    authority = schema.text("Who signed it.", example="ca")
    managed_by = schema.text("kubeadm kubelet external nobody: who renews it.", example="kubeadm")
    subject = fields.String(metadata={"example": "CN=kube-apiserver"})
    issuer = fields.String(metadata={"example": "CN=kubernetes"})
    serial = fields.String(metadata={"example": "4F1D9C0A"})
    not_before = fields.String(metadata={"format": "date-time"})
    expires_at = fields.String(metadata={"format": "date-time"})
    days_left = fields.Integer(
        required=True, allow_none=True, metadata={"description": "Whole days; negative once it has ended."}
    )
    names = fields.List(fields.String(), metadata={"description": "What a server's is good for."})
    error = schema.text("Why it could not be read.", nullable=True)


class HostCertificatesSchema(schema.AnswerSchema):
    """The certificates of one control plane."""

    host = schema.text(example="plane-1")
    certificates = fields.List(fields.Nested(CertificateSchema), required=True)


class ClusterCertificatesSchema(schema.AnswerSchema):
    """The certificates of a cluster as they were last seen. Empty for one that Tidegate did not make."""

    cluster_id = schema.text()
    cluster = schema.text(example="blue")
    mode = schema.text(example="platform_managed")
    status = schema.text(example="ready")
    checked_at = schema.time("When they were last seen; null: not yet.", nullable=True)
    first_expires_at = schema.time("When the first that a rotation renews ends.", nullable=True)
    days_left = fields.Integer(required=True, allow_none=True)
    hosts = fields.List(fields.Nested(HostCertificatesSchema), required=True)
    problems = fields.List(
        fields.Dict(),
        required=True,
        metadata={"description": "`{level, code, reason, message, hint, host}`."},
    )


class RotationPreviewSchema(schema.AnswerSchema):
    """What a rotation would do on each control plane, and the checks."""

    task_id = schema.text(example="tsk_01jd2k3m4n5p6q7r8s9tavbwcx")
    preview_ref = schema.text(nullable=True, example="pvw_01jd2k3m4n5p6q7r8s9tavbwcx")
    preview_digest = schema.text("SHA-256 over everything that the preview binds.", nullable=True)
    preview_expires_at = schema.time(nullable=True)
    status = schema.text("previewing previewed preview_failed", example="previewed")
    needed = fields.Boolean(
        required=True,
        allow_none=True,
        metadata={"description": "Whether a certificate ends within `within_days`; else a check tells more."},
    )
    within_days = fields.Integer(required=True, allow_none=True)
    first_expires_at = schema.time(nullable=True)
    summary = schema.document("How many are renewed, restarted, kept.")
    hosts = schema.document("Per control plane: its certificates, the plan, its fingerprint.")
    checks = fields.List(
        fields.Dict(),
        required=True,
        metadata={"description": "`{level, code, reason, message, hint, host}`."},
    )
    risk_level = schema.text("low medium high critical", nullable=True)
    risk_reasons = fields.List(fields.Raw(), required=True)
    approval = schema.document("What policy asks for before it may be applied.", nullable=True)
    binding = schema.document("What the digest covers.", nullable=True)


class RotationTaskSchema(EntryTaskSchema):
    """A rotation. `state` may be relied on, `status` is the finer word."""

    kind = schema.text("rotate", example="rotate")


class PreviewedRotationSchema(RotationTaskSchema):
    """A rotation with its whole preview."""

    preview = fields.Nested(RotationPreviewSchema, required=True)


class RotationDetailSchema(PreviewedRotationSchema):
    """A rotation with its preview, its steps and its jobs."""

    steps = fields.List(fields.Nested(InstallStepSchema), required=True)
    jobs = fields.List(fields.Nested(JobSchema), required=True)


class NewRotationSchema(schema.StrictSchema):
    """From when on a rotation is said to be needed."""

    within_days = fields.Integer(
        strict=True,
        load_default=rules.WITHIN_DAYS,
        validate=validate.Range(0, rules.MOST_DAYS),
        metadata={"description": "It is needed when a certificate ends within so many days."},
    )


class RotationArgs(schema.PageArgs):
    """Filters of the list."""

    state = fields.String(validate=validate.OneOf([str(state) for state in TaskState]))


ROUTES = TaskRoutes(
    blueprint,
    cert_rotations.SUBJECT,
    path="/rotate/tasks",
    name="cert_rotation",
    plural="cert_rotations",
    a_task="a rotation",
    of="that rotate a cluster's certificates",
    reads=Permission.CLUSTER_READ,
    changes=Permission.CLUSTER_ROTATE,
    filters=RotationArgs,
    row=RotationTaskSchema,
    detail=RotationDetailSchema,
)


@blueprint.route("")
@requires(Permission.CLUSTER_READ)
@blueprint.response(200, ClusterCertificatesSchema)
def get_cluster_certs(cluster_id: str) -> dict[str, Any]:
    """List the certificates of a cluster's control planes, as they were last seen."""
    return cluster_certificates.show(current_core(), current_actor(), cluster_id)


@blueprint.route("/check", methods=["POST"])
@requires(Permission.CLUSTER_READ)
@idempotent
@blueprint.response(202, JobSchema)
def check_cluster_certs(cluster_id: str) -> dict[str, Any]:
    """Look at the certificates now. The answer is the job; what it sees is listed when it is done.

    Problems: conflict.
    """
    return cluster_certificates.request_check(current_core(), current_actor(), cluster_id)


@blueprint.route("/rotate/preview", methods=["POST"])
@requires(Permission.CLUSTER_ROTATE)
@idempotent
@understands(PREFER)
@blueprint.arguments(NewRotationSchema)
@blueprint.alt_response(202, schema=PreviewedRotationSchema, description="Still previewing; follow the task.")
@blueprint.response(201, PreviewedRotationSchema)
def preview_cert_rotation(body: dict[str, Any], cluster_id: str) -> Any:
    """Show what a rotation would do on each control plane, and whether it is needed. Changes nothing.

    Problems: conflict.
    """
    core, actor = current_core(), current_actor()
    task = cert_rotations.request_preview(core, actor, cluster_id, body)
    return ROUTES.previewed(task["task_id"], f"/api/v1/clusters/{cluster_id}/certs")


@blueprint.route("/rotate/apply", methods=["POST"])
@requires(Permission.CLUSTER_ROTATE)
@idempotent
@blueprint.arguments(ApplyInstallSchema)
@blueprint.response(202, RotationTaskSchema)
def apply_cert_rotation(body: dict[str, Any], cluster_id: str) -> dict[str, Any]:
    """Rotate what a preview showed, one control plane after another; or ask for the approval that policy wants.

    Problems: preview_required, preview_expired, preview_mismatch, preview_stale, preview_used.
    """
    return ROUTES.applied(body, cluster_id, "rotate")


ROUTES.register()
