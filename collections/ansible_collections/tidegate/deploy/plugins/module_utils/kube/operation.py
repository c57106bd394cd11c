# SPDX-License-Identifier: Apache-2.0
"""One run of a release in a cluster: held, compared, and carried out the way its strategy says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..host import step_record
from ..release.errors import ReleaseError
from . import apply, colours, inventory, kinds, rollout, scene, status
from .cluster import Cluster
from .hold import Hold
from .kinds import Ref
from .release import Release
from .scene import Scene

Tell = Callable[[str, str], None]


@dataclass
class Run:
    """What a strategy works with. `tell` says progress while it waits: whose, and how far."""

    cluster: Cluster
    release: Release
    seen: Scene
    hold: Hold
    tell: Tell
    steps: list[dict[str, Any]] = field(default_factory=list)
    # Says that the run is at a point where people may decide how it goes on, or that it is past that.
    decidable: Callable[[bool], None] = lambda is_so: None

    def apply(self, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Apply objects; what is to be waited for of them."""
        return rollout.workloads(one.thing for one in apply.apply(self.seen, objects, self.steps))

    def wait(self, things: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Wait until they are ready; raises ReleaseError."""
        return rollout.wait(
            self.cluster, self.release.project, things, self.release.health_timeout, self.tell, self.steps
        )

    def prune(self, gone: Iterable[Ref]) -> None:
        """Delete what is this project's of `gone`, if the run still has the project; raises ReleaseError."""
        found = list(gone)
        if found:
            self.hold.go_on()
            apply.prune(self.seen, found, self.steps)

    def union(self, *more: Ref) -> list[Ref]:
        """All that this project has, or is about to have, in the cluster."""
        return sorted({*self.hold.held.objects, *self.hold.held.kept, *self.seen.refs, *more})

    def hidden(self) -> dict[str, list[str]]:
        """What must be masked of the release before and of this one, while both may be there."""
        return inventory.joined(self.hold.held.hidden, self.seen.hidden_words())

    def finish(self, kept: list[Ref] | None = None, kept_until: float | None = None) -> None:
        """Write that the release is what is there, and what stays beside it until when."""
        stays = {scene.word(one) for one in kept or []}
        of_kept = {word: paths for word, paths in self.hold.held.hidden.items() if word in stays}
        self.hold.go_on(
            objects=sorted({*self.seen.refs, *self.seen.left}), kept=sorted(kept or []), kept_until=kept_until,
            paused=None, hidden=inventory.joined(of_kept, self.seen.hidden_words()),
        )  # fmt: skip


def begin(
    cluster: Cluster,
    release: Release,
    compare: Callable[[Scene], None],
    tell: Tell,
    steps: list[dict[str, Any]],
    decidable: Callable[[bool], None] = lambda is_so: None,
) -> Run:
    """Look, compare with the preview, and be ready to change something; raises ReleaseError, nothing touched."""
    seen = scene.look(cluster, release)
    scene.require_namespace(seen)
    # What moved where this very release was begun is its own work.
    if seen.held.release_id != release.release_id:
        compare(seen)
    hold = Hold(cluster, release.project, release.namespace, seen.held, release.fencing_token)
    return Run(cluster, release, seen, hold, tell, steps, decidable)


def begin_retirement(cluster: Cluster, release: Release, tell: Tell, steps: list[dict[str, Any]]) -> Run:
    """Look at what blue/green kept, and be ready to delete it; raises ReleaseError, nothing touched."""
    seen = scene.kept(cluster, release)
    hold = Hold(cluster, release.project, release.namespace, seen.held, release.fencing_token)
    return Run(cluster, release, seen, hold, tell, steps)


def take(run: Run, **changes: Any) -> None:
    """Take the project; makes the release's own namespace first when it is not there: the inventory lives in it."""
    if run.seen.namespace is None:
        own = [
            one
            for one in run.seen.objects
            if kinds.ref(one) == Ref("v1", "Namespace", "", run.release.namespace)
        ]
        apply.apply(run.seen, own, [])
        run.seen.live |= run.cluster.live([kinds.ref(one) for one in own], run.release.project)
    run.hold.begin(release_id=run.release.release_id, hidden=run.hidden(), **changes)


def outcome(run: Run, paused: bool = False) -> dict[str, Any]:
    """The result of a run: {changed, live}, and `paused`, or `kept_until` when it left something for a while."""
    changed = any(one["status"] == "succeeded" and one["step"] != "canary" for one in run.steps)
    found: dict[str, Any] = {"changed": changed or paused, "live": status.live(run.cluster, run.release)}
    if run.hold.held.kept_until is not None:
        found["kept_until"] = run.hold.held.kept_until
    return {**found, "paused": True} if paused else found


def roll(run: Run) -> dict[str, Any]:
    """The rolling strategy: the workloads' own."""
    take(run, objects=run.union(), paused=None)
    run.wait(run.apply(run.seen.objects))
    run.prune(run.seen.gone)
    run.finish()
    return outcome(run)


def switch(run: Run) -> dict[str, Any]:
    """Blue/green: the other colour beside the first, ready; then the Service; then what was before."""
    front, before = run.release.params["service"], run.hold.held.kept_until
    take(run, objects=run.union(), kept=sorted(run.seen.kept), kept_until=None, paused=None)
    service = [
        one for one in run.seen.objects if (one["kind"], one["metadata"]["name"]) == ("Service", front)
    ]
    rest = [one for one in run.seen.objects if one not in service]
    run.wait(run.apply(rest))
    run.hold.go_on()
    started, own = time.time(), []
    try:
        (done,) = apply.apply(run.seen, service, own)
    except ReleaseError as error:
        run.steps.append(step_record.step("switch", "failed", started, str(error), service=front))
        raise
    word = "unchanged" if done.action == "unchanged" else "succeeded"
    run.steps.append(
        step_record.step("switch", word, started, service=front, selector=done.thing["spec"]["selector"])
    )
    run.prune(run.seen.gone)
    _leave(run, before if word == "unchanged" else None)
    return outcome(run)


def _leave(run: Run, before: float | None) -> None:
    """What had the traffic stays for its grace, to be switched back to; without one until the next release.

    `before` is until when it was to stay, where nothing was switched now.
    """
    seconds, kept, until = run.release.params["keep_old_seconds"], run.seen.kept, None
    if seconds is not None and kept:
        until = time.time() + seconds if before is None else before
        if until <= time.time():
            run.prune(kept)
            kept, until = [], None
    run.finish(kept, until)


def retire(run: Run) -> dict[str, Any]:
    """Delete what blue/green kept, once its grace is over; raises ReleaseError.

    Nothing is done where a later release has taken the project over: what was kept is its to judge.
    """
    if not is_over(run):
        return outcome(run)
    _require_without_traffic(run)
    run.hold.begin()
    if is_over(run):
        run.prune(run.hold.held.kept)
        run.hold.go_on(kept=[], kept_until=None)
    return outcome(run)


def is_over(run: Run) -> bool:
    held = run.hold.held
    is_own = held.release_id == run.release.release_id
    return is_own and held.kept_until is not None and held.kept_until <= time.time()


def _require_without_traffic(run: Run) -> None:
    """Somebody may have switched back by hand."""
    front, workload = run.release.params["service"], run.release.params["workload"]
    service = scene.asked(
        lambda: run.cluster.get(Ref("v1", "Service", run.release.namespace, front)), f"Service/{front}"
    )
    colour = colours.live_colour(service)
    if colour and colours.coloured_name(workload, colour) in {one.name for one in run.hold.held.kept}:
        raise ReleaseError(
            "conflict", f"Service/{front} sends its traffic to {colour}, which is to be deleted",
            "It was switched by hand: release what is to run.",
        )  # fmt: skip
