# SPDX-License-Identifier: Apache-2.0
"""What is said of a virtual IP, wherever one is asked for."""

from __future__ import annotations

from marshmallow import fields, validate

from controlplane.api import schema
from controlplane.domain import network_entry as rules


class HealthCheckSchema(schema.StrictSchema):
    """How a back end is asked whether it serves."""

    kind = fields.String(validate=validate.OneOf(rules.HEALTH_KINDS))
    path = fields.String(validate=validate.Length(1, 100), metadata={"example": "/readyz"})
    interval = fields.Integer(strict=True)
    timeout = fields.Integer(strict=True)
    retries = fields.Integer(strict=True)


class RetryPolicySchema(schema.StrictSchema):
    """How often a step is tried, and how long is waited between: longer each time."""

    max_retries = fields.Integer(strict=True)
    backoff_seconds = fields.Float()


class LvsVipSchema(schema.StrictSchema):
    """What the VIP is and where it goes. Hosts are named by name or id; they are registered in the project."""

    vip_address = fields.String(
        required=True, validate=validate.Length(1, 18), metadata={"example": "192.0.2.10/24"}
    )
    interface = fields.String(
        validate=validate.Length(1, 15), metadata={"description": "Found from the subnet when left out."}
    )
    virtual_router_id = fields.Integer(required=True, strict=True, metadata={"example": 51})
    auth_pass = fields.String(
        load_only=True,
        validate=validate.Length(0, 64),
        metadata={"description": "At most 8 characters. Kept encrypted, never answered."},
    )
    backend_nodes = fields.List(
        fields.Raw(),
        required=True,
        metadata={"description": "At least two: a host, or `{host, weight}`.", "example": ["cp-1", "cp-2"]},
    )
    directors = fields.List(
        fields.String(validate=validate.Length(1, 255)),
        metadata={
            "description": "1 to 3 hosts; the control planes, else the first back ends, when left out."
        },
    )
    health_check_port = fields.Integer(strict=True, metadata={"example": 6443})
    ports = fields.List(fields.Integer(strict=True), metadata={"description": "More ports of the same VIP."})
    health_check = fields.Nested(HealthCheckSchema)
    lb_kind = fields.String(validate=validate.OneOf(rules.LB_KINDS))
    lb_algo = fields.String(validate=validate.OneOf(rules.LB_ALGOS))
    advert_interval = fields.Raw(
        metadata={"description": "Seconds; whole ones with a password.", "example": 1}
    )
    unicast = fields.Boolean()
    nopreempt = fields.Boolean()
    retry_policy = fields.Nested(RetryPolicySchema)
    balancer = fields.String(
        validate=validate.OneOf(rules.BALANCERS),
        metadata={"description": "`none`: the active director serves itself; for kernels without IPVS."},
    )
    certificate_check = fields.String(validate=validate.OneOf(rules.CERTIFICATE_CHECKS))
    listen_seconds = fields.Float(metadata={"description": "For how long a preview listens to the segment."})


class ClusterNetworksSchema(schema.StrictSchema):
    """Networks that the cluster gives addresses out of itself, where they are known."""

    pod = fields.String(validate=validate.Length(1, 18), metadata={"example": "10.244.0.0/16"})
    service = fields.String(validate=validate.Length(1, 18), metadata={"example": "10.96.0.0/12"})


class PlannedEntrySchema(schema.StrictSchema):
    """The network entry of a cluster that is yet to be made: a task of its own, which follows once the cluster is."""

    mode = fields.String(load_default="none", validate=validate.OneOf(rules.MODES))
    lvs_vip = fields.Nested(LvsVipSchema, metadata={"description": "Required with the mode `lvs_vip`."})
    cluster_networks = fields.Nested(ClusterNetworksSchema)
