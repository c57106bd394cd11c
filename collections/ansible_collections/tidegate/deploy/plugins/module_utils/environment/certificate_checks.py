# SPDX-License-Identifier: Apache-2.0
"""What a rotation would do on a control plane, and what stands against it or is worth to be known before."""

from __future__ import annotations

import shutil
from typing import Any, Dict, List, Mapping, Sequence

from . import static_pods

# kubeadm's certificates last for a year; whoever makes them last longer sees the difference in the list.
YEAR_DAYS = 365
_KUBELET_DAYS = 7
_NOT_RENEWED = "nobody renews it: rotateCertificates is not true in /var/lib/kubelet/config.yaml"


def plan(rows: Sequence[Mapping[str, Any]]) -> List[Dict[str, str]]:
    """What would be done: `action` is renew, restart or keep; `detail` says why where that is not plain."""
    renewed = [_step(one["name"], "renew") for one in rows if one["kind"] == "certificate"]
    restarted = [_step(name, "restart", "it serves again before the next") for name in static_pods.present()]
    kept = [_step(one["name"], "keep", _why_kept(one)) for one in rows if one["kind"] != "certificate"]
    return [*renewed, *restarted, *kept]


def judge(rows: Sequence[Mapping[str, Any]], within_days: int) -> List[Dict[str, Any]]:
    """The checks of one host: `{level, code, reason, message, hint}`; a blocking one stands against a rotation."""
    own = [one for one in rows if one["kind"] == "certificate"]
    found = [
        _check("blocking", "unreadable", f"{one['name']}: {one['error']}", "Restore the file from a backup.")
        for one in own
        if one["error"]
    ]
    external = sorted(one["name"] for one in own if one["managed_by"] == "external")
    if external:
        said = f"the authority of {', '.join(external)} has no key on this host"
        found.append(_check("blocking", "external", said, "Renew them where that key is."))
    for program in ("kubeadm", "kubectl"):
        if not has_program(program):
            found.append(_check("blocking", "program_missing", f"there is no {program}", "Install it."))
    found += [_of_authority(one) for one in rows if one["kind"] == "authority" and _ends_first(one)]
    found += [
        _of_kubelet(one) for one in rows if one["name"] == "kubelet-client" and _is_late(one, within_days)
    ]
    found += [
        _of_external(one) for one in rows if one["kind"] == "external" and _ends_within(one, within_days)
    ]
    ends = [one for one in own if not one["error"]]
    first = min(ends, key=lambda one: one["days_left"]) if ends else None
    if first is not None and first["days_left"] >= within_days:
        said = (
            f"no certificate ends within {within_days} days: the first is {first['name']}, "
            f"at {first['expires_at']} ({first['days_left']} days left)"
        )
        found.append(_check("warning", "not_needed", said, "Rotate all the same where a key may be known."))
    return found


def has_program(name: str) -> bool:
    """Whether the host has a program."""
    return shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") is not None


def _why_kept(one: Mapping[str, Any]) -> str:
    if one["kind"] == "authority":
        return "kubeadm renews no authority"
    if one["kind"] == "external":
        return "it is the external etcd's: give the next one to an install, as etcd_certificate and etcd_key"
    if one["name"] == "kubelet-client":
        return "the kubelet renews it by itself" if one["managed_by"] == "kubelet" else _NOT_RENEWED
    if one["managed_by"] == "kubelet":
        return "the kubelet asks for another by itself, and somebody approves that"
    return "the kubelet signed it itself, no API server looks at it, and the kubelet makes another where there is none"


def _ends_first(one: Mapping[str, Any]) -> bool:
    return bool(one["error"]) or one["days_left"] < YEAR_DAYS


def _ends_within(one: Mapping[str, Any], days: int) -> bool:
    return bool(one["error"]) or one["days_left"] < days


def _is_late(one: Mapping[str, Any], within_days: int) -> bool:
    return _ends_within(one, _KUBELET_DAYS if one["managed_by"] == "kubelet" else within_days)


def _of_authority(one: Mapping[str, Any]) -> Dict[str, Any]:
    said = one["error"] or f"authority {one['name']} itself ends at {one['expires_at']}"
    level = "blocking" if one["error"] or one["days_left"] < 0 else "warning"
    return _check(level, "authority", said, "Replace the authority: that is a work of its own.")


def _of_kubelet(one: Mapping[str, Any]) -> Dict[str, Any]:
    said = one["error"] or f"the kubelet's client certificate ends at {one['expires_at']}"
    if one["managed_by"] != "kubelet":
        return _check(
            "warning", "kubelet", f"{said}, and {_NOT_RENEWED}", "Set rotateCertificates there to true."
        )
    return _check("warning", "kubelet", said, "See why it does not renew: `journalctl --unit kubelet`.")


def _of_external(one: Mapping[str, Any]) -> Dict[str, Any]:
    said = one["error"] or f"{one['name']}, for the etcd elsewhere, ends at {one['expires_at']}"
    return _check("warning", "external", said, "Give the next one to an install of the environment.")


def _check(level: str, reason: str, message: str, hint: str) -> Dict[str, Any]:
    return {
        "level": level, "code": "certificate_invalid" if level == "blocking" else reason, "reason": reason,
        "message": message, "hint": hint,
    }  # fmt: skip


def _step(name: str, action: str, detail: str = "") -> Dict[str, str]:
    return {"step": name, "action": action, "detail": detail}
