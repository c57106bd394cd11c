# SPDX-License-Identifier: Apache-2.0
"""Values of a service's variables, by environment or target. Secret ones can be set, and never read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain import variables as rules
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, record, views
from controlplane.services.core import Core
from controlplane.store import pages
from controlplane.store.tables import Environment, Project, Service, ServiceVersion, Target, VariableValue

SCOPES = ("environment", "target")


def resolve(
    core: Core,
    session: Session,
    service: Service,
    version: ServiceVersion,
    environment: Environment,
    target: Target,
    request_values: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the plain and the secret values of a release: the request's before the target's before the
    environment's before the default of the schema.

    A value that is kept for a variable which this version does not have is left out: other versions have it.

    Raises:
        Problem: `validation_error`, naming the variable.
    """
    schema = version.variable_schema
    layers = [
        {
            name: value
            for name, value in _kept(core, session, service.id, scope, scope_id).items()
            if name in schema
        }
        for scope, scope_id in (("target", target.id), ("environment", environment.id))
    ]
    return rules.resolve(schema, request_values, *layers)


def _kept(core: Core, session: Session, service_id: str, scope_type: str, scope_id: str) -> dict[str, Any]:
    query = select(VariableValue).where(
        VariableValue.service_id == service_id,
        VariableValue.scope_type == scope_type,
        VariableValue.scope_id == scope_id,
    )
    return {
        row.name: json.loads(core.vault.decrypt(row.value_cipher)) if row.value_cipher else row.value
        for row in session.scalars(query)
    }


def list_(core: Core, actor: Actor, service_id: str, page: pages.PageRequest) -> pages.Page:
    """List the values of a service's variables; of secret ones only that they are there."""
    with core.database.read() as session:
        service, project = access.load(session, Service, service_id, actor)
    access.require(core, actor, Permission.RELEASE_READ, project, about=("service", service_id))
    query = select(VariableValue).where(VariableValue.service_id == service.id)
    with core.database.read() as session:
        return pages.fetch_page(
            session, query, page, {"name": VariableValue.name}, VariableValue.id, _show, "name"
        )


def set_(core: Core, actor: Actor, service_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Set a value: `{scope_type, scope_id, name, value}`.

    Raises:
        Problem: `not_found`, `permission_denied`, `validation_error` (no version has the variable, or not of
            this type).
    """
    with core.database.read() as session:
        service, project = _writable(session, actor, service_id, given)
        rule = _newest_rule(session, service.id, given["name"])
    needed = Permission.CREDENTIAL_WRITE if rule.get("secret") else Permission.TARGET_WRITE
    access.require(core, actor, needed, project, about=("service", service_id))
    faults = rules.check_value(rule, given["value"])
    if faults:
        raise Problem("validation_error", errors={"value": faults})
    now = core.clock.now()
    with core.database.write() as session:
        row = _row(session, service_id, given) or VariableValue(
            id=new_id("var"),
            service_id=service_id,
            scope_type=given["scope_type"],
            scope_id=given["scope_id"],
            name=given["name"],
        )
        is_secret = bool(rule.get("secret"))
        row.is_secret, row.updated_at = is_secret, now
        row.value = None if is_secret else given["value"]
        row.value_cipher = core.vault.encrypt(json.dumps(given["value"]).encode()) if is_secret else None
        session.add(row)
        record.flush(session, "the variable was set by somebody else at the same time")
        shown = _show(row)
        _tell(core, session, actor, "resource.updated", service_id, project, given)
    return shown


def delete(core: Core, actor: Actor, service_id: str, given: Mapping[str, Any]) -> None:
    """Remove a value: `{scope_type, scope_id, name}`. Raises Problem `not_found`, `permission_denied`."""
    with core.database.read() as session:
        _service, project = access.load(session, Service, service_id, actor)
        row = _row(session, service_id, given)
    if row is None:
        raise Problem("not_found", f"{given['name']} has no value there")
    needed = Permission.CREDENTIAL_WRITE if row.is_secret else Permission.TARGET_WRITE
    access.require(core, actor, needed, project, about=("service", service_id))
    with core.database.write() as session:
        session.delete(session.get_one(VariableValue, row.id))
        _tell(core, session, actor, "resource.deleted", service_id, project, given)


def _writable(
    session: Session, actor: Actor, service_id: str, given: Mapping[str, Any]
) -> tuple[Service, Project]:
    service, project = access.load(session, Service, service_id, actor)
    scope: Environment | Target | None
    if given["scope_type"] == "environment":
        scope = session.get(Environment, given["scope_id"])
    else:
        scope = session.get(Target, given["scope_id"])
    if scope is None or scope.project_id != project.id:
        raise Problem("not_found", f"the service's project has no {given['scope_type']} {given['scope_id']}")
    return service, project


def _newest_rule(session: Session, service_id: str, name: str) -> Mapping[str, Any]:
    query = (
        select(ServiceVersion.variable_schema)
        .where(ServiceVersion.service_id == service_id)
        .order_by(ServiceVersion.number.desc())
    )
    for schema in session.scalars(query):
        if name in schema:
            rule: Mapping[str, Any] = schema[name]
            return rule
    raise Problem("validation_error", errors={"name": ["is not a variable of any version of the service"]})


def _row(session: Session, service_id: str, given: Mapping[str, Any]) -> VariableValue | None:
    return session.scalar(
        select(VariableValue).where(
            VariableValue.service_id == service_id,
            VariableValue.scope_type == given["scope_type"],
            VariableValue.scope_id == given["scope_id"],
            VariableValue.name == given["name"],
        )
    )


def _show(row: VariableValue) -> dict[str, Any]:
    return {
        "id": row.id,
        "scope_type": row.scope_type,
        "scope_id": row.scope_id,
        "name": row.name,
        "value": None if row.is_secret else row.value,
        "is_secret": row.is_secret,
        "updated_at": views.moment(row.updated_at),
    }


def _tell(
    core: Core,
    session: Session,
    actor: Actor,
    action: str,
    service_id: str,
    project: Project,
    given: Mapping[str, Any],
) -> None:
    named = {name: given[name] for name in ("scope_type", "scope_id", "name")}
    record.tell(core, session, actor, action, ("variable", service_id), project, **named)
