# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/clusters`: Kubernetes clusters, brought in with a kubeconfig or its parts, or made of hosts."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from controlplane.api import schema
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.environments import MOST_NODES, EnvironmentSchema, SetNodeSchema
from controlplane.api.idempotency import idempotent
from controlplane.api.installs import MOST_INPUTS, PostTaskSchema, PreviewedInstallSchema
from controlplane.api.lvs_vip import PlannedEntrySchema
from controlplane.domain.cluster import LONGEST_ENDPOINT, LONGEST_TOKEN
from controlplane.domain.environment import STAGES
from controlplane.domain.kubeconfig import LONGEST_NAME, MOST_BYTES
from controlplane.domain.permission import Permission
from controlplane.services import cluster_install, cluster_views, clusters
from controlplane.store.pages import LIMIT, MOST

LONGEST_PEM = 65536
PROBLEM = {"schema": schema.ProblemSchema, "content_type": "application/problem+json"}

blueprint = Blueprint(
    "clusters", __name__, url_prefix="/clusters", description="Kubernetes clusters, and how they are reached."
)


class ClusterSchema(schema.AnswerSchema):
    """A cluster. Its credential is never answered, only of what kind it is and when it ends."""

    id = schema.text(example="cls_01jd2k3m4n5p6q7r8s9tavbwcx")
    project_id = schema.text()
    name = schema.text(example="blue")
    mode = schema.text(example="external_managed")
    endpoint = schema.text(example="https://192.0.2.10:6443")
    direct_endpoint = schema.text(
        "Where it was reached before its endpoint became the VIP of its network entry, and is again without it.",
        nullable=True,
    )
    has_ca = fields.Boolean(
        required=True, metadata={"description": "Whether it has an authority of its own to trust."}
    )
    insecure_skip_tls_verify = fields.Boolean(required=True)
    warning = schema.text("What is not safe about the connection.", nullable=True)
    credential_kind = schema.text("token or certificate", example="token")
    credential_expires_at = schema.time("Null for a token that does not say.", nullable=True)
    server_version = schema.text(nullable=True, example="v1.34.1")
    status = schema.text(
        "ready or failed: what the last test found; gone: with its environment.", example="ready"
    )
    last_check = schema.document("What the last test of the connection found.")
    last_checked_at = schema.time(nullable=True)
    certificates_expire_at = schema.time(
        "When the first certificate of its control planes ends; null where that was not seen.", nullable=True
    )
    version = fields.Integer(required=True)
    created_by = schema.text()
    created_at = schema.time()


class ClusterDetailSchema(ClusterSchema):
    """A cluster with the tasks that followed its installs by themselves."""

    post_tasks = fields.List(fields.Nested(PostTaskSchema), required=True)


class ChangedClusterSchema(ClusterSchema):
    """A cluster with the targets to which no release can be made over its new connection."""

    targets_failing = fields.List(fields.Dict(keys=fields.String()), required=True)


class ConnectionTestSchema(schema.AnswerSchema):
    """What a test of a connection found. A connection that does not work is a problem document instead."""

    cluster_id = schema.text()
    reachable = fields.Boolean(required=True)
    error_key = schema.text(nullable=True)
    detail = schema.text(nullable=True)
    server_version = schema.text(nullable=True, example="v1.34.1")
    latency_ms = fields.Float(
        required=True, allow_none=True, metadata={"description": "Of one request on an open connection."}
    )
    certificate_expires_at = schema.time("The server's certificate.", nullable=True)
    credential_expires_at = schema.time(nullable=True)
    namespace = schema.text("Where it was asked what the credential may do.", nullable=True)
    allowed = fields.List(
        fields.String(), required=True, metadata={"description": "Of what a release needs there."}
    )
    lacking = fields.List(
        fields.String(), required=True, metadata={"description": "Of what a release needs there."}
    )
    warning = schema.text(nullable=True)


class NamespaceViewSchema(schema.AnswerSchema):
    """A namespace of a cluster."""

    name = schema.text(example="shop")
    status = schema.text(example="Active")
    created_at = schema.text()


class WorkloadViewSchema(schema.AnswerSchema):
    """Something that runs in a cluster. `wanted` and `ready` are pods, of a Job completions."""

    kind = schema.text("Deployment StatefulSet DaemonSet Job", example="Deployment")
    namespace = schema.text(example="shop")
    name = schema.text(example="web")
    wanted = fields.Integer(required=True)
    ready = fields.Integer(required=True)
    images = fields.List(fields.String(), required=True)
    created_at = schema.text()


class EventViewSchema(schema.AnswerSchema):
    """An event that the cluster itself wrote."""

    namespace = schema.text(example="shop")
    type = schema.text("Normal or Warning", example="Warning")
    reason = schema.text(example="FailedScheduling")
    object = schema.text(example="Pod/web-0")
    message = schema.text()
    count = fields.Integer(required=True)
    last_seen = schema.text()


def _secret(description: str, longest: int) -> fields.String:
    return fields.String(
        load_only=True, validate=validate.Length(1, longest), metadata={"description": description}
    )


def _namespace_word() -> fields.String:
    said = "Where it is asked what the credential may do; the kubeconfig's own or `default` when left out."
    return fields.String(validate=schema.NAME, metadata={"description": said, "example": "shop"})


def _kubeconfig() -> fields.String:
    said = "Its text, with everything inline: no file path, no exec, no auth-provider, no proxy-url."
    return fields.String(
        required=True,
        load_only=True,
        validate=validate.Length(1, MOST_BYTES),
        metadata={"description": said},
    )


def _context() -> fields.String:
    return fields.String(
        validate=validate.Length(1, LONGEST_NAME),
        metadata={"description": "The context to take; the current one when left out."},
    )


class _PartsSchema(schema.StrictSchema):
    """What a kubeconfig is made of."""

    ca = fields.String(
        validate=validate.Length(1, LONGEST_PEM),
        metadata={"description": "The cluster's authority, PEM; those of this machine when left out."},
    )
    token = _secret("A bearer token.", LONGEST_TOKEN)
    client_certificate = fields.String(
        validate=validate.Length(1, LONGEST_PEM), metadata={"description": "In place of a token; PEM."}
    )
    client_key = _secret("The key of the client certificate; PEM.", LONGEST_PEM)
    tls_server_name = fields.String(
        validate=validate.Length(1, 253), metadata={"description": "The name in the server's certificate."}
    )
    insecure_skip_tls_verify = fields.Boolean(
        metadata={"description": "Only where the installation's settings let it."}
    )
    namespace = _namespace_word()


class ConnectionSchema(_PartsSchema):
    """How a cluster is reached from now on: a kubeconfig, or an endpoint with its credential."""

    kubeconfig = _secret("Its text, in place of all the other members but `context`.", MOST_BYTES)
    context = _context()
    endpoint = fields.String(
        validate=validate.Length(1, LONGEST_ENDPOINT), metadata={"example": "https://192.0.2.10:6443"}
    )


class NewFromKubeconfigSchema(schema.StrictSchema):
    """A cluster to be brought in with a kubeconfig."""

    project_id = schema.project_word()
    name = fields.String(required=True, validate=schema.NAME, metadata={"example": "blue"})
    kubeconfig = _kubeconfig()
    context = _context()
    namespace = _namespace_word()


class NewFromPartsSchema(_PartsSchema):
    """A cluster to be brought in with its endpoint, and a token or a client certificate with its key."""

    project_id = schema.project_word()
    name = fields.String(required=True, validate=schema.NAME, metadata={"example": "blue"})
    endpoint = fields.String(
        required=True,
        validate=validate.Length(1, LONGEST_ENDPOINT),
        metadata={"example": "https://192.0.2.10:6443"},
    )


class NewClusterSchema(schema.StrictSchema):
    """A cluster to be made of hosts, with kubeadm; what is left out of the last three is the bundle's to say."""

    project_id = schema.project_word()
    name = fields.String(required=True, validate=schema.NAME, metadata={"example": "blue"})
    stage = fields.String(required=True, validate=validate.OneOf(STAGES))
    nodes = fields.List(fields.Nested(SetNodeSchema), required=True, validate=validate.Length(1, MOST_NODES))
    runtime_version = fields.String(validate=validate.Length(1, 64), metadata={"example": "1.36"})
    profile = fields.String(validate=validate.Length(1, 64), metadata={"example": "standard"})
    inputs = fields.Dict(
        keys=fields.String(validate=validate.Length(1, 64)), validate=validate.Length(0, MOST_INPUTS)
    )
    network_entry = fields.Nested(PlannedEntrySchema)


class OrderedClusterSchema(schema.AnswerSchema):
    """What a cluster is being made of: its environment, and the task whose preview is to be applied."""

    environment = fields.Nested(EnvironmentSchema, required=True)
    install = fields.Nested(PreviewedInstallSchema, required=True)


class NamespaceSchema(schema.StrictSchema):
    """What is to be tested beside the connection."""

    namespace = _namespace_word()


class ClusterArgs(schema.PageArgs):
    """Filters of the list."""

    project_id = schema.word_filter("Id or name of the project.")
    name = schema.word_filter("The name.")
    status = fields.String(validate=validate.OneOf(("ready", "failed", "gone")))
    expires_before = fields.AwareDateTime(
        format="iso", metadata={"description": "Those whose credential ends before this time."}
    )


class ViewArgs(schema.StrictSchema):
    """The page of a view. `total_estimate` is what the cluster says that it has of what was come to so far."""

    limit = fields.Integer(
        load_default=LIMIT,
        validate=validate.Range(1, MOST),
        metadata={"description": "How many items a page holds at most."},
    )
    cursor = fields.String(
        validate=validate.Length(1, 2000), metadata={"description": "`next` of the page before."}
    )


class NamespacedViewArgs(ViewArgs):
    """The page of a view of what is in namespaces."""

    namespace = fields.String(validate=schema.NAME, metadata={"description": "All when left out."})


@blueprint.route("/import/kubeconfig", methods=["POST"])
@requires(Permission.CLUSTER_WRITE)
@idempotent
@blueprint.arguments(NewFromKubeconfigSchema)
@blueprint.response(201, ClusterSchema)
@blueprint.alt_response(502, **PROBLEM)
def import_kubeconfig(body: dict[str, Any]) -> dict[str, Any]:
    """Bring a cluster in with a kubeconfig; it is connected to before anything is stored."""
    return clusters.import_(current_core(), current_actor(), body)


@blueprint.route("/import/cert", methods=["POST"])
@requires(Permission.CLUSTER_WRITE)
@idempotent
@blueprint.arguments(NewFromPartsSchema)
@blueprint.response(201, ClusterSchema)
@blueprint.alt_response(502, **PROBLEM)
def import_cert(body: dict[str, Any]) -> dict[str, Any]:
    """Bring a cluster in with endpoint, authority, and a token or a client certificate."""
    return clusters.import_(current_core(), current_actor(), body)


@blueprint.route("", methods=["POST"])
@requires(Permission.CLUSTER_WRITE)
@idempotent
@blueprint.arguments(NewClusterSchema)
@blueprint.response(202, OrderedClusterSchema)
def create_cluster(body: dict[str, Any]) -> dict[str, Any]:
    """Make an environment of hosts, and preview the install that makes a cluster of them. Applied, the preview
    makes the cluster; it bears the environment's name."""
    return cluster_install.order(current_core(), current_actor(), body)


@blueprint.route("")
@requires(Permission.CLUSTER_READ)
@blueprint.arguments(ClusterArgs, location="query")
@blueprint.response(200, schema.page_of(ClusterSchema))
def list_clusters(query: dict[str, Any]) -> dict[str, Any]:
    """List clusters; sorted by `credential_expires_at` it shows what expires when."""
    filters, page = schema.page_request(query)
    return clusters.list_(current_core(), current_actor(), filters, page)


@blueprint.route("/<string:cluster_id>")
@requires(Permission.CLUSTER_READ)
@blueprint.response(200, ClusterDetailSchema)
def get_cluster(cluster_id: str) -> dict[str, Any]:
    """Read a cluster."""
    return clusters.get(current_core(), current_actor(), cluster_id)


@blueprint.route("/<string:cluster_id>", methods=["DELETE"])
@requires(Permission.CLUSTER_WRITE)
@blueprint.response(204)
def delete_cluster(cluster_id: str) -> None:
    """Forget a cluster that no target is on."""
    clusters.delete(current_core(), current_actor(), cluster_id)


@blueprint.route("/<string:cluster_id>/connect/test", methods=["POST"])
@requires(Permission.CLUSTER_WRITE)
@blueprint.arguments(NamespaceSchema)
@blueprint.response(200, ConnectionTestSchema)
@blueprint.alt_response(502, **PROBLEM)
def test_cluster(body: dict[str, Any], cluster_id: str) -> dict[str, Any]:
    """Connect, and say what was found."""
    return clusters.test_connection(current_core(), current_actor(), cluster_id, body.get("namespace"))


@blueprint.route("/<string:cluster_id>/connection", methods=["PUT"])
@requires(Permission.CLUSTER_WRITE)
@blueprint.arguments(ConnectionSchema)
@blueprint.response(200, ChangedClusterSchema)
@blueprint.alt_response(502, **PROBLEM)
def set_cluster_connection(body: dict[str, Any], cluster_id: str) -> dict[str, Any]:
    """Reach it in another way from now on; every target on it is looked at again."""
    return clusters.set_connection(current_core(), current_actor(), cluster_id, body)


@blueprint.route("/<string:cluster_id>/namespaces")
@requires(Permission.CLUSTER_READ)
@blueprint.arguments(ViewArgs, location="query")
@blueprint.response(200, schema.page_of(NamespaceViewSchema))
@blueprint.alt_response(502, **PROBLEM)
def list_cluster_namespaces(query: dict[str, Any], cluster_id: str) -> dict[str, Any]:
    """List the namespaces of a cluster."""
    return cluster_views.namespaces(
        current_core(), current_actor(), cluster_id, query["limit"], query.get("cursor")
    )


@blueprint.route("/<string:cluster_id>/workloads")
@requires(Permission.CLUSTER_READ)
@blueprint.arguments(NamespacedViewArgs, location="query")
@blueprint.response(200, schema.page_of(WorkloadViewSchema))
@blueprint.alt_response(502, **PROBLEM)
def list_cluster_workloads(query: dict[str, Any], cluster_id: str) -> dict[str, Any]:
    """List what runs in a cluster."""
    return cluster_views.workloads(
        current_core(),
        current_actor(),
        cluster_id,
        query.get("namespace"),
        query["limit"],
        query.get("cursor"),
    )


@blueprint.route("/<string:cluster_id>/events")
@requires(Permission.CLUSTER_READ)
@blueprint.arguments(NamespacedViewArgs, location="query")
@blueprint.response(200, schema.page_of(EventViewSchema))
@blueprint.alt_response(502, **PROBLEM)
def list_cluster_events(query: dict[str, Any], cluster_id: str) -> dict[str, Any]:
    """List the events that a cluster itself keeps."""
    return cluster_views.events(
        current_core(),
        current_actor(),
        cluster_id,
        query.get("namespace"),
        query["limit"],
        query.get("cursor"),
    )
