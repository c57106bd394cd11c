# SPDX-License-Identifier: Apache-2.0
"""The fingerprint of what is in a cluster of a release: what was asked for, not what breathes. Pure.

A part is `sha256:...`, and after a blank who owned what, so that it can be told who moved; that is in no digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..release.veil import Veil
from . import field_owners, kinds, ownership

ABSENT = "absent"
# Where a status is told in annotations: an autoscaler's, to who asks in its first version.
_BREATHING = ("autoscaling.alpha.kubernetes.io/conditions", "autoscaling.alpha.kubernetes.io/current-metrics")
_VOLATILE = ("managedFields", "resourceVersion", "generation", "selfLink")


def parts(live: Mapping[kinds.Ref, Mapping[str, Any] | None], veil: Veil) -> dict[str, str]:
    """A part for each object that a release touches, by its title."""
    titles = kinds.titles(live)
    return {title: part(live[one], veil) for one, title in sorted(titles.items(), key=lambda pair: pair[1])}


def part(thing: Mapping[str, Any] | None, veil: Veil) -> str:
    """The part of one object: by uid and generation, or by its content where its kind has no generation."""
    if thing is None:
        return ABSENT
    metadata = thing["metadata"]
    if metadata.get("generation"):
        core: Any = [metadata["uid"], metadata["generation"]]
    else:
        core = _content(thing)
    return f"sha256:{veil.digest(core)} {field_owners.mark(thing)}".rstrip()


def whole(found: Mapping[str, str], veil: Veil) -> str:
    """One digest over all parts."""
    return "sha256:" + veil.digest({name: _core(value) for name, value in found.items()})


def moved(
    live: Mapping[kinds.Ref, Mapping[str, Any] | None],
    now: Mapping[str, str],
    before: Mapping[str, str] | None,
) -> list[str]:
    """What is not as it was: `Deployment/web spec.replicas (kubectl)` where it is known who did it."""
    rows: list[str] = []
    for one, title in kinds.titles(live).items():
        old = (before or {}).get(title)
        if before is not None and old is not None and _core(old) == _core(now[title]):
            continue
        thing = live[one]
        if thing is None:
            rows.append(f"{title} is gone" if old else title)
        elif old is None or old == ABSENT:
            rows.append(f"{title} is new" if old else title)
        else:
            rows += [f"{title} {row}" for row in field_owners.moved(thing, old.partition(" ")[2])] or [title]
    gone = set(before or {}) - set(now)
    return sorted({*rows, *(f"{title} is not of this release" for title in gone)})


def _core(value: str) -> str:
    return value.partition(" ")[0]


def _content(thing: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in thing["metadata"].items() if key not in _VOLATILE}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != ownership.RELEASE}
    asked = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key not in _BREATHING
    }
    content = {key: value for key, value in thing.items() if key not in ("status", "metadata")}
    return {**content, "metadata": {**metadata, "labels": labels, "annotations": asked}}
