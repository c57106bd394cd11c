# SPDX-License-Identifier: Apache-2.0
"""What a client asks first: which versions and resources there are, whether it is up, and who asks.

awxkit: cli/client.py (fetch_version_root), cli/resource.py (CONTROL_RESOURCES).
"""

from __future__ import annotations

from typing import Any

from flask import Response
from sqlalchemy import func, literal, select

from controlplane.api.app import metadata_version
from controlplane.api.auth import current_actor, current_core
from controlplane.awx import auth, ids
from controlplane.awx.answer import json_answer
from controlplane.awx.jobs import STATUS, STATUSES, joined, visible
from controlplane.awx.resources import PREFIX, number_of
from controlplane.awx.resources import user as show_user
from controlplane.domain.permission import Permission, reach
from controlplane.services import views
from controlplane.store.tables import AwxId, AwxJob, User

# AWX's word -> where it is. What is not here is not answered.
RESOURCES = {
    "ping": "ping", "config": "config", "me": "me", "metrics": "metrics", "organizations": "organizations",
    "users": "users", "projects": "projects", "credentials": "credentials", "inventory": "inventories",
    "hosts": "hosts", "job_templates": "job_templates", "jobs": "jobs", "unified_jobs": "unified_jobs",
    "workflow_jobs": "workflow_jobs",
    "unified_job_templates": "unified_job_templates",
    "schedules": "schedules", "bulk": "bulk", "notification_templates": "notification_templates",
    "notifications": "notifications",
}  # fmt: skip
# `awx users` asks what roles there are at these before it does anything, and gives up where there is a 404
# (awxkit: cli/custom.py, RoleMixin).
ABSENT = ("teams", "workflow_job_templates", "instance_groups")


def versions() -> Response:
    """Name the one version of the API that there is."""
    document = {
        "description": "Tidegate, for clients of AWX",
        "current_version": f"{PREFIX}/",
        "available_versions": {"v2": f"{PREFIX}/"},
        "oauth2": "",
        "custom_logo": "",
        "custom_login_info": "",
        "login_redirect_override": "",
    }
    return auth.with_csrf(json_answer(document))


def index() -> Response:
    """Name the resources that there are, and only those."""
    return json_answer({name: f"{PREFIX}/{path}/" for name, path in RESOURCES.items()})


def ping() -> Response:
    """Say that the server answers, and which version it is."""
    return json_answer({"ha": False, "version": metadata_version(), "active_node": "", "instances": []})


def config() -> Response:
    """Say what the installation is. Nothing here depends on a licence."""
    now = current_core().clock.now()
    document: dict[str, Any] = {
        "version": metadata_version(),
        "time_zone": "UTC",
        "now": views.moment(now),
        "license_info": {"license_type": "open", "product_name": "Tidegate"},
        "eula": "",
        "become_methods": [],
    }
    return json_answer(document)


def me() -> Response:
    """Say who asks, as a list of one."""
    core, actor = current_core(), current_actor()
    ids.number(core, ("user",))
    with core.database.read() as session:
        row = session.execute(
            select(
                AwxId.id.label("pk"),
                User,
                literal(reach(actor, Permission.ADMIN).everything).label("is_superuser"),
            )
            .join(AwxId, number_of(AwxId, "user", User.id))
            .where(User.id == actor.id)
        ).one()
    return json_answer({"count": 1, "next": None, "previous": None, "results": [show_user(row)]})


def metrics() -> Response:
    """Count the jobs that the caller may see, by status."""
    core, actor = current_core(), current_actor()
    query = joined(select(STATUS.label("status"), func.count().label("jobs")).select_from(AwxJob)).group_by(
        STATUS
    )
    with core.database.read() as session:
        rows = session.execute(visible(query, actor))
        counts: dict[str, int] = {row.status: row.jobs for row in rows}
    samples: list[dict[str, Any]] = [
        {"labels": {"status": status}, "value": counts.get(status, 0)} for status in STATUSES
    ]
    return json_answer(
        {
            "tidegate_awx_jobs": {
                "help_text": "Launched jobs that the caller may see, by status",
                "type": "gauge",
                "samples": samples,
            }
        }
    )


def describe() -> Response:
    """Answer OPTIONS of what can only be read, and is no list."""
    return json_answer({"actions": {}}, headers={"Allow": "GET, HEAD, OPTIONS"})


def describe_absent() -> Response:
    """Answer OPTIONS of what there is not: that nothing can be done with it."""
    return json_answer(
        {"description": "Not here.", "actions": {}, "object_roles": []}, headers={"Allow": "OPTIONS"}
    )
