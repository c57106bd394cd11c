# SPDX-License-Identifier: Apache-2.0
"""What runs of a project in a cluster, without any setting that could be secret."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..release.veil import Veil
from . import fingerprint, kinds, readiness, scene, slim
from .cluster import Cluster
from .kinds import Ref
from .release import Release


def live(cluster: Cluster, release: Release) -> dict[str, Any]:
    """{release_id, services} of a release that was just carried out."""
    held = scene.held(cluster, release.project, release.namespace)
    found = _workloads(cluster, [*held.objects, *held.kept], release.project)
    return {"release_id": held.release_id, "services": rows(found)}


def status(cluster: Cluster, project: str, namespace: str, veil: Veil) -> dict[str, Any]:
    """The fields of a status but for who asked."""
    scene.asked(lambda: cluster.discover(["v1"]), "the API")
    held = scene.held(cluster, project, namespace)
    scene.renew(cluster, held)
    refs = [*held.objects, *held.kept]
    found = scene.asked(lambda: cluster.live(refs, project), "objects")
    parts = fingerprint.parts({one: found[one] for one in held.objects}, veil)
    return {
        "release_id": held.release_id,
        "services": rows(thing for thing in found.values() if thing and thing["kind"] in kinds.WORKLOADS),
        "fingerprint": fingerprint.whole(parts, veil),
        "fingerprint_parts": parts,
        "paused": bool(held.paused),
        "kept": [title for one, title in kinds.titles(refs).items() if one in held.kept],
        "kept_until": held.kept_until,
        "missing": [title for one, title in kinds.titles(refs).items() if found[one] is None],
    }


def rows(things: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each workload."""
    found = []
    for thing in sorted(things, key=lambda one: (one["kind"], one["metadata"]["name"])):
        spec, state = kinds.pod_spec(thing) or {}, readiness.assess(thing)
        status_of = thing.get("status") or {}
        images = [str(one.get("image")) for one in spec.get("containers") or []]
        replicas = (thing.get("spec") or {}).get("replicas")
        if thing["kind"] == "DaemonSet":
            replicas = status_of.get("desiredNumberScheduled")
        elif thing["kind"] == "Job":
            replicas = (thing.get("spec") or {}).get("completions")
        running = status_of.get("readyReplicas", status_of.get("numberReady", status_of.get("succeeded")))
        found.append({
            "name": f"{thing['kind']}/{thing['metadata']['name']}", "image": ", ".join(images), "image_id": None,
            "replicas": 1 if replicas is None else replicas, "running": running or 0,
            "health": "healthy" if state.ready else "unhealthy" if state.hopeless else "starting",
            "progress": state.progress,
        })  # fmt: skip
    return found


def _workloads(cluster: Cluster, refs: list[Ref], project: str) -> list[dict[str, Any]]:
    wanted = [one for one in refs if one.kind in kinds.WORKLOADS]
    found = scene.asked(lambda: cluster.live(wanted, project, slim.slim), "objects")
    return [thing for thing in found.values() if thing]
