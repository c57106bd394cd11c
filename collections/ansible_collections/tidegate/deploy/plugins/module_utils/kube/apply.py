# SPDX-License-Identifier: Apache-2.0
"""A release's objects become what the cluster has: in order, each only when something comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..host import step_record
from ..release.errors import ReleaseError
from . import field_owners, kinds, ownership, readiness, slim, trial
from .api_problem import is_immutable, problem
from .cluster import Cluster
from .kinds import Ref
from .scene import Scene
from .session import ApiError

_ESTABLISHED_SECONDS = 60.0
_MOST_TOLD = 200
Tell = Callable[[str, str], None]


@dataclass
class Done:
    """`action` is created, changed, replaced or unchanged; `thing` is, slim, the object as the server then had it."""

    ref: Ref
    action: str
    thing: dict[str, Any]


def apply(seen: Scene, objects: list[dict[str, Any]], steps: list[dict[str, Any]]) -> list[Done]:
    """Apply in order of kinds; appends the step `objects_applied`. Raises ReleaseError with what was done before."""
    started, done = time.time(), []
    titles = kinds.titles(map(kinds.ref, objects))
    try:
        for wave in kinds.waves(objects):
            _discover(seen, wave)
            found = seen.cluster.session.each(lambda thing: _one(seen, thing, titles[kinds.ref(thing)]), wave)
            done += [one for one in found if isinstance(one, Done)]
            for one in found:
                if isinstance(one, ReleaseError):
                    raise one
            _await_definitions(seen.cluster, done)
    except (ReleaseError, ApiError) as error:
        failure = problem(error, "objects") if isinstance(error, ApiError) else error
        steps.append(
            step_record.step("objects_applied", "failed", started, str(failure), **_counts(done, titles))
        )
        raise failure from error
    is_same = all(one.action == "unchanged" for one in done)
    steps.append(
        step_record.step(
            "objects_applied", "unchanged" if is_same else "succeeded", started, **_counts(done, titles)
        )
    )
    return done


def prune(seen: Scene, gone: Iterable[Ref], steps: list[dict[str, Any]]) -> bool:
    """Delete what is this project's of `gone`, routes first; appends the step `pruned` when there is any."""
    started = time.time()
    found = [
        thing
        for one in gone
        if (thing := seen.live.get(one)) and ownership.belongs(thing, seen.release.project)
    ]
    if not found:
        return False
    titles = seen.titles()
    told = [titles.get(kinds.ref(one)) or f"{one['kind']}/{one['metadata']['name']}" for one in found]
    try:
        for wave in reversed(kinds.waves(found)):
            seen.cluster.session.each(seen.cluster.delete, wave)
    except ApiError as error:
        failure = problem(error, "prune")
        steps.append(step_record.step("pruned", "failed", started, str(failure), objects=told))
        raise failure from error
    steps.append(step_record.step("pruned", "succeeded", started, objects=told))
    return True


def _one(seen: Scene, thing: dict[str, Any], title: str) -> Done | ReleaseError:
    try:
        done = _applied(seen, thing, title)
        # What was there before is compared now, and held no longer.
        before = seen.live.get(done.ref)
        seen.live[done.ref] = slim.slim(before) if before else None
        return Done(done.ref, done.action, slim.slim(done.thing))
    except ApiError as error:
        return problem(error, title)
    except ReleaseError as error:
        return error


def _applied(seen: Scene, thing: dict[str, Any], title: str) -> Done:
    release, one = seen.release, kinds.ref(thing)
    live = seen.live.get(one)
    if owner := ownership.other_owner(live, release.project):
        raise ownership.taken(title, owner)
    wanted = ownership.labelled(thing, release.project, release.release_id)
    if live is None:
        return Done(one, "created", _sent(seen, wanted, title))
    tried = trial.candidate(thing, live, release.project, release.release_id)
    if not readiness.failed_before(live, release.resumed):
        try:
            result = _sent(seen, tried, title, dry_run=True)
            if trial.is_unchanged(trial.Trial(result), live):
                return Done(one, "unchanged", result)
            return Done(one, "changed", _sent(seen, wanted, title))
        except ApiError as error:
            if not (is_immutable(error) and (one.group, one.kind) == ("batch", "Job")):
                raise
    seen.cluster.delete(live)
    _await_gone(seen.cluster, one, live["metadata"]["uid"])
    return Done(one, "replaced", _sent(seen, wanted, title))


def _sent(seen: Scene, thing: dict[str, Any], title: str, dry_run: bool = False) -> dict[str, Any]:
    """Apply it; fields of others are taken over where the release says so and its preview has shown them."""
    try:
        return seen.cluster.apply(thing, dry_run=dry_run)
    except ApiError as error:
        found = field_owners.conflicts(error.document) if error.status == 409 and seen.release.forces else []
        if not found:
            raise
        new = [one for one in found if field_owners.word(title, one) not in seen.release.shown_conflicts]
        if new:
            said = ", ".join(f"{one['field']} ({one['manager']})" for one in new)
            raise ReleaseError(
                "field_conflict", f"{title}: others own {said}, which the preview did not show",
                "Preview again, and see whether the fields are to be taken over.", conflicts=new,
            ) from error  # fmt: skip
        return seen.cluster.apply(thing, force=True, dry_run=dry_run)


def _discover(seen: Scene, wave: list[dict[str, Any]]) -> None:
    """Kinds that the release itself defined a moment ago are served by now, or within seconds."""
    missing = {
        one["apiVersion"] for one in wave if seen.cluster.resource(one["apiVersion"], one["kind"]) is None
    }
    until = time.monotonic() + 10
    while missing:
        seen.cluster.discover(sorted(missing), again=True)
        missing = {
            one["apiVersion"] for one in wave if seen.cluster.resource(one["apiVersion"], one["kind"]) is None
        }
        if not missing or time.monotonic() > until:
            return
        time.sleep(0.2)


def _await_definitions(cluster: Cluster, done: list[Done]) -> None:
    until = time.monotonic() + _ESTABLISHED_SECONDS
    for one in done:
        if one.ref.kind != "CustomResourceDefinition":
            continue
        thing: dict[str, Any] | None = one.thing
        while not (state := readiness.assess(thing or one.thing)).ready:
            if state.hopeless or time.monotonic() > until:
                said = state.hopeless or f"not established within {_ESTABLISHED_SECONDS:g} s"
                raise ReleaseError(
                    "rollout_failed", f"{one.ref.kind}/{one.ref.name}: {said}", "Correct its names."
                )
            time.sleep(0.1)
            thing = cluster.get(one.ref)


def _await_gone(cluster: Cluster, one: Ref, uid: str, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while (thing := cluster.get(one)) and thing["metadata"]["uid"] == uid:
        if time.monotonic() > until:
            raise ReleaseError(
                "conflict", f"{one.kind}/{one.name} is not gone after {seconds:g} s", "See its finalizers."
            )
        time.sleep(0.1)


def _counts(done: list[Done], titles: dict[Ref, str]) -> dict[str, Any]:
    counts = {
        name: sum(one.action == name for one in done)
        for name in ("created", "changed", "replaced", "unchanged")
    }
    told = [f"{titles[one.ref]} {one.action}" for one in done if one.action != "unchanged"]
    return {**counts, "objects": told[:_MOST_TOLD]}
