# SPDX-License-Identifier: Apache-2.0
"""Waiting until what was applied is ready, telling how far it is, and giving up as soon as it cannot get better."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..host import step_record
from ..release.errors import ReleaseError
from . import diagnosis, hints, kinds, pods, readiness, slim, stuck_pod
from .api_problem import problem
from .cluster import Cluster
from .kinds import Ref
from .readiness import State
from .session import ApiError
from .stuck_pod import Stuck

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 1.0
_LOOK_AT_PODS_SECONDS = 2.0
# So many workloads' pods at one look; the others at the next.
_MOST_LOOKED_AT = 10
# A server that fails for so long is not about to answer again.
_BROKEN_SECONDS = 15.0
# So long a pod is seen to be not ready before it is said that it never will be.
_SURE_SECONDS = 5.0
Tell = Callable[[str, str], None]


def wait(
    cluster: Cluster,
    project: str,
    things: Iterable[dict[str, Any]],
    seconds: float,
    tell: Tell,
    steps: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Wait for objects, given as they were last seen; answers them as they then are. Appends the step `rollout`,
    and before it `stuck_pod_deleted` for each pod of an earlier revision that a StatefulSet waited for in vain.

    Raises ReleaseError: rollout_failed or image_missing when it cannot get better, rollout_timeout; with `objects`.
    """
    started = time.time()
    watch = _Watch(cluster, project, list(things), tell, steps)
    try:
        is_first = watch.is_done()
        if not is_first:
            watch.until_done(seconds)
    except ReleaseError as error:
        steps.append(step_record.step("rollout", "failed", started, str(error), progress=watch.progress()))
        raise
    except ApiError as error:
        failure = problem(error, "rollout")
        steps.append(step_record.step("rollout", "failed", started, str(failure), progress=watch.progress()))
        raise failure from error
    steps.append(
        step_record.step(
            "rollout", "unchanged" if is_first else "succeeded", started, progress=watch.progress()
        )
    )
    return list(watch.things.values())


class _Watch:
    def __init__(
        self,
        cluster: Cluster,
        project: str,
        things: list[dict[str, Any]],
        tell: Tell,
        steps: list[dict[str, Any]],
    ) -> None:
        self._cluster = cluster
        self._steps = steps
        self._project = project
        self.things = {kinds.ref(one): one for one in things}
        self._titles = kinds.titles(self.things)
        self._tell = tell
        self._told: dict[Ref, str] = {}
        self._looked_at: list[Ref] = []
        self._answered = time.monotonic()
        # Of each StatefulSet the pod (uid) that it waits for, and since when that is known.
        self._unready: dict[Ref, tuple[str, float]] = {}
        self._told_of: dict[Ref, str] = {}
        # What was changed a moment ago still bears what was said of it before, and for a look or two its controller may
        # say that again of what it is now.
        self._late_before = {
            one: since
            for one, thing in self.things.items()
            if not readiness.is_seen(thing) and (since := readiness.late_since(thing))
        }

    def states(self) -> dict[Ref, State]:
        return {one: readiness.assess(thing) for one, thing in self.things.items()}

    def is_done(self) -> bool:
        return all(one.ready for one in self.states().values())

    def progress(self) -> dict[str, str]:
        return {self._titles[one]: state.progress for one, state in self.states().items() if state.progress}

    def until_done(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        pause, looked = _FIRST_PAUSE, time.monotonic()
        while True:
            left = [one for one, state in self.states().items() if not state.ready]
            self._tell_progress(left)
            if not left:
                return
            self._require_hope(left)
            if time.monotonic() - looked >= _LOOK_AT_PODS_SECONDS:
                looked = time.monotonic()
                self._patiently(self._require_hope_for_pods, left)
                self._patiently(self._free, left)
            if time.monotonic() >= until:
                raise self._failed(left, "rollout_timeout", f"not ready within {seconds:g} s", [])
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            self._patiently(self._look, left)

    def _patiently(self, ask: Callable[[list[Ref]], None], left: list[Ref]) -> None:
        """Servers that are made anew, or whose store elects a leader, fail for a moment."""
        try:
            ask(left)
        except ApiError as error:
            if error.status < 500 or time.monotonic() - self._answered > _BROKEN_SECONDS:
                raise
            return
        self._answered = time.monotonic()

    def _turn(self, left: list[Ref]) -> list[Ref]:
        """The workloads to be looked at now: first those that were not yet."""
        workloads = [one for one in left if one.kind in kinds.WORKLOADS]
        waiting = [one for one in workloads if one not in self._looked_at]
        chosen = (waiting + [one for one in self._looked_at if one in workloads])[:_MOST_LOOKED_AT]
        self._looked_at = [one for one in self._looked_at if one not in chosen] + chosen
        return chosen

    def _look(self, left: list[Ref]) -> None:
        for one, thing in self._cluster.live(left, self._project, slim.slim).items():
            if thing is None:
                raise ReleaseError(
                    "rollout_failed",
                    f"{self._titles[one]} is gone",
                    "Somebody deleted it: see who, and release again.",
                )
            self.things[one] = thing

    def _tell_progress(self, left: list[Ref]) -> None:
        states = self.states()
        for one in {*left, *self._told}:
            if states[one].progress and self._told.get(one) != states[one].progress:
                self._told[one] = states[one].progress
                self._tell(self._titles[one], states[one].progress)

    def _require_hope(self, left: list[Ref]) -> None:
        for one in left:
            state = readiness.assess(self.things[one])
            if state.hopeless and not self._is_of_before(one, state):
                raise self._failed([one], "rollout_failed", state.hopeless, [state.reason])

    def _is_of_before(self, one: Ref, state: State) -> bool:
        """Was that said of the Deployment that this one took the place of?"""
        if state.reason != readiness.LATE:
            return False
        return readiness.late_since(self.things[one]) == self._late_before.get(one)

    def _require_hope_for_pods(self, left: list[Ref]) -> None:
        workloads = [self.things[one] for one in self._turn(left)]
        found = diagnosis.pods_of(self._cluster, workloads)
        for thing in workloads:
            one = kinds.ref(thing)
            row = pods.hopeless(pods.problems(found[one]), is_job=one.kind == "Job")
            if row:
                key = "image_missing" if pods.is_image(row["reason"]) else "rollout_failed"
                said = f"{row['container'] or row['name']}: {row['reason']} {row['message']}".strip()
                raise self._failed([one], key, said, [row["reason"]])
            is_short = len(found[one]) < readiness.pods_wanted(thing)
            refused = diagnosis.refusal(self._cluster, thing) if is_short else None
            if refused:
                raise self._failed([one], "rollout_failed", refused[1], [refused[0]])

    def _free(self, left: list[Ref]) -> None:
        """Delete the pod of before that a StatefulSet waits for in vain: its controller never does."""
        for one in left:
            pod = diagnosis.in_the_way(self._cluster, self.things[one])
            stuck = stuck_pod.judged(pod, time.time()) if pod else None
            if stuck is None:
                self._unready.pop(one, None)
            elif self._is_sure(one, stuck):
                self._delete(one, stuck)

    def _is_sure(self, one: Ref, stuck: Stuck) -> bool:
        """A pod that only took long was seen to be so for a while: its clock may not be ours, and it may blink."""
        uid, since = self._unready.get(one, ("", 0.0))
        if uid != stuck.uid:
            since = time.monotonic()
            self._unready[one] = (stuck.uid, since)
        return stuck.is_hopeless or time.monotonic() - since >= _SURE_SECONDS

    def _delete(self, one: Ref, stuck: Stuck) -> None:
        started = time.time()
        said = f"pod {stuck.name}, of an earlier revision, {stuck.why}, and the set waits for it: "
        try:
            is_deleted = self._cluster.delete(stuck.pod)
        except ApiError as error:
            if error.status != 403:
                raise
            # Whoever may not leaves it to people, who are told of the pod in the failure, too.
            if self._told_of.get(one) != stuck.uid:
                self._told_of[one] = stuck.uid
                self._tell(self._titles[one], said + "somebody has to delete it, this credential may not")
            return
        if is_deleted:
            self._tell(self._titles[one], said + "it is deleted")
            self._steps.append(
                step_record.step(
                    "stuck_pod_deleted",
                    "succeeded",
                    started,
                    object=self._titles[one],
                    pod=stuck.name,
                    why=f"of an earlier revision, {stuck.why}",
                )  # fmt: skip
            )

    def _failed(self, left: list[Ref], key: str, why: str, reasons: list[str]) -> ReleaseError:
        objects = diagnosis.objects(self._cluster, [self.things[one] for one in left[:_MOST_LOOKED_AT]])
        reasons = reasons + diagnosis.reasons(objects)
        found = hints.hints(reasons)
        names = ", ".join(self._titles[one] for one in left)
        counts = ", ".join(filter(None, (readiness.assess(self.things[one]).progress for one in left)))
        said = f"{names}: {why}" + (f" ({counts})" if counts else "")
        return ReleaseError(key, said, found[0], objects=objects, hints=found)


def workloads(things: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The objects that there is something to wait for."""
    return [dict(one) for one in things if one["kind"] in kinds.WORKLOADS or not kinds.is_own(kinds.ref(one))]
