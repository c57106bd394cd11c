# SPDX-License-Identifier: Apache-2.0
"""What stands in the way of an install on a host, and what each step would do there. Changes nothing."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any, Dict, List, Optional

from ..host import bundle_store, state_folder
from ..release.errors import ReleaseError
from . import (
    checks,
    cluster_network,
    cluster_ready,
    compatibility,
    compose_environment,
    container_runtime,
    host_facts,
    host_lock,
    kubeadm,
    kubernetes_node,
    node_removal,
)
from .journal import Journal

# How long the question may have been on its way: so much later is no fault of the clock.
_WAY_SECONDS = 10
_APPLIES = {
    container_runtime.STEP: container_runtime.apply,
    compose_environment.STEP: compose_environment.apply,
    kubernetes_node.STEP: kubernetes_node.apply,
    kubeadm.INIT: kubeadm.init,
    kubeadm.JOIN_PLANE: functools.partial(kubeadm.join, kubeadm.JOIN_PLANE),
    kubeadm.JOIN_WORKER: functools.partial(kubeadm.join, kubeadm.JOIN_WORKER),
    cluster_network.STEP: cluster_network.apply,
    cluster_ready.STEP: cluster_ready.apply,
}
# What a node that leaves a cluster is taken back of after how it joined, in this order.
_OF_NODE = (cluster_network.STEP, kubernetes_node.STEP, container_runtime.STEP)
# What stands in the way of these is there before anything is installed.
_FIRST = (container_runtime.STEP, kubeadm.INIT, kubeadm.JOIN_PLANE, kubeadm.JOIN_WORKER)


def _asked(wanted: List[Dict[str, Any]], journal: Journal) -> List[Dict[str, Any]]:
    """The checks that are to be held: on a host that kubeadm was run on, a node's ports and networks are its own."""
    if not journal.find("kubeadm", "node"):
        return wanted
    return [_of_node(one) for one in wanted if one["kind"] != "port"]


def _of_node(check: Dict[str, Any]) -> Dict[str, Any]:
    if check["kind"] not in ("address", "subnet"):
        return check
    return {**check, "expect": {**check["expect"], "free": False}}


def look(given: Dict[str, Any]) -> Dict[str, Any]:
    """Answer {"facts", "checks", "plan", "fingerprint"} for `given`: `wanted`, `checks`, `steps`, `inputs`, `work`,
    `clock` (of the controller, seconds since the epoch), `platforms`, `holder`, `compatibility`, `kubernetes`; and of a
    rollback `rollback`, whose `undoes` are the tasks that it is about: then `undo` is what it would do."""
    bundle = state_folder.path("bundle")
    facts = host_facts.read(bundle)
    behind = facts.pop("clock") - given["clock"]
    skew = 0.0 if 0 <= behind <= _WAY_SECONDS else behind
    facts["clock_skew_s"] = round(skew)
    failed = checks.hold(_asked(given["checks"], Journal()), facts, given["inputs"], skew)
    failed += _own(facts, given) + compatibility.hold(given["compatibility"], facts, given["kubernetes"])
    found = bundle_store.look(bundle, given["wanted"], False, False)
    try:
        bundle_store.require_room(bundle, found, given["wanted"])
    except ReleaseError as error:
        failed.append(_blocking(error.error_key, str(error), error.hint))
    plan = [_delivery(found)]
    journal = Journal()
    for name in given["steps"]:
        if name in given.get("hooks", ()):
            plan.append({"step": name, "action": "run", "detail": "a hook of the bundle"})
        if name not in _APPLIES:
            continue
        try:
            told = _APPLIES[name](given["work"], journal, True)
            plan.append(_planned(name, told["changes"] + told.get("awaited", [])))
        except ReleaseError as error:
            plan.append({"step": name, "action": "run", "detail": str(error)})
            # What an earlier step will bring is missing now, and is no fault.
            if name in _FIRST:
                failed.append(_blocking(error.error_key, str(error), error.hint))
    told = {"facts": facts, "checks": failed, "plan": plan, "fingerprint": _fingerprint(facts, plan, journal)}
    if given.get("rollback"):
        told.update(_looked_back(given["rollback"].get("undoes"), failed))
    return told


def _looked_back(undoes: Optional[List[str]], failed: List[Dict[str, Any]]) -> Dict[str, Any]:
    """What an undo would do, as `undo`, the last step first, and what keeps it from that among the checks."""
    journal = Journal(undoes=undoes)
    plan = []
    for step in reversed(list(dict.fromkeys(one["step"] for one in journal.entries))):
        taken = [one for one in journal.taken() if one["step"] == step]
        given_back = [one["name"] for one in journal.gives_back() if one["step"] == step]
        if taken or given_back:
            words = [f"takes away {len(taken)} things"] if taken else []
            words += [f"brings back as it was: {', '.join(given_back)}"] if given_back else []
            plan.append({"step": step, "action": "undo", "detail": "; ".join(words)})
    why = kubeadm.stays(journal)
    against = [{**_blocking(why.error_key, str(why), why.hint), "check": "rollback"}] if why else []
    return {"undo": plan, "checks": failed + against}


def look_at_removal(given: Dict[str, Any]) -> Dict[str, Any]:
    """Answer the same where nodes are to leave a cluster; of `given`, `removal` says which (`names`, `is_lost`) and
    what this host is to it: `leaves`, `first_control_plane`, or `stays`."""
    facts, journal = host_facts.read(state_folder.path("bundle")), Journal()
    facts["clock_skew_s"] = round(facts.pop("clock") - given["clock"])
    failed, plan = _own(facts, given), []
    removal = given["removal"]
    if removal["host"] == "leaves":
        joined = kubeadm.JOIN_WORKER if removal["role"] == "worker" else kubeadm.JOIN_PLANE
        plan = [_undone(step, journal) for step in (joined, *_OF_NODE)]
    else:
        if removal["host"] == "first_control_plane":
            try:
                told = node_removal.look(removal["names"], removal["is_lost"])
            except ReleaseError as error:
                told = {
                    "plan": [],
                    "pods": [],
                    "checks": [_blocking(error.error_key, str(error), error.hint)],
                }
            failed, plan = failed + told["checks"], told["plan"]
            facts["pods_to_move"] = told["pods"]
        plan.append({"step": cluster_network.STEP, "action": "run", "detail": "no more routes to their pods"})
    return {"facts": facts, "checks": failed, "plan": plan, "fingerprint": _fingerprint(facts, plan, journal)}


def _undone(step: str, journal: Journal) -> Dict[str, Any]:
    its = [one for one in journal.entries if one["step"] == step]
    return {"step": step, "action": "undo" if its else "done", "detail": f"{len(its)} things" if its else ""}


def _own(facts: Dict[str, Any], given: Dict[str, Any]) -> List[Dict[str, Any]]:
    """What holds for every install, whatever the index says."""
    failed = []
    if {"os": "linux", "arch": facts["arch"]} not in given["platforms"]:
        failed.append(
            _blocking("preflight_failed", f"the bundle is not for {facts['arch']}", "Use another bundle.")
        )
    if facts["user_id"] != 0:
        failed.append(_blocking("preflight_failed", "this user is not root", "Let Ansible become root."))
    if not facts["systemd"]:
        failed.append(_blocking("preflight_failed", "systemd is not what runs the host", ""))
    holder = host_lock.other(given["holder"])
    if holder:
        failed.append(
            _blocking("resource_locked", f"the host is taken: {holder}", "Wait until it has ended.")
        )
    return failed


def _blocking(key: str, message: str, hint: str) -> Dict[str, Any]:
    return {"level": "blocking", "code": key, "check": key, "message": message, "hint": hint, "found": ""}


def _delivery(found: List[Dict[str, Any]]) -> Dict[str, Any]:
    missing = [one for one in found if not one["present"]]
    altered = sum(1 for one in missing if one["altered"])
    detail = f"{len(missing)} of {len(found)} files" + (f", {altered} of them altered" if altered else "")
    return {
        "step": "bundle_delivery",
        "action": "run" if missing else "done",
        "detail": detail if missing else "",
    }


def _planned(name: str, changes: List[str]) -> Dict[str, Any]:
    return {"step": name, "action": "run" if changes else "done", "detail": "; ".join(changes)}


def _fingerprint(facts: Dict[str, Any], plan: List[Dict[str, Any]], journal: Journal) -> str:
    """What an apply must find as the preview found it: not what changes by itself, as the free disk space does."""
    lasting = {
        name: facts[name] for name in ("os", "os_version", "arch", "kernel", "cgroup_version", "user_id")
    }
    told = json.dumps([lasting, plan, journal.entries], sort_keys=True)
    return "sha256:" + hashlib.sha256(told.encode()).hexdigest()
