# SPDX-License-Identifier: Apache-2.0
"""Which colour a release takes, decided by what the cluster has of both."""

from __future__ import annotations

from typing import Any

from . import colours, kinds, trial
from .cluster import Cluster
from .inventory import Inventory
from .kinds import Ref
from .release import Release


def shaped(
    cluster: Cluster, release: Release, held: Inventory, objects: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[Ref]]:
    """The release's objects in the colour that it takes, and what has the traffic now and is kept beside it.

    A colour that is as the release wants it is taken as it is: then only the Service is switched, or nothing is done.
    The release that is there stays in its colour, whatever became of it: what differs is told as drift.
    """
    workload, front = release.params["workload"], release.params["service"]
    colours.require_fit(objects, workload, front)
    plain = kinds.ref(colours.workload(objects, workload))
    service = cluster.get(kinds.ref(colours.service(objects, front)))
    live = colours.live_colour(service)
    refs = {one: plain._replace(name=colours.coloured_name(workload, one)) for one in colours.COLOURS}
    found = {one: thing for one in colours.COLOURS if (thing := cluster.get(refs[one]))}
    own = [one for one in colours.COLOURS if refs[one].identity in {each.identity for each in held.objects}]
    is_there = held.release_id == release.release_id and len(own) == 1
    target = own[0] if is_there else colours.other(live)
    for colour in () if is_there else filter(None, (live, colours.other(live))):
        wanted = next(
            thing
            for thing in colours.coloured(objects, workload, front, colour)
            if kinds.ref(thing) == refs[colour]
        )
        thing = trial.candidate(wanted, found.get(colour), release.project, release.release_id)
        if colour in found and trial.is_unchanged(trial.attempt(cluster, thing, colour), found[colour]):
            target = colour
            break
    kept: list[Ref] = []
    if live and live != target:
        kept = [refs[live]]
    elif live == target and colours.other(target) in found:
        kept = [refs[colours.other(target)]]
    elif service and not live:
        kept = [plain]
    return colours.coloured(objects, workload, front, target), kept
