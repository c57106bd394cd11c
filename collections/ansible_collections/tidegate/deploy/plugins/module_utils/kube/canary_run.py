# SPDX-License-Identifier: Apache-2.0
"""The canary strategy: a few pods first, watched, more of them, and then everything; or back.

Until it is promoted nothing that was there is changed: the canary and what the release adds come beside it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..host import step_record
from ..release.errors import ReleaseError
from . import apply, canary, colours, diagnosis, hints, kinds, operation, pods, readiness, trial
from .kinds import Ref
from .operation import Run

_LOOK_SECONDS = 1.0


def start(run: Run) -> dict[str, Any]:
    """Begin with the first share; rolls at once where there is nothing yet to stand beside, or nothing to change."""
    main = _main(run)
    live = run.seen.live.get(kinds.ref(main))
    if live is None or _is_unchanged(run, main, live):
        return operation.roll(run)
    before = {"release_id": run.hold.held.release_id, "objects": [list(one) for one in run.hold.held.objects]}
    additions = [one for one in run.seen.objects if run.seen.live.get(kinds.ref(one)) is None]
    paused = {"release_id": run.release.release_id, "step": -1, "before": before}
    operation.take(run, objects=run.union(_canary_ref(main)), paused=paused)
    try:
        run.wait(run.apply(additions))
    except ReleaseError:
        back(run)
        raise
    return _go_on(run, 0)


def promote(run: Run) -> dict[str, Any]:
    """Go on with a paused canary, if it is well still; raises ReleaseError."""
    paused = _paused(run)
    operation.take(run)
    try:
        _require_well(run, [])
    except ReleaseError:
        back(run)
        raise
    return _go_on(run, int(paused["step"]) + 1)


def abort(run: Run) -> dict[str, Any]:
    """Take a paused canary back; raises ReleaseError."""
    _paused(run)
    operation.take(run)
    back(run)
    return operation.outcome(run)


def back(run: Run) -> None:
    """Delete the canary and what the release added: what was there was never changed."""
    before = (run.hold.held.paused or {}).get("before") or {}
    keeps = {Ref(*one) for one in before.get("objects", [])}
    added = [one for one in run.hold.held.objects if one not in keeps and one.kind not in kinds.PROTECTED]
    run.seen.live |= run.cluster.live(added, run.release.project)
    apply.prune(run.seen, added, run.steps)
    run.hold.go_on(release_id=before.get("release_id"), objects=sorted(keeps), paused=None)


def _go_on(run: Run, first: int) -> dict[str, Any]:
    shares = run.release.params["steps"]
    seconds = run.release.params["pause_seconds"]
    for number in range(first, len(shares)):
        try:
            _grow(run, shares[number])
            if seconds is not None:
                _watch(run, seconds)
        except ReleaseError:
            back(run)
            raise
        run.hold.go_on(paused={**(run.hold.held.paused or {}), "step": number})
        if seconds is None:
            return operation.outcome(run, paused=True)
    return _everything(run)


def _grow(run: Run, percent: int) -> None:
    """The canary has its share of the pods, ready. Appends the step `canary`."""
    started = time.time()
    main = _main(run)
    live = run.cluster.get(kinds.ref(main)) or main
    count = live["spec"].get("replicas")
    thing = canary.deployment(main, 1 if count is None else int(count), percent)
    run.seen.live[kinds.ref(thing)] = run.cluster.get(kinds.ref(thing))
    own: list[dict[str, Any]] = []
    try:
        (done,) = apply.apply(run.seen, [thing], own)
        run.wait([done.thing])
    except ReleaseError as error:
        run.steps.append(step_record.step("canary", "failed", started, str(error), percent=percent))
        raise
    run.steps.append(
        step_record.step("canary", "succeeded", started, percent=percent, replicas=thing["spec"]["replicas"])
    )


def _watch(run: Run, seconds: float) -> None:
    """The health gate: look every second until its time is over; raises ReleaseError when it is not well."""
    until = time.monotonic() + seconds
    run.tell(f"canary of {run.release.params['workload']}", f"is watched for {seconds} s")
    unready: list[str] = []
    while True:
        _require_well(run, unready)
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(_LOOK_SECONDS, left))


def _require_well(run: Run, unready: list[str]) -> None:
    """`unready` is what was not ready at the look before: one look may hit a moment, two do not."""
    one = _canary_ref(_main(run))
    thing = run.cluster.get(one)
    if thing is None:
        raise ReleaseError("rollout_failed", f"Deployment/{one.name} is gone", "Somebody deleted the canary.")
    found = diagnosis.pods_of(run.cluster, [thing])[one]
    restarts, most = pods.restarts(found), run.release.params["max_restarts"]
    state = readiness.assess(thing)
    why = f"{restarts} restarts, {most} allowed" if restarts > most else ""
    if not why and not state.ready:
        why = f"not ready any more ({state.progress})" if unready or state.hopeless else ""
        unready.append(state.progress)
        if not why:
            return
    if not why:
        unready.clear()
        return
    run.steps.append(step_record.step("canary", "failed", time.time(), why))
    rows = diagnosis.objects(run.cluster, [thing])
    told = hints.hints(diagnosis.reasons(rows))
    raise ReleaseError(
        "rollout_failed", f"the canary Deployment/{one.name} is not well: {why}; it is taken back", told[0],
        objects=rows, hints=told,
    )  # fmt: skip


def _everything(run: Run) -> dict[str, Any]:
    main = _main(run)
    run.seen.live |= run.cluster.live([*run.seen.refs, _canary_ref(main)], run.release.project)
    run.wait(run.apply(run.seen.objects))
    apply.prune(run.seen, [*run.seen.gone, _canary_ref(main)], run.steps)
    run.finish()
    return operation.outcome(run)


def _paused(run: Run) -> Mapping[str, Any]:
    paused = run.hold.held.paused
    if not paused or paused.get("release_id") != run.release.release_id:
        raise ReleaseError(
            "validation_error", f"release {run.release.release_id} is not paused in this cluster",
            "Only a paused canary can be promoted or taken back.",
        )  # fmt: skip
    return paused


def _is_unchanged(run: Run, main: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    wanted = trial.candidate(main, live, run.release.project, run.release.release_id)
    return trial.is_unchanged(trial.attempt(run.cluster, wanted, main["metadata"]["name"]), live)


def _main(run: Run) -> dict[str, Any]:
    return colours.workload(run.seen.objects, run.release.params["workload"])


def _canary_ref(main: Mapping[str, Any]) -> Ref:
    one = kinds.ref(main)
    return one._replace(name=canary.name(one.name))
