# SPDX-License-Identifier: Apache-2.0
"""One run of a release in a cluster: held, compared, and carried out the way its strategy says."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..host import step_record
from ..release.errors import ReleaseError
from . import apply, kinds, rollout, scene, status
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

    def apply(self, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Apply objects; what is to be waited for of them."""
        return rollout.workloads(one.thing for one in apply.apply(self.seen, objects, self.steps))

    def wait(self, things: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Wait until they are ready; raises ReleaseError."""
        return rollout.wait(
            self.cluster, self.release.project, things, self.release.health_timeout, self.tell, self.steps
        )

    def union(self, *more: Ref) -> list[Ref]:
        """All that this project has, or is about to have, in the cluster."""
        return sorted({*self.hold.held.objects, *self.hold.held.kept, *self.seen.refs, *more})

    def hidden(self) -> dict[str, list[str]]:
        """What must be masked of the release before and of this one, while both may be there."""
        return {**self.hold.held.hidden, **self.seen.hidden_words()}

    def finish(self, kept: list[Ref] | None = None) -> None:
        """Write that the release is what is there."""
        self.hold.go_on(
            objects=sorted({*self.seen.refs, *self.seen.left}), kept=sorted(kept or []), paused=None,
            hidden=self.seen.hidden_words(),
        )  # fmt: skip


def begin(
    cluster: Cluster,
    release: Release,
    compare: Callable[[Scene], None],
    tell: Tell,
    steps: list[dict[str, Any]],
) -> Run:
    """Look, compare with the preview, and be ready to change something; raises ReleaseError, nothing touched."""
    seen = scene.look(cluster, release)
    scene.require_namespace(seen)
    # What moved where this very release was begun is its own work.
    if seen.held.release_id != release.release_id:
        compare(seen)
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
    """The result of a run: {changed, live}, and `paused`."""
    changed = any(one["status"] == "succeeded" and one["step"] != "canary" for one in run.steps)
    found: dict[str, Any] = {"changed": changed or paused, "live": status.live(run.cluster, run.release)}
    return {**found, "paused": True} if paused else found


def roll(run: Run) -> dict[str, Any]:
    """The rolling strategy: the workloads' own."""
    take(run, objects=run.union(), paused=None)
    run.wait(run.apply(run.seen.objects))
    apply.prune(run.seen, run.seen.gone, run.steps)
    run.finish()
    return outcome(run)


def switch(run: Run) -> dict[str, Any]:
    """Blue/green: the other colour beside the first, ready; then the Service; then what was before."""
    front = run.release.params["service"]
    take(run, objects=run.union(), kept=sorted(run.seen.kept), paused=None)
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
    apply.prune(run.seen, run.seen.gone, run.steps)
    run.finish(run.seen.kept)
    _let_go(run)
    return outcome(run)


def _let_go(run: Run) -> None:
    """Delete what had the traffic before, after its grace; without one it stays until the next release."""
    seconds = run.release.params["keep_old_seconds"]
    if seconds is None or not run.seen.kept:
        return
    titles = run.seen.titles()
    run.tell(", ".join(titles[one] for one in run.seen.kept), f"is kept for {seconds} s, then deleted")
    time.sleep(seconds)
    run.hold.held = scene.held(run.cluster, run.release.project, run.release.namespace)
    if run.hold.held.release_id == run.release.release_id:
        apply.prune(run.seen, run.seen.kept, run.steps)
        run.finish()
