# SPDX-License-Identifier: Apache-2.0
"""What a release would change in a cluster, and what stands against it. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..release.errors import ReleaseError
from ..release.veil import Veil
from . import (
    comparison,
    diagnosis,
    field_owners,
    fingerprint,
    images,
    kinds,
    ownership,
    quota,
    readiness,
    rolling,
    scene,
    stuck_pod,
    trial,
)
from .cluster import Cluster
from .kinds import Ref
from .release import Release
from .scene import Scene
from .trial import Trial


def preview(cluster: Cluster, release: Release, veil: Veil) -> dict[str, Any]:
    """The fields of a preview but for who asked: services, images, checks, risk_facts, shown, fingerprint, parts."""
    seen = scene.look(cluster, release)
    checks = _standing(seen)
    titles = seen.titles()
    trials, rows = _trials(seen, titles, veil)
    checks += [one for ref in seen.refs for one in _verdict(seen, ref, trials.get(ref), titles[ref])]
    checks += _stuck_pods(seen, rows, titles)
    found = images.images(seen.objects)
    for one in found:
        if not one["pinned"]:
            said = f"{one['service']} runs {one['reference']}, which can be another image later"
            checks.append(_check("warning", "image_unpinned", said, "Name images by digest."))
    facts = comparison.risk_facts(rows, seen.objects, found)
    facts |= {"field_takeover"} if release.forces and any(one.conflicts for one in trials.values()) else set()
    facts |= set() if cluster.session.is_verified else {"tls_unverified"}
    parts = fingerprint.parts({one: seen.live.get(one) for one in seen.touched()}, veil)
    return {
        "services": [{name: row[name] for name in ("name", "action", "changes")} for row in rows],
        "images": found,
        "checks": checks,
        "risk_facts": sorted(facts),
        "shown": _shown(seen, veil),
        "fingerprint": fingerprint.whole(parts, veil),
        "fingerprint_parts": parts,
        "conflicts": sorted(
            field_owners.word(titles[one], row) for one in trials for row in trials[one].conflicts
        ),
    }


def _trials(
    seen: Scene, titles: Mapping[Ref, str], veil: Veil
) -> tuple[dict[Ref, Trial], list[dict[str, Any]]]:
    """A dry run of each object that the server can be asked about, and what becomes of every object.

    What came of a dry run is compared at once and forgotten: large releases are to need little memory.
    """

    def attempt(thing: dict[str, Any]) -> tuple[Trial | None, dict[str, Any]]:
        one = kinds.ref(thing)
        is_asked = seen.cluster.resource(one.api_version, one.kind) and (seen.namespace or not one.namespace)
        tried = None
        if is_asked:
            wanted = trial.candidate(thing, seen.live[one], seen.release.project, seen.release.release_id)
            tried = trial.attempt(seen.cluster, wanted, titles[one])
            tried.replaced = tried.replaced or readiness.failed_before(seen.live[one], seen.release.resumed)
        row = _row(seen, thing, titles[one], tried, veil)
        if tried:
            tried.result = None
        return tried, row

    found = seen.cluster.session.each(attempt, seen.objects)
    trials = {one: tried for one, (tried, _) in zip(seen.refs, found, strict=True) if tried}
    rows = [row for _, row in found]
    rows += [{"name": titles[one], "kind": one.kind, "action": "remove", "changes": []} for one in seen.gone]
    return trials, sorted(rows, key=lambda row: (kinds.wave(row["kind"]), row["name"]))


def _row(seen: Scene, thing: dict[str, Any], title: str, tried: Trial | None, veil: Veil) -> dict[str, Any]:
    one = kinds.ref(thing)
    live = seen.live[one]
    action, changes = "none", []
    if live is None:
        action = "add"
    elif tried and tried.replaced:
        changes = _told_by_manifest(live, thing, seen.hidden(one), veil)
    elif tried and tried.result:
        changes = comparison.changes(live, tried.result, seen.hidden(one), veil)
    return {"name": title, "kind": one.kind, "action": "change" if changes else action, "changes": changes}


def _told_by_manifest(
    live: Mapping[str, Any], thing: Mapping[str, Any], hidden: list[str], veil: Veil
) -> list[dict[str, Any]]:
    """What differs in the fields that the manifest has: all that can be said of what is made anew."""
    rows = comparison.changes(live, _laid_over(live, thing), hidden, veil)
    return rows or [{"path": "spec", "before": "as it is", "after": "made anew"}]


def _laid_over(live: Any, thing: Any) -> Any:
    if isinstance(live, Mapping) and isinstance(thing, Mapping):
        return {**live, **{key: _laid_over(live.get(key), value) for key, value in thing.items()}}
    if isinstance(live, list) and isinstance(thing, list) and len(live) == len(thing):
        return [_laid_over(old, new) for old, new in zip(live, thing, strict=True)]
    return thing


def _verdict(seen: Scene, ref: Ref, tried: Trial | None, title: str) -> list[dict[str, str]]:
    """The checks of one object."""
    owner = ownership.other_owner(seen.live.get(ref), seen.release.project)
    if owner:
        error = ownership.taken(title, owner)
        return [_check("blocking", error.error_key, str(error), error.hint)]
    if tried is None:
        return _unasked(seen, ref, title)
    checks = []
    for one in tried.conflicts:
        checks.append(_check(
            "warning" if seen.release.forces else "blocking", "field_conflict",
            f"{title}: {one['field']} is owned by {one['manager']}",
            "It is taken over." if seen.release.forces
            else field_owners.HINT,
        ))  # fmt: skip
    if tried.error:
        checks.append(_check("blocking", tried.error.error_key, str(tried.error), tried.error.hint))
    if tried.replaced:
        checks.append(_check(
            "warning", "job_replaced",
            f"{title} is deleted and made anew: it failed, or what it runs is another than it was", "It runs again.",
        ))  # fmt: skip
    return checks


def _unasked(seen: Scene, one: Ref, title: str) -> list[dict[str, str]]:
    if seen.cluster.resource(one.api_version, one.kind):
        # The server cannot be asked before the object's namespace is there.
        return []
    if (one.api_version, one.kind) in ownership.served_by(seen.objects):
        said = f"{title} cannot be checked by the server before its definition is there"
        return [_check("info", "definition_first", said, "")]
    said = f"{title}: the server has no {one.kind} in {one.api_version}"
    hint = "The version may be gone from this server, or its definition missing: see `kubectl api-versions`."
    return [_check("blocking", "api_version_gone", said, hint)]


def _standing(seen: Scene) -> list[dict[str, str]]:
    """The checks of the whole."""
    checks = []
    try:
        scene.require_namespace(seen)
    except ReleaseError as error:
        checks.append(_check("blocking", error.error_key, str(error), error.hint))
    titles = seen.titles()
    for one in seen.left:
        said = f"{titles[one]} is not of this release any more and stays"
        checks.append(_check("info", "not_pruned", said, "Name its kind in prune_kinds to have it deleted."))
    if seen.release.strategy == "rolling":
        for one in rolling.unpaced(seen.objects, seen.release.params):
            said = f"{titles[one]} rolls at its own pace: max_surge and max_unavailable are for Deployments that roll"
            checks.append(_check("warning", "pace_ignored", said, "Say in its manifest how it is updated."))
    if not seen.cluster.session.is_verified:
        said = "the cluster's certificate is not checked: somebody else may be answering"
        checks.append(_check("warning", "tls_unverified", said, "Give the cluster's CA."))
    pairs = [(seen.live.get(kinds.ref(one)), one) for one in seen.objects]
    pairs += [(seen.live.get(one), None) for one in seen.gone]
    if seen.held.resource_version is None:
        # What is kept of the project is an object, too.
        pairs.append((None, seen.held.config_map(seen.release.project, seen.release.namespace)))
    said_of_quota = quota.exceeded(seen.quotas, pairs)
    hint = "Raise the namespace's quota, or ask for less."
    checks += [_check("blocking", "quota_exceeded", said, hint) for said in said_of_quota]
    return checks + _pull_secrets(seen)


def _pull_secrets(seen: Scene) -> list[dict[str, str]]:
    own = {one.name for one in seen.refs if one.kind == "Secret"}
    names = sorted(images.pull_secrets(seen.objects) - own)
    if not names or (seen.namespace is None and not scene.brings_namespace(seen)):
        return []
    refs = [Ref("v1", "Secret", seen.release.namespace, name) for name in names]
    found = scene.asked(lambda: seen.cluster.session.each(seen.cluster.get, refs), "pull secrets")
    return [
        _check("blocking", "pull_secret_missing", f"Secret {one.name}, with which images are pulled, is not there",
               "Make the secret, or let the release hold it.")
        for one, thing in zip(refs, found, strict=True) if thing is None
    ]  # fmt: skip


def _stuck_pods(seen: Scene, rows: list[dict[str, Any]], titles: Mapping[Ref, str]) -> list[dict[str, str]]:
    """Pods that are not ready and would be deleted, being of another revision than the release's."""
    templates = {
        row["name"]
        for row in rows
        if any(change["path"].startswith("spec.template") for change in row["changes"])
    }
    checks = []
    for one in seen.refs:
        thing = seen.live.get(one) if one.kind == "StatefulSet" else None
        if thing is None or readiness.assess(thing).ready or not stuck_pod.may_wait_in_vain(thing):
            continue
        look = diagnosis.first_unready if titles[one] in templates else diagnosis.in_the_way
        pod = scene.asked(lambda look=look, thing=thing: look(seen.cluster, thing), titles[one])
        if pod:
            said = f"{titles[one]} waits for pod {pod['metadata']['name']}, which is not ready"
            hint = (
                "If it does not get ready it is deleted, so that the StatefulSet can go on; its volumes stay."
            )
            checks.append(_check("warning", "pod_in_the_way", said, hint))
    return checks


def _shown(seen: Scene, veil: Veil) -> str:
    texts = [
        json.dumps(
            comparison.shown(thing, seen.hidden(kinds.ref(thing)), veil),
            indent=2,
            sort_keys=True,
            ensure_ascii=False,
        )
        for thing in seen.objects
    ]
    return "[\n" + ",\n".join(texts) + "\n]\n"


def _check(level: str, code: str, message: str, hint: str) -> dict[str, str]:
    return {"level": level, "code": code, "message": message, "hint": hint}
