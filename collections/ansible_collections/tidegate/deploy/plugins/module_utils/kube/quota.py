# SPDX-License-Identifier: Apache-2.0
"""Whether a namespace's quotas have room for a release. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from . import kinds

_QUANTITY = re.compile(r"([+-]?[0-9.]+)([eE][+-]?[0-9]+)?(m|u|n|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?")
_SUFFIX = {
    None: Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10**3),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}  # fmt: skip
_PODS = ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
# How quotas call the objects that they count: those of the core also without the `count/`.
_COUNTED = {
    "ConfigMap": "configmaps", "Secret": "secrets", "Service": "services",
    "PersistentVolumeClaim": "persistentvolumeclaims", "Deployment": "deployments.apps",
    "StatefulSet": "statefulsets.apps", "Job": "jobs.batch", "CronJob": "cronjobs.batch",
}  # fmt: skip


def quantity(text: Any) -> Decimal:
    """A number as Kubernetes writes it (`250m`, `1Gi`), 0 for what is none."""
    match = _QUANTITY.fullmatch(str(text))
    if not match:
        return Decimal(0)
    return Decimal(match[1] + (match[2] or "")) * _SUFFIX[match[3]]


def needs(thing: Mapping[str, Any] | None, nodes: int = 1) -> dict[str, Decimal]:
    """What the pods of an object ask of quotas; `nodes` is how many a DaemonSet is on."""
    spec = kinds.pod_spec(thing) if thing else None
    if thing is None or spec is None or thing["kind"] == "CronJob":
        return {}
    outer = thing.get("spec") or {}
    count = outer.get("parallelism" if thing["kind"] == "Job" else "replicas")
    pods = Decimal(1 if thing["kind"] == "Pod" or count is None else int(count))
    if thing["kind"] == "DaemonSet":
        pods = Decimal(nodes)
    found = {"pods": pods}
    for name in _PODS:
        section, resource = name.split(".")
        asked = [_asked(one, section, resource) for one in spec.get("containers") or []]
        found[name] = pods * sum(asked, Decimal(0))
    return found


def counts(thing: Mapping[str, Any] | None) -> dict[str, Decimal]:
    """What an object itself takes of quotas, by being there."""
    word = _COUNTED.get(thing["kind"]) if thing else None
    if thing is None or word is None:
        return {}
    found = {f"count/{word}": Decimal(1)} | ({} if "." in word else {word: Decimal(1)})
    spec = thing.get("spec") or {}
    if thing["kind"] == "PersistentVolumeClaim":
        found["requests.storage"] = _asked(spec, "requests", "storage")
    elif thing["kind"] == "Service" and spec.get("type") in ("NodePort", "LoadBalancer"):
        found["services.nodeports"] = Decimal(len(spec.get("ports") or []))
        if spec["type"] == "LoadBalancer":
            found["services.loadbalancers"] = Decimal(1)
    return found


def exceeded(
    quotas: Iterable[Mapping[str, Any]],
    pairs: Iterable[tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]],
) -> list[str]:
    """What there is no room for. `pairs` are each object as it is and as it will be; quotas with scopes are skipped."""
    more: dict[str, Decimal] = {}
    for before, after in pairs:
        # Of a new DaemonSet only its nodes know how many; one pod is the least.
        nodes = int(((before or {}).get("status") or {}).get("desiredNumberScheduled", 1))
        for thing, sign in ((before, -1), (after, 1)):
            # A Job that was is over, and its pods count no more.
            if thing is None:
                continue
            # What goes is deleted last: until then it is counted beside what is new.
            own = counts(thing) if after is not None else {}
            is_over = sign < 0 and thing["kind"] == "Job"
            for name, value in (own if is_over else needs(thing, nodes) | own).items():
                more[name] = more.get(name, Decimal(0)) + sign * value
    said = []
    for one in quotas:
        spec = one.get("spec") or {}
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue
        status = one.get("status") or {}
        for name, hard in (status.get("hard") or spec.get("hard") or {}).items():
            asked = more.get({"cpu": "requests.cpu", "memory": "requests.memory"}.get(name, name), Decimal(0))
            used = quantity((status.get("used") or {}).get(name, "0"))
            if asked > 0 and used + asked > quantity(hard):
                said.append(
                    f"quota {one['metadata']['name']}: {name} {_plain(used)} used and {_plain(asked)} more asked for, "
                    f"{hard} allowed"
                )
    return said


def _asked(container: Mapping[str, Any], section: str, resource: str) -> Decimal:
    resources = container.get("resources") or {}
    value = (resources.get(section) or {}).get(resource)
    if value is None and section == "requests":
        value = (resources.get("limits") or {}).get(resource)
    return quantity(value) if value is not None else Decimal(0)


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
