# SPDX-License-Identifier: Apache-2.0
"""Services, and their versions, which never change once they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controlplane.domain import variables as rules
from controlplane.domain.canonical import digest
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, compose_file, kustomization, manifests, record, views
from controlplane.services.core import Core
from controlplane.store import pages
from controlplane.store.tables import Artifact, Project, Release, Service, ServiceVersion, VariableValue

STRATEGIES = ("rolling", "blue_green", "canary")
# The automation side holds the values of these to what each strategy wants; a name it does not know is told here.
STRATEGY_PARAMS: Mapping[str, Mapping[str, frozenset[str]]] = {
    "compose": {
        "rolling": frozenset({"max_parallel", "failure_budget"}),
        "blue_green": frozenset({"port", "service", "service_port", "keep_old", "drain_seconds"}),
        "canary": frozenset(
            {"mode", "percent", "pause_seconds", "port", "service", "service_port", "max_parallel",
             "failure_budget", "keep_old", "drain_seconds"}
        ),
    },
    "k8s": {
        "rolling": frozenset({"max_surge", "max_unavailable", "force_conflicts"}),
        "blue_green": frozenset({"service", "workload", "keep_old_seconds", "force_conflicts"}),
        "canary": frozenset({"workload", "steps", "pause_seconds", "max_restarts", "force_conflicts"}),
    },
}  # fmt: skip
# Objects that are never pruned unless a version says so: what goes with them does not come back.
PRUNE_KINDS = ("Namespace", "PersistentVolumeClaim", "CustomResourceDefinition")


def create(core: Core, actor: Actor, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make a service: `{project_id, name, runtime_type}`.

    Raises:
        Problem: `not_found`, `conflict`, `permission_denied`.
    """
    with core.database.read() as session:
        project = access.load_project(session, actor, given["project_id"])
    access.require(core, actor, Permission.TARGET_WRITE, project, about=("project", project.id))
    service = Service(
        id=new_id("svc"),
        project_id=project.id,
        name=given["name"],
        runtime_type=given.get("runtime_type", "compose"),
        created_at=core.clock.now(),
    )
    with core.database.write() as session:
        session.add(service)
        record.flush(session, f"there is a service named {service.name} in this project already")
        about = ("service", service.id)
        record.tell(core, session, actor, "resource.created", about, project, name=service.name)
    return _show(service)


def list_(core: Core, actor: Actor, filters: Mapping[str, Any], page: pages.PageRequest) -> pages.Page:
    """List services that the actor may read. Filters: `project_id` (id or name), `name`, `runtime_type`."""
    query = access.visible(select(Service), actor, Permission.RELEASE_READ, Service.project_id)
    with core.database.read() as session:
        if filters.get("project_id"):
            query = query.where(
                Service.project_id == access.load_project(session, actor, filters["project_id"]).id
            )
        for name in ("name", "runtime_type"):
            if filters.get(name):
                query = query.where(getattr(Service, name) == filters[name])
        sortable = {"name": Service.name, "created_at": Service.created_at}
        return pages.fetch_page(session, query, page, sortable, Service.id, _show, "name")


def get(core: Core, actor: Actor, service_id: str) -> dict[str, Any]:
    """Return a service. Raises Problem `not_found`, `permission_denied`."""
    return _show(_load(core, actor, service_id, Permission.RELEASE_READ)[0])


def update(core: Core, actor: Actor, service_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Rename a service that was never released: its projects on hosts carry its name.

    Raises:
        Problem: `not_found`, `permission_denied`, `conflict`, `resource_in_use`.
    """
    _service, project = _load(core, actor, service_id, Permission.TARGET_WRITE)
    with core.database.write() as session:
        service = session.get_one(Service, service_id)
        if given.get("name", service.name) != service.name:
            _refuse_when_released(session, service, "its name stands on the hosts")
            service.name = given["name"]
        record.flush(session, f"there is a service named {service.name} in this project already")
        about = ("service", service_id)
        record.tell(core, session, actor, "resource.updated", about, project, name=service.name)
    return _show(service)


def delete(core: Core, actor: Actor, service_id: str) -> None:
    """Delete a service that was never released, with its versions and values.

    Raises:
        Problem: `not_found`, `permission_denied`, `resource_in_use`.
    """
    service, project = _load(core, actor, service_id, Permission.TARGET_WRITE)
    with core.database.write() as session:
        _refuse_when_released(session, service, "its releases are on record")
        for table in (ServiceVersion, VariableValue):
            session.execute(sql_delete(table).where(table.service_id == service_id))
        record.remove(session, session.get_one(Service, service_id), "it is used still")
        about = ("service", service_id)
        record.tell(core, session, actor, "resource.deleted", about, project, name=service.name)


def create_version(core: Core, actor: Actor, service_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make a version: `{version, template, variable_schema, images, strategy, strategy_params, health_timeout}`,
    and for Kubernetes `{kustomization, prune_kinds}`.

    Raises:
        Problem: `not_found`, `permission_denied`, `conflict` (there is that version), `compose_invalid`,
            `manifest_invalid`, `validation_error`, `artifact_missing`.
    """
    service, project = _load(core, actor, service_id, Permission.TARGET_WRITE)
    schema = dict(given.get("variable_schema") or {})
    given = {**given, "kustomization": _check_version(service.runtime_type, given, schema)}
    content = {
        "template": given.get("template") or "",
        "kustomization": given["kustomization"],
        "prune_kinds": sorted(set(given.get("prune_kinds") or [])),
        "variable_schema": schema,
        "images": [],
        "strategy": given.get("strategy") or "rolling",
        "strategy_params": dict(given.get("strategy_params") or {}),
        "health_timeout": given.get("health_timeout") or 120,
    }
    with core.database.write() as session:
        content["images"] = _images(session, project, given.get("images") or [])
        newest = session.scalar(
            select(func.max(ServiceVersion.number)).where(ServiceVersion.service_id == service_id)
        )
        version = ServiceVersion(
            id=new_id("ver"),
            service_id=service_id,
            version=given["version"],
            number=(newest or 0) + 1,
            digest=digest({**content, "service": service_id, "version": given["version"]}),
            created_by=actor.id,
            created_at=core.clock.now(),
            **content,
        )
        session.add(version)
        record.flush(session, f"version {version.version} of {service.name} is there; versions never change")
        record.tell(
            core, session, actor, "resource.created", ("service_version", version.id), project,
            service=service.name, version=version.version, digest=version.digest,
        )  # fmt: skip
    return _show_version(version)


def list_versions(core: Core, actor: Actor, service_id: str, page: pages.PageRequest) -> pages.Page:
    """List a service's versions, newest first. Raises Problem `not_found`, `permission_denied`."""
    _load(core, actor, service_id, Permission.RELEASE_READ)
    query = select(ServiceVersion).where(ServiceVersion.service_id == service_id)
    sortable = {"number": ServiceVersion.number, "version": ServiceVersion.version}
    with core.database.read() as session:
        return pages.fetch_page(session, query, page, sortable, ServiceVersion.id, _show_version, "-number")


def get_version(core: Core, actor: Actor, service_id: str, named: str) -> dict[str, Any]:
    """Return a version by its name. Raises Problem `not_found`, `permission_denied`."""
    _load(core, actor, service_id, Permission.RELEASE_READ)
    with core.database.read() as session:
        version = session.scalar(
            select(ServiceVersion).where(
                ServiceVersion.service_id == service_id, ServiceVersion.version == named
            )
        )
    if version is None:
        raise Problem("not_found", f"the service has no version {named}")
    return _show_version(version)


def delete_version(core: Core, actor: Actor, service_id: str, named: str) -> None:
    """Delete a version that was never released nor previewed; its archives are free then.

    Raises:
        Problem: `not_found`, `permission_denied`, `resource_in_use`.
    """
    service, project = _load(core, actor, service_id, Permission.TARGET_WRITE)
    with core.database.write() as session:
        query = select(ServiceVersion).where(
            ServiceVersion.service_id == service_id, ServiceVersion.version == named
        )
        # Locked before its releases are looked for: a preview that is being asked for locks it as well.
        version = session.scalar(query.with_for_update())
        if version is None:
            raise Problem("not_found", f"the service has no version {named}")
        release = session.scalar(
            select(Release.id)
            .where(Release.service_id == service_id, Release.service_version == named)
            .limit(1)
        )
        if release is not None:
            raise Problem("resource_in_use", f"version {named} is on record: {release} is of it")
        record.remove(session, version, "it is used still")
        about = ("service_version", version.id)
        record.tell(
            core, session, actor, "resource.deleted", about, project, service=service.name, version=named
        )


def check_strategy(runtime_type: str, strategy: str, params: Mapping[str, Any]) -> None:
    """Let a strategy pass that is one, with parameters that are its own.

    Raises:
        Problem: `validation_error`, naming each other one.
    """
    if strategy not in STRATEGIES:
        raise Problem("validation_error", errors={"strategy": [f"must be one of {', '.join(STRATEGIES)}"]})
    unknown = sorted(set(params) - STRATEGY_PARAMS[runtime_type][strategy])
    if unknown:
        said = f"is no parameter of {strategy} for {runtime_type}"
        errors = {f"strategy_params.{name}": [said] for name in unknown}
        raise Problem("validation_error", errors=errors)


def _check_version(
    runtime_type: str, given: Mapping[str, Any], schema: Mapping[str, Any]
) -> dict[str, str] | None:
    """Let a version pass that can work; return the files of its kustomization, if it has one."""
    rules.check_schema(schema)
    check_strategy(runtime_type, given.get("strategy") or "rolling", given.get("strategy_params") or {})
    _check_members(runtime_type, given)
    files: dict[str, str] | None = None
    shown: dict[str, str] = {}
    if given.get("kustomization"):
        files = kustomization.check(given["kustomization"])
        names = kustomization.variables(files)
    elif runtime_type == "k8s":
        names, shown = manifests.placeholders(given["template"])
    else:
        names, shown = (
            compose_file.placeholders(given["template"]),
            compose_file.shown(given["template"]),
        )
    _check_declared(names, schema)
    _check_hidden(shown, schema)
    return files


def _check_members(runtime_type: str, given: Mapping[str, Any]) -> None:
    """Hold a version to the members that its runtime has."""
    foreign = ("kustomization", "prune_kinds") if runtime_type == "compose" else ("images",)
    errors = {name: [f"is nothing that {runtime_type} has"] for name in foreign if given.get(name)}
    if bool(given.get("template")) == bool(given.get("kustomization")):
        errors["template"] = ["give the template, or for Kubernetes a kustomization in its place"]
    if errors:
        raise Problem("validation_error", errors=errors)


def _check_declared(names: Set[str], schema: Mapping[str, Any]) -> None:
    undeclared = sorted(names - set(schema))
    if undeclared:
        raise Problem(
            "validation_error",
            f"the template uses variables that the schema does not have: {', '.join(undeclared)}",
            errors={
                f"variable_schema.{name}": ["is used by the template and not described"]
                for name in undeclared
            },
        )


def _check_hidden(shown: Mapping[str, str], schema: Mapping[str, Any]) -> None:
    secret = sorted(name for name in shown if schema[name].get("secret"))
    if secret:
        raise Problem(
            "validation_error",
            f"secret in shown place: {secret[0]} is used in {shown[secret[0]]}",
            hint="Use secrets in environment values, or in the content of secrets and configurations.",
            errors={f"variable_schema.{name}": [f"is secret, and {shown[name]} is shown"] for name in secret},
        )


def _images(session: Session, project: Project, given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    images = []
    for image in given:
        query = select(Artifact).where(
            Artifact.project_id == project.id, Artifact.digest == image["artifact"]
        )
        # Locked, so that nobody removes it as one that no version names while this one is being written.
        artifact = session.scalar(query.with_for_update(read=True))
        if artifact is None:
            raise Problem("artifact_missing", f"the project has no artifact {image['artifact']}")
        # Which of several images in an archive it is, the automation side finds out by the reference.
        only = artifact.image_ids[0] if len(artifact.image_ids) == 1 else None
        images.append({"reference": image["reference"], "artifact": artifact.digest, "image_id": only})
    return images


def _refuse_when_released(session: Session, service: Service, why: str) -> None:
    release = session.scalar(select(Release.id).where(Release.service_id == service.id).limit(1))
    if release is not None:
        raise Problem("resource_in_use", f"{service.name} was released ({release}): {why}")


def _load(core: Core, actor: Actor, service_id: str, permission: Permission) -> tuple[Service, Project]:
    with core.database.read() as session:
        service, project = access.load(session, Service, service_id, actor)
    access.require(core, actor, permission, project, about=("service", service_id))
    return service, project


def _show(service: Service) -> dict[str, Any]:
    return {
        "id": service.id,
        "project_id": service.project_id,
        "name": service.name,
        "runtime_type": service.runtime_type,
        "created_at": views.moment(service.created_at),
    }


def _show_version(version: ServiceVersion) -> dict[str, Any]:
    return {
        "id": version.id,
        "service_id": version.service_id,
        "version": version.version,
        "number": version.number,
        "template": version.template,
        "variable_schema": version.variable_schema,
        "images": version.images,
        "kustomization": version.kustomization,
        "prune_kinds": version.prune_kinds,
        "strategy": version.strategy,
        "strategy_params": version.strategy_params,
        "health_timeout": version.health_timeout,
        "digest": version.digest,
        "created_by": version.created_by,
        "created_at": views.moment(version.created_at),
    }
