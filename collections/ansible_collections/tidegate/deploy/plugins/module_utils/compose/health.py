# SPDX-License-Identifier: Apache-2.0
"""Whether containers are what their project promised: pure questions over what the engine says."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..host import step_record
from . import engine


def service_of(container: Mapping[str, Any]) -> str:
    """The Compose service of an inspected container."""
    return str(container["Config"]["Labels"].get(engine.SERVICE_LABEL, ""))


def replicas(definition: Mapping[str, Any]) -> int:
    """How many containers a service is to have."""
    deploy = definition.get("deploy") or {}
    count = definition.get("scale", deploy.get("replicas", 1))
    return int(count) if count is not None else 1


def is_one_shot(definition: Mapping[str, Any]) -> bool:
    """Does the service end by itself with success: its `restart` is `no` and it has no health check?"""
    return definition.get("restart") == "no" and not definition.get("healthcheck")


def is_ready(container: Mapping[str, Any], one_shot: bool = False) -> bool:
    """Is it running and, when it has a health check, healthy?"""
    state = container["State"]
    if one_shot and state.get("Status") == "exited":
        return state.get("ExitCode") == 0
    health = (state.get("Health") or {}).get("Status")
    return state.get("Status") == "running" and health in (None, "", "none", "healthy")


def waiting_for(definitions: Mapping[str, Any], containers: list[dict[str, Any]]) -> list[str]:
    """Services that are not yet as promised."""
    waiting = []
    for name, definition in definitions.items():
        if definition.get("profiles"):
            continue
        ready = [
            one for one in containers if service_of(one) == name and is_ready(one, is_one_shot(definition))
        ]
        if len(ready) < replicas(definition):
            waiting.append(name)
    return sorted(waiting)


def wait(
    project: str, definitions: Mapping[str, Any], timeout: float
) -> tuple[list[str], list[dict[str, Any]]]:
    """Poll until all services are ready or `timeout` seconds are over or one can never be; what is left, and all."""
    until = time.monotonic() + timeout
    pause = 0.1
    while True:
        containers = engine.inspect_project(project)
        left = waiting_for(definitions, containers)
        hopeless = any(_is_hopeless(one) for one in containers if service_of(one) in left)
        if not left or hopeless or time.monotonic() >= until:
            return left, containers
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


def _is_hopeless(container: Mapping[str, Any]) -> bool:
    return (container["State"].get("Health") or {}).get("Status") == "unhealthy"


def objects(containers: list[dict[str, Any]], services: list[str]) -> list[dict[str, Any]]:
    """What to show of the containers of `services`: state, exit code, health output and last log lines."""
    shown = []
    for one in containers:
        if service_of(one) not in services:
            continue
        state = one["State"]
        health = state.get("Health") or {}
        outputs = [str(entry.get("Output", "")).strip() for entry in (health.get("Log") or [])[-3:]]
        logs = engine.docker(["logs", "--tail", "40", one["Id"]], timeout=20)
        shown.append(
            {
                "service": service_of(one),
                "container": one["Name"].lstrip("/"),
                "state": state.get("Status"),
                "exit_code": state.get("ExitCode"),
                "health": health.get("Status"),
                "health_log": step_record.tail("\n".join(outputs)),
                "log_tail": step_record.tail(logs.stdout + logs.stderr),
                "restart_count": one.get("RestartCount", 0),
            }
        )
    return shown


def live(containers: list[dict[str, Any]], release: Mapping[str, Any] | None) -> dict[str, Any]:
    """What runs now, without any setting that could be secret."""
    services: dict[str, dict[str, Any]] = {}
    for one in sorted(containers, key=lambda each: each["Name"]):
        entry = services.setdefault(
            service_of(one),
            {
                "name": service_of(one), "image": one["Config"].get("Image"), "image_id": one.get("Image"),
                "replicas": 0, "running": 0, "health": "none", "containers": [],
            },
        )  # fmt: skip
        entry["replicas"] += 1
        entry["running"] += one["State"].get("Status") == "running"
        entry["containers"].append(one["Id"][:12])
        status = (one["State"].get("Health") or {}).get("Status") or "none"
        worst = ["none", "healthy", "starting", "unhealthy"]
        if status in worst and worst.index(status) > worst.index(entry["health"]):
            entry["health"] = status
    return {"release_id": (release or {}).get("release_id"), "services": list(services.values())}
