# SPDX-License-Identifier: Apache-2.0
"""The canary strategy: a few pods first, watched, more of them, and then everything; or back.

Until it is promoted nothing that was there is changed: the canary and what the release adds come beside it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..host import step_record
from ..release.errors import ReleaseError
from . import apply, canary, colours, diagnosis, hints, kinds, operation, pods, readiness, scene, trial
from .api_problem import problem
from .kinds import Ref
from .operation import Run
from .session import ApiError

_LOOK_SECONDS = 1.0


def start(run: Run) -> dict[str, Any]:
    """Begin with the first share, or go on where a run that was lost was.

    Rolls at once where there is nothing yet to stand beside, or nothing to change.
    """
    main = _main(run)
    if _waits(run):
        return _take_up(run)
    live = run.seen.live.get(kinds.ref(main))
    if live is None or _is_unchanged(run, main, live):
        return operation.roll(run)
    before = {"release_id": run.hold.held.release_id, "objects": [list(one) for one in run.hold.held.objects]}
    added = [list(one) for one in run.seen.refs if run.seen.live.get(one) is None]
    paused = {"release_id": run.release.release_id, "step": -1, "before": before, "added": added}
    operation.take(run, objects=run.union(_canary_ref(main)), paused=paused)
    return _go_on(run, 0)


def promote(run: Run) -> dict[str, Any]:
    """Go on with a canary that waits, or is watched, if it is well still; raises ReleaseError."""
    if _had_begun(run) and not _waits(run) and run.hold.held.release_id == run.release.release_id:
        # The run that was lost came to its end, or to where it failed: what it wanted is asked for once more.
        return operation.roll(run)
    paused = _paused(run)
    step = int(paused["step"])
    reached = max(step, int(paused.get("watched", step)))
    if _had_begun(run) and paused.get("promoted") != reached:
        # Whether the run that was lost had done its part already is seen from where it began.
        operation.take(run)
        return operation.outcome(run, paused=True) if _is_for_people(run) else _go_on(run, step + 1)
    operation.take(run, paused={**paused, "step": reached, "promoted": reached})
    if 0 <= reached < len(run.release.params["steps"]):
        with _or_back(run):
            _watch(run, 0)
    return _go_on(run, reached + 1)


def abort(run: Run) -> dict[str, Any]:
    """Take a canary that waits, or is watched, back; raises ReleaseError."""
    if run.release.is_taken_up and not _waits(run):
        return operation.outcome(run)
    paused = _paused(run)
    if int(paused["step"]) >= len(run.release.params["steps"]):
        raise ReleaseError(
            "validation_error", f"release {run.release.release_id} gets everything already",
            "Roll it back once it has ended.",
        )  # fmt: skip
    operation.take(run)
    back(run)
    return operation.outcome(run)


def look(run: Run) -> dict[str, Any]:
    """See whether a canary that waits for people is well, as its gate would; changes nothing. Raises ReleaseError."""
    _paused(run)
    _watch(run, 0, "")
    return {"changed": False, "paused": True}


def can_go_back(run: Run) -> bool:
    """Is there a canary of this release of which nothing but itself and what it added was changed?"""
    paused = run.hold.held.paused or {}
    return _waits(run) and int(paused["step"]) < len(run.release.params["steps"])


def back(run: Run) -> None:
    """Delete the canary and what the release added: what was there was never changed."""
    paused = run.hold.held.paused or {}
    before = paused.get("before") or {}
    added = [Ref(*one) for one in paused.get("added", [])]
    stay = [one for one in added if one.kind in kinds.PROTECTED]
    goes = [*(one for one in added if one not in stay), _canary_ref(_main(run))]
    run.seen.live |= run.cluster.live([*goes, *stay], run.release.project)
    run.prune(goes)
    left = [one for one in stay if run.seen.live[one]]
    keeps = {*(Ref(*one) for one in before.get("objects", [])), *left}
    run.hold.go_on(release_id=before.get("release_id"), objects=sorted(keeps), paused=None)


@contextmanager
def _or_back(run: Run) -> Iterator[None]:
    """Take the canary back when what is done here fails; raises ReleaseError."""
    try:
        yield
    except (ReleaseError, ApiError) as error:
        failure = problem(error, "canary") if isinstance(error, ApiError) else error
        if failure.error_key == "target_locked":
            raise failure from error
        try:
            back(run)
        except (ReleaseError, ApiError) as other:
            raise ReleaseError(
                failure.error_key, f"{failure}; the canary could not be taken back: {other}", failure.hint,
                **failure.detail,
            ) from error  # fmt: skip
        raise failure from error


def _take_up(run: Run) -> dict[str, Any]:
    step = int((run.hold.held.paused or {})["step"])
    operation.take(run)
    if step >= 0 and _is_for_people(run):
        return operation.outcome(run, paused=True)
    return _go_on(run, step + 1)


def _is_for_people(run: Run) -> bool:
    """Does the canary wait until somebody decides?"""
    step = int((run.hold.held.paused or {})["step"])
    return run.release.params["pause_seconds"] is None and step < len(run.release.params["steps"])


def _go_on(run: Run, first: int) -> dict[str, Any]:
    shares = run.release.params["steps"]
    seconds = run.release.params["pause_seconds"]
    if first == 0:
        added = {tuple(one) for one in (run.hold.held.paused or {})["added"]}
        with _or_back(run):
            run.wait(run.apply([one for one in run.seen.objects if tuple(kinds.ref(one)) in added]))
    for number in range(first, len(shares)):
        with _or_back(run):
            _grow(run, shares[number])
            if seconds is not None:
                _note(run, watched=number)
                _watch_until_decided(run, seconds)
            _note(run, step=number)
        if seconds is None:
            return operation.outcome(run, paused=True)
    return _everything(run)


def _note(run: Run, **changes: int) -> None:
    """Write how far it is, for who takes it up or decides."""
    run.hold.go_on(paused={**(run.hold.held.paused or {}), **changes})


def _watch_until_decided(run: Run, seconds: float) -> None:
    run.tell(f"canary of {run.release.params['workload']}", f"is watched for {seconds} s")
    run.decidable(True)
    _watch(run, seconds)
    run.decidable(False)


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


def _watch(run: Run, seconds: float, then: str = "; it is taken back") -> None:
    """The health gate: look every second until its time is over and the last look was good; raises ReleaseError.

    `then` is said of what follows when it is not.
    """
    until = time.monotonic() + seconds
    unready: list[str] = []
    while True:
        _require_well(run, unready, then)
        left = until - time.monotonic()
        if left <= 0 and not unready:
            return
        time.sleep(_LOOK_SECONDS if unready else min(_LOOK_SECONDS, left))


def _require_well(run: Run, unready: list[str], then: str) -> None:
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
        "rollout_failed", f"the canary Deployment/{one.name} is not well: {why}{then}", told[0],
        objects=rows, hints=told,
    )  # fmt: skip


def _everything(run: Run) -> dict[str, Any]:
    """What was there is changed from here on: the way back is a rollback."""
    main = _main(run)
    _note(run, step=len(run.release.params["steps"]))
    try:
        refs = [*run.seen.refs, _canary_ref(main)]
        run.seen.live |= scene.asked(lambda: run.cluster.live(refs, run.release.project), "objects")
        run.wait(run.apply(run.seen.objects))
    except ReleaseError:
        run.hold.go_on(paused=None)
        raise
    run.prune([*run.seen.gone, _canary_ref(main)])
    run.finish()
    return operation.outcome(run)


def _paused(run: Run) -> Mapping[str, Any]:
    paused = run.hold.held.paused
    if not paused or not _waits(run):
        raise ReleaseError(
            "validation_error", f"release {run.release.release_id} is not paused in this cluster",
            "Only a paused canary can be promoted or taken back.",
        )  # fmt: skip
    return paused


def _had_begun(run: Run) -> bool:
    """Did a run that was lost begin the same work here? It did not when nothing here knows of its token, or a later."""
    first = run.release.begun_token
    return run.release.is_taken_up and (first is None or (run.hold.held.fencing_token or 0) >= first)


def _waits(run: Run) -> bool:
    """Is there a canary of this very release?"""
    return (run.hold.held.paused or {}).get("release_id") == run.release.release_id


def _is_unchanged(run: Run, main: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    wanted = trial.candidate(main, live, run.release.project, run.release.release_id)
    return trial.is_unchanged(trial.attempt(run.cluster, wanted, main["metadata"]["name"]), live)


def _main(run: Run) -> dict[str, Any]:
    return colours.workload(run.seen.objects, run.release.params["workload"])


def _canary_ref(main: Mapping[str, Any]) -> Ref:
    one = kinds.ref(main)
    return one._replace(name=canary.name(one.name))
