# SPDX-License-Identifier: Apache-2.0
"""An install of an environment as a task: its states, what its preview binds, and its steps. DESIGN section 7."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from controlplane.domain.canonical import digest
from controlplane.domain.errors import Problem


class TaskState(StrEnum):
    """The state of a task: one of these and nothing else."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"


TRANSITIONS: Mapping[TaskState, Mapping[TaskState, str]] = {
    TaskState.PENDING: {
        TaskState.RUNNING: "a worker holds the lease and the locks and has started",
        TaskState.CANCELLED: "it was taken back, rejected, or not applied or decided in time",
    },
    TaskState.RUNNING: {
        TaskState.SUCCEEDED: "every step is done on every host",
        TaskState.FAILED: "a step failed, it was cancelled, or its worker was lost",
    },
    TaskState.SUCCEEDED: {TaskState.ROLLED_BACK: "its rollback task succeeded"},
    TaskState.FAILED: {
        TaskState.PENDING: "it was retried: it goes on at the failed step",
        TaskState.ROLLED_BACK: "its rollback task succeeded",
    },
    TaskState.ROLLED_BACK: {},
    TaskState.CANCELLED: {},
}

STATUSES: Mapping[TaskState, tuple[str, ...]] = {
    TaskState.PENDING: (
        "previewing",
        "previewed",
        "preview_failed",
        "pending_approval",
        "queued",
        "waiting_lock",
    ),
    TaskState.RUNNING: ("running", "cancelling"),
    TaskState.SUCCEEDED: ("succeeded",),
    TaskState.FAILED: ("failed",),
    TaskState.ROLLED_BACK: ("rolled_back",),
    TaskState.CANCELLED: ("cancelled", "rejected", "expired"),
}

ENDS = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.ROLLED_BACK, TaskState.CANCELLED})
KINDS = ("install", "rollback", "removal")
STEP_DONE = frozenset({"succeeded", "unchanged"})
# From these on a host belongs to a cluster, and leaves it in a removal or a rollback alone.
JOINING = frozenset({"control_plane_init", "control_plane_join", "worker_join"})
# What comes before the steps of a plan, and is in none: it only looks.
BEFORE_PLAN = frozenset({"bundle_verify", "preflight", "environment_preflight"})


def check_transition(origin: TaskState, goal: TaskState) -> None:
    """Let a legal transition pass.

    Raises:
        Problem: `conflict`, naming both states.
    """
    if goal not in TRANSITIONS[origin]:
        raise Problem(
            "conflict",
            f"a task that is {origin} cannot become {goal}",
            extra={"states": {"from": str(origin), "to": str(goal)}},
        )


def check_status(state: TaskState, status: str) -> None:
    """Hold the finer word to the state it belongs to; a wrong pair is a fault of ours (ValueError)."""
    if status not in STATUSES[state]:
        raise ValueError(f"status {status!r} does not belong to state {state}")


def policy_action(subject: str, kind: str) -> str:
    """Return what the approval matrix calls a kind of task."""
    if kind == "rollback":
        return "rollback"
    if kind == "failover_test":
        return "failover_test"
    return subject


def check_nodes(runtime_type: str, roles: Iterable[str]) -> None:
    """Let pass what can become an environment: a host at least, and for a cluster one or three control planes.

    Raises:
        Problem: `insufficient_nodes`.
    """
    counts = Counter(roles)
    if not counts:
        raise Problem("insufficient_nodes", "the environment has no node")
    if runtime_type == "k8s" and counts["control_plane"] not in (1, 3):
        raise Problem(
            "insufficient_nodes",
            f"a cluster has one or three control planes, not {counts['control_plane']}",
            hint="Give one or three hosts the role control_plane; one that is in the cluster leaves it by a removal.",
        )


def check_removal(runtime_type: str, nodes: Sequence[Mapping[str, str]], host_ids: Sequence[str]) -> None:
    """Let pass hosts that can leave a cluster: all but the first control plane of `nodes`, which the others ask.

    Raises:
        Problem: `validation_error` (no host is named, one twice, or the environment is no cluster), `not_found`,
            `node_role_invalid`.
    """
    if runtime_type != "k8s":
        raise Problem("validation_error", errors={"kind": ["only nodes of a cluster are removed"]})
    if not host_ids or len(set(host_ids)) < len(host_ids):
        raise Problem(
            "validation_error", errors={"host_ids": ["name the hosts that are to leave, each once"]}
        )
    known = {node["host_id"]: node for node in nodes}
    first = next((node["host_id"] for node in nodes if node["role"] == "control_plane"), None)
    for host_id in host_ids:
        if host_id not in known:
            raise Problem("not_found", f"host {host_id} is no node of the environment")
        if host_id == first:
            raise Problem(
                "node_role_invalid",
                f"{known[host_id]['name']} is the control plane that the cluster began with, and that the others ask: "
                "it stays",
                hint="Roll the install back to take the whole cluster away.",
            )


def check_members(members: Iterable[Mapping[str, str]], nodes: Mapping[str, str], name: str) -> None:
    """Let pass a list of nodes (host id -> role) that leaves the members of a cluster where they are.

    Raises:
        Problem: `conflict`, naming those that would leave it, or change their role, without a word to the cluster.
    """
    gone = sorted(node["name"] for node in members if nodes.get(node["host_id"]) != node["role"])
    if gone:
        raise Problem(
            "conflict",
            f"{', '.join(gone)} would leave the cluster of environment {name}, or be another thing in it: take "
            "nodes out with an install preview of kind removal, or roll the install back",
        )


@dataclass(frozen=True)
class Binding:
    """Everything that an apply is held to.

    `removes` are ids of the hosts that a removal takes out. `inputs` and `network_entry` stand in as HMACs: what was
    asked for may be secret.
    """

    environment_id: str
    stage: str
    runtime_type: str
    kind: str
    undoes: str | None
    nodes: Sequence[Mapping[str, str]]
    runtime_version: str | None
    profile: str | None
    inputs: str
    network_entry: str
    bundle_digest: str | None
    fingerprints: Mapping[str, str]
    removes: Sequence[str] = ()

    def digest(self) -> str:
        """Return the SHA-256 over all of it, as `sha256:...`."""
        return digest(asdict(self))


def steps_done(steps: Iterable[tuple[str, str, str]]) -> dict[str, list[str]]:
    """Return for each host the steps of its plan that need not be done again, in order, from (host, step, status)."""
    done: dict[str, list[str]] = {}
    for host, step, status in steps:
        if status in STEP_DONE and step not in BEFORE_PLAN:
            done.setdefault(host, []).append(step)
    return done


def hosts_begun(steps: Iterable[tuple[str, str]]) -> list[str]:
    """Return the hosts on which a step of the plan was begun, from (host, step).

    Only there it is the task's own work that a host is not as its preview saw it.
    """
    return sorted({host for host, step in steps if step not in BEFORE_PLAN})


def outputs_done(
    steps: Iterable[tuple[str, str, str, Mapping[str, Any]]],
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return for each host what its steps that need not be done again told, from (host, step, status, detail)."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for host, step, status, detail in steps:
        if status in STEP_DONE and detail.get("outputs"):
            found.setdefault(host, {})[step] = dict(detail["outputs"])
    return found


def is_planned(plan: Iterable[Mapping[str, Any]] | None, step: str) -> bool:
    """Say whether a host's plan has a step, or its preview says nothing of it.

    The playbooks are the same for every runtime and role: a step that is begun on a host may be none of its own.
    """
    if plan is None or step in BEFORE_PLAN:
        return True
    return step in {one.get("step") for one in plan}


def find_cluster(results: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what an install told of the cluster that it made, from the documents `<host>.cluster`; None for none."""
    return next(
        (
            document
            for name, document in sorted(results.items())
            if name.endswith(".cluster") and isinstance(document, Mapping)
        ),
        None,
    )
