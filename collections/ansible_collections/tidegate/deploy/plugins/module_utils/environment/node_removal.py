# SPDX-License-Identifier: Apache-2.0
"""Nodes leave a cluster: their pods go elsewhere first, as far as the pods' disruption budgets let them.

See https://kubernetes.io/docs/tasks/administer-cluster/safely-drain-node/.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

from ..release.errors import ReleaseError
from . import etcd_members, kubectl
from .journal import Journal, run

DRAIN, DELETE = "node_drain", "node_delete"
_ENDED = ("Succeeded", "Failed")
_GRACE_SECONDS = 30


def drain(work: Dict[str, Any], journal: Journal, promise_only: bool) -> Dict[str, Any]:
    """No pod stays on nodes that leave; answers {"changes", "detail"}. `work["removal"]` has `names` and `seconds`,
    and `is_lost` where the nodes are gone already and nobody waits for their pods.

    Raises ReleaseError insufficient_nodes, where etcd could not write without them; node_drain_failed, naming the pods
    that stay and the budgets that hold them. The nodes take no new pods then; the next install gives them back to the
    cluster.
    """
    names = _there(work["removal"]["names"])
    etcd_members.require_majority(work["removal"]["names"])
    cordoned = {one["name"] for one in kubectl.nodes() if one["is_cordoned"]}
    moved = pods(names)
    changes = [f"cordon {name}" for name in names if name not in cordoned]
    changes += [f"evict {one['name']} from {one['node']}" for one in moved]
    if promise_only or work["removal"].get("is_lost") or not changes:
        return {"changes": changes if promise_only else [], "detail": {}}
    for name in names:
        if name not in cordoned:
            # It goes with the cluster: nothing is left of it after that.
            journal.note("control_plane_init", "cordon", name)
    _drain(names, work["removal"]["seconds"])
    return {"changes": changes, "detail": {"pods": [one["name"] for one in moved]}}


def delete(work: Dict[str, Any], journal: Journal, promise_only: bool) -> Dict[str, Any]:
    """Neither the cluster nor its etcd knows the nodes any more; answers {"changes", "detail"}. One that was reset has
    left etcd itself; one that is lost has not.

    Raises ReleaseError insufficient_nodes where etcd could not write any more.
    """
    names = _there(work["removal"]["names"])
    members = etcd_members.named(work["removal"]["names"])
    if not promise_only:
        etcd_members.remove(members)
        for name in names:
            kubectl.tell("delete", "node", name, timeout=60)
        for name in work["removal"]["names"]:
            journal.forget("cordon", name)
    changes = [f"remove {name} from etcd" for name in members] + [f"delete node {name}" for name in names]
    return {"changes": changes, "detail": {}}


def look(names: Sequence[str], is_lost: bool) -> Dict[str, Any]:
    """What a removal would do in the cluster: {"plan", "pods", "checks"}. Changes nothing."""
    there = _there(names)
    # Before any pod is moved.
    etcd_members.require_majority(names)
    moved = [] if is_lost else pods(there)
    lost = sorted(one["name"] for one in moved if one["is_bare"])
    held = [one for one in budgets() if not one["allowed"]]
    checks = [_warning(f"{name} has no controller: it is gone for good") for name in lost]
    checks += [
        _warning(f"{one['name']} keeps data on its node alone: they are gone with it")
        for one in moved
        if one["has_local_data"]
    ]
    for budget in held:
        its = sorted(one["name"] for one in moved if matches(budget, one))
        if its:
            checks.append(_warning(f"{budget['name']} lets none of its pods go now: {', '.join(its)}"))
    if is_lost:
        checks.append(
            _warning(f"nothing is undone on {', '.join(names)}: they must not come back as they are")
        )
    listed, members = ", ".join(there), ", ".join(etcd_members.named(names))
    # The pods that are moved come and go; that one would be gone for good is what a preview binds.
    gone = f"; gone for good: {', '.join(lost)}" if lost else ""
    return {
        "plan": [
            {
                "step": DRAIN,
                "action": "run" if there and not is_lost else "done",
                "detail": f"cordon and drain {listed}{gone}" if there and not is_lost else "",
            },
            {
                "step": DELETE,
                "action": "run" if there or members else "done",
                "detail": (f"delete {listed} from the cluster" if there else "")
                + (f", and {members} from etcd" if members else ""),
            },
        ],
        "pods": [one["name"] for one in moved],
        "checks": checks,
    }


def pods(names: Sequence[str]) -> List[Dict[str, Any]]:
    """The pods that a drain would move: `name` (with its namespace), `node`, `labels`, `is_bare`, `has_local_data`."""
    found = []
    for node in names:
        listed = kubectl.ask("get", "pods", "--all-namespaces", f"--field-selector=spec.nodeName={node}")
        found += [_pod(one) for one in listed["items"] if _is_moved(one)]
    return found


def budgets() -> List[Dict[str, Any]]:
    """The disruption budgets: `name` (with its namespace), `selector`, `allowed` (pods that may go now)."""
    listed = kubectl.ask("get", "poddisruptionbudgets", "--all-namespaces")
    return [
        {
            "name": f"{one['metadata']['namespace']}/{one['metadata']['name']}",
            "selector": (one.get("spec") or {}).get("selector"),
            "allowed": (one.get("status") or {}).get("disruptionsAllowed", 0),
        }
        for one in listed["items"]
    ]


def matches(budget: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Whether a budget is about a pod: one without a selector is about none, with an empty one about all."""
    selector, labels = budget["selector"], pod["labels"]
    if selector is None or budget["name"].partition("/")[0] != pod["name"].partition("/")[0]:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(one, labels) for one in selector.get("matchExpressions") or [])


def _holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    is_there, value = rule["key"] in labels, labels.get(rule["key"])
    return {
        "In": value in (rule.get("values") or []),
        "NotIn": value not in (rule.get("values") or []),
        "Exists": is_there,
        "DoesNotExist": not is_there,
    }[rule["operator"]]


def _drain(names: Sequence[str], seconds: int) -> None:
    done = run(
        "kubectl", "--kubeconfig", kubectl.ADMIN, "drain", *names, "--ignore-daemonsets", "--delete-emptydir-data",
        "--force", f"--timeout={seconds}s", timeout=seconds + _GRACE_SECONDS,
    )  # fmt: skip
    if done.returncode == 0:
        return
    left = pods(names)
    held = {
        budget["name"]: [one["name"] for one in left if matches(budget, one)]
        for budget in budgets()
        if not budget["allowed"]
    }
    held = {name: its for name, its in held.items() if its}
    whole = ", ".join(one["name"] for one in left) or (done.stderr or done.stdout).strip()[-500:]
    because = "; ".join(f"{name} lets none of {', '.join(its)} go" for name, its in sorted(held.items()))
    raise ReleaseError(
        "node_drain_failed",
        f"after {seconds} s there are still on {', '.join(names)}: {whole}"
        + (f" ({because})" if because else ""),
        "Give what a budget holds more replicas elsewhere, or change the budget, then retry. Until then the node takes"
        " no new pods; the next install lets it.",
        held_by=sorted(held),
        pods=[one["name"] for one in left],
    )


def _there(names: Sequence[str]) -> List[str]:
    known = {one["name"] for one in kubectl.nodes()}
    return [name for name in names if name in known]


def _is_moved(pod: Mapping[str, Any]) -> bool:
    meta = pod["metadata"]
    is_mirror = "kubernetes.io/config.mirror" in (meta.get("annotations") or {})
    return (
        not is_mirror and (pod.get("status") or {}).get("phase") not in _ENDED and _owner(meta) != "DaemonSet"
    )


def _pod(pod: Mapping[str, Any]) -> Dict[str, Any]:
    meta = pod["metadata"]
    return {
        "name": f"{meta['namespace']}/{meta['name']}",
        "node": pod["spec"]["nodeName"],
        "labels": meta.get("labels") or {},
        "is_bare": not _owner(meta),
        "has_local_data": any("emptyDir" in one for one in pod["spec"].get("volumes") or []),
    }


def _owner(meta: Mapping[str, Any]) -> str:
    return next((str(one["kind"]) for one in meta.get("ownerReferences") or [] if one.get("controller")), "")


def _warning(message: str) -> Dict[str, Any]:
    return {"level": "warning", "code": DRAIN, "check": DRAIN, "message": message, "hint": "", "found": ""}
