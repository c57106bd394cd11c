# SPDX-License-Identifier: Apache-2.0
"""Why something failed, in the one shape that DESIGN section 3 gives it: `diagnostics_json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

DOMAINS = frozenset(
    [
        "connection",
        "auth",
        "integrity",
        "preflight",
        "runtime",
        "health",
        "timeout",
        "policy",
        "cancelled",
        "lost",
        "internal",
    ]
)
DOMAIN_OF_KEY: Mapping[str, str] = {
    "ssh_unreachable": "connection",
    "ssh_auth_failed": "auth",
    "ssh_host_key_mismatch": "integrity",
    "artifact_checksum_mismatch": "integrity",
    "preflight_failed": "preflight",
    "storage_full": "preflight",
    "image_missing": "preflight",
    "validation_error": "preflight",
    "compose_invalid": "preflight",
    "compose_up_failed": "runtime",
    "compose_unhealthy": "health",
    "timeout": "timeout",
    "cancelled": "cancelled",
    "worker_lost": "lost",
    "preview_stale": "policy",
    "cluster_unreachable": "connection",
    "cluster_permission_insufficient": "auth",
    "kubeconfig_invalid": "auth",
    "manifest_invalid": "preflight",
    "kubectl_missing": "preflight",
    "namespace_missing": "preflight",
    "pull_secret_missing": "preflight",
    "api_version_gone": "preflight",
    "quota_exceeded": "preflight",
    "rollout_failed": "health",
    "rollout_timeout": "timeout",
    "field_conflict": "policy",
    "target_locked": "policy",
    "conflict": "policy",
}


@dataclass
class Findings:
    """What was learnt of failures while a playbook ran, host by host."""

    failures: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    unreachable: set[str] = field(default_factory=set)

    def note(
        self, host: str | None, data: Mapping[str, Any] | None, *, failed: bool, unreachable: bool
    ) -> None:
        """Take in one result. The first failure of a host is the one that counts: later ones follow from it."""
        if host is None:
            return
        if unreachable:
            self.unreachable.add(host)
        elif data is not None and (failed or data.get("error_key")):
            self.failures.setdefault(host, data)

    def moved(self) -> list[str] | None:
        """Return what moved on the hosts that refused because of it, None when none did."""
        stale = {
            host: data for host, data in self.failures.items() if data.get("error_key") == "preview_stale"
        }
        if not stale:
            return None
        return sorted(f"{host}: {part}" for host, data in stale.items() for part in _moved(data))


def _moved(data: Mapping[str, Any]) -> Iterable[str]:
    detail = data.get("detail")
    moved = detail.get("moved") if isinstance(detail, Mapping) else None
    return [str(part) for part in moved] if isinstance(moved, list) and moved else ["something"]


def describe(
    findings: Findings, reached: Mapping[str, tuple[str, str]], fallback_key: str, fallback_summary: str
) -> dict[str, Any]:
    """Return `diagnostics_json`.

    Args:
        reached: for each unreachable host, the error key and sentence that a probe found.
        fallback_key: error key when no host told of a failure.
        fallback_summary: what is said then.
    """
    hosts: list[Any] = [
        {"host": host, "step": "connect", "exit_code": None, "stdout_tail": "", "stderr_tail": said}
        for host, (_key, said) in sorted(reached.items())
    ]
    objects: list[Any] = []
    hints: list[str] = []
    summaries = [f"{host}: {said}" for host, (_key, said) in sorted(reached.items())]
    keys = [key for _host, (key, _said) in sorted(reached.items())]
    stage = "connect" if reached else None
    for host, data in sorted(findings.failures.items()):
        found = data.get("diagnostics")
        found = found if isinstance(found, Mapping) else {}
        keys.append(str(data.get("error_key") or found.get("error_key") or fallback_key))
        summaries.append(f"{host}: {found.get('summary') or data.get('msg') or keys[-1]}")
        stage = stage or found.get("stage") or _failed_step(data)
        hosts += [dict(each) for each in found.get("hosts", []) if isinstance(each, Mapping)]
        objects += [{"host": host, **each} for each in found.get("objects", []) if isinstance(each, Mapping)]
        hints += [str(hint) for hint in (*found.get("hints", []), data.get("hint")) if hint]
    key = keys[0] if keys else fallback_key
    domain = next(
        (
            str(data.get("failure_domain"))
            for _host, data in sorted(findings.failures.items())
            if not reached and data.get("failure_domain") in DOMAINS
        ),
        DOMAIN_OF_KEY.get(key, "internal"),
    )
    return {
        "summary": "; ".join(summaries) or fallback_summary,
        "stage": stage,
        "error_key": key,
        "failure_domain": domain,
        "hosts": hosts,
        "objects": objects,
        "hints": list(dict.fromkeys(hints)),
    }


def _failed_step(data: Mapping[str, Any]) -> str | None:
    steps = data.get("steps")
    failed = [step for step in steps if step.get("status") == "failed"] if isinstance(steps, list) else []
    return str(failed[0].get("step")) if failed else None
