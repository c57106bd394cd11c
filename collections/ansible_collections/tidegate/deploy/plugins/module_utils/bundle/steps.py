# SPDX-License-Identifier: Apache-2.0
"""The steps of an index, held to what an install does: roles of the collection in their order, then hooks."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

COMPOSE, K8S = ("compose",), ("k8s",)


class RoleStep(NamedTuple):
    """A step that a role does: for these runtimes, and whether the role takes back what it did."""

    role: str
    runtimes: Tuple[str, ...]
    is_undone: bool = True


# By name, in the order in which they are done.
ROLE_STEPS: Dict[str, RoleStep] = {
    "bundle_delivery": RoleStep("bundle_delivery", COMPOSE + K8S, is_undone=False),
    "container_runtime": RoleStep("container_runtime", COMPOSE + K8S),
    "compose_environment": RoleStep("compose_environment", COMPOSE),
    "kubernetes_node": RoleStep("kubernetes_node", K8S),
    "control_plane_init": RoleStep("kubeadm_control_plane", K8S),
    "control_plane_join": RoleStep("kubeadm_control_plane", K8S),
    "worker_join": RoleStep("kubeadm_worker", K8S),
    "cluster_network": RoleStep("cluster_network", K8S),
    "cluster_ready": RoleStep("cluster_network", K8S, is_undone=False),
}
# What a task's record calls things that are no step of an index.
_TAKEN = frozenset(["bundle_verify", "preflight", "environment_hooks", *ROLE_STEPS])
# A delivery is cut off when nothing arrives any more, and goes on where it stopped, by itself.
_BY_PROGRESS = "bundle_delivery"


def problems(steps: List[Dict[str, Any]]) -> Iterator[Tuple[str, str]]:
    """What an install would not do as the steps say it: (where, why)."""
    for number, step in enumerate(steps):
        where = f"steps.{number}"
        for field, why in _of_role(step) if "role" in step else _of_hook(step):
            yield f"{where}.{field}", why
        why_here = _place(step, steps[:number])
        if why_here:
            yield where, why_here


def _of_role(step: Dict[str, Any]) -> Iterator[Tuple[str, str]]:
    known = ROLE_STEPS.get(step["name"])
    if known is None:
        yield "name", f"no role does a step {step['name']}; these are done by roles: {', '.join(ROLE_STEPS)}"
        return
    if step["role"] != known.role:
        yield "role", f"{step['name']} is done by {known.role}, not by {step['role']}"
    for runtime in step["runtime"]:
        if runtime not in known.runtimes:
            yield "runtime", f"{step['name']} is no step of {runtime}"
    if "outputs" in step:
        yield "outputs", "only a hook has outputs"
    undo = step.get("rollback")
    if undo and (undo.get("role") != known.role or not known.is_undone):
        does = f"can only be taken back by {known.role}" if known.is_undone else "is not taken back"
        yield "rollback", f"{step['name']} {does}"
    for limit in ("timeout", "retries"):
        if step["name"] == _BY_PROGRESS and limit in step:
            yield limit, "a delivery goes by its own progress: leave it out"
    if step["name"] != _BY_PROGRESS and "timeout" not in step:
        yield "timeout", "is missing"


def _of_hook(step: Dict[str, Any]) -> Iterator[Tuple[str, str]]:
    if step["name"] in _TAKEN:
        yield "name", f"a hook cannot be called {step['name']}"
    if "hook" not in step.get("rollback", {"hook": ""}):
        yield "rollback", "a hook can only be taken back by a hook"
    if "timeout" not in step:
        yield "timeout", "is missing"


def _place(step: Dict[str, Any], before: List[Dict[str, Any]]) -> Optional[str]:
    """Why a step cannot be where it is: steps of one runtime are done in an order of their own."""
    order = list(ROLE_STEPS)
    if "role" not in step or step["name"] not in order:
        return None
    for one in before:
        if not set(one["runtime"]) & set(step["runtime"]):
            continue
        if "hook" in one:
            return f"{step['name']} is done before the hook {one['name']}: put it there"
        if one["name"] in order and order.index(one["name"]) > order.index(step["name"]):
            return f"{step['name']} is done before {one['name']}: put it there"
    return None
