# SPDX-License-Identifier: Apache-2.0
"""The job that previews what is to be done with a network entry. Changes no host."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from controlplane.domain import checks as blocks
from controlplane.domain import network_entry as rules
from controlplane.domain.canonical import digest
from controlplane.ports.runner import PlaybookRun, RunOutcome
from controlplane.services import network_entry_spec, tasks
from controlplane.services.core import Core
from controlplane.services.jobs import Lease
from controlplane.services.task_preview_job import PREVIEW_TIMEOUT, Shown, TaskPreviewJob
from controlplane.store.tables import InstallTask

CONFIG = "keepalived.conf"


class NetworkEntryPreviewJob(TaskPreviewJob):
    """See `TaskPreviewJob`. A failover test is previewed by a check: who holds the VIP, and would another take it."""

    ignores_blocking = frozenset({"rollback"})

    def __init__(self, core: Core, lease: Lease) -> None:
        super().__init__(core, lease)
        self._directors: list[str] = []

    def _run(self, session: Session, task: InstallTask) -> PlaybookRun:
        is_test = task.kind == "failover_test"
        self._verb = "status" if is_test else "preview"
        self._directors = tasks.requested(self._core, task)["lvs_vip"]["directors"]
        playbook = "network_entry_check.yml" if is_test else "network_entry_preview.yml"
        more = {"for_rollback": task.kind == "rollback"}
        return network_entry_spec.run(
            self._core, session, self._lease.job_id, playbook, task, PREVIEW_TIMEOUT, more
        )

    def _is_answer(self, document: Mapping[str, Any]) -> bool:
        return bool(document.get("live") if self._verb == "status" else document.get("fingerprint"))

    def _goes_on_without(self, document: Mapping[str, Any]) -> bool:
        return bool(document.get("not_led"))

    def _checks(
        self, outcome: RunOutcome, found: Mapping[str, Any], reached: Mapping[str, tuple[str, str]]
    ) -> list[dict[str, Any]]:
        checks = super()._checks(outcome, found, reached)
        going = next((vip for each in found.values() if (vip := _entry(each).get("leaves_vip"))), None)
        return [_stranded(one, going) if going and _is_unreached(one) else one for one in checks]

    def _checks_of(self, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        if self._verb != "status":
            return super()._checks_of(document)
        # Every host's document tells of the whole entry.
        if document.get("host") != next(iter(self._hosts), None):
            return []
        entry = document.get("entry") or {}
        found = [{**one, "level": "warning"} for one in entry.get("problems") or []]
        against = rules.against_failover(entry, self._directors)
        return [*found, blocks.blocking("preflight_failed", against, None)] if against else found

    def _facts(self, task: InstallTask, found: Mapping[str, Any]) -> list[str]:
        if task.kind == "rollback":
            return ["deletes", "interrupts"]
        if task.kind == "failover_test":
            return ["interrupts"]
        is_changed = any(
            one.get("action") == "change" for each in found.values() for one in each.get("files", [])
        )
        renews = any(_certificate(each).get("action") == "renew" for each in found.values())
        return ["interrupts"] if is_changed or renews else []

    def _show(self, task: InstallTask, found: Mapping[str, Any]) -> Shown:
        asked = tasks.requested(self._core, task)
        hosts = {name: self._host(task, asked, each) for name, each in sorted(found.items())}
        document = {
            "hosts": hosts,
            "lvs_vip": rules.shown(asked["lvs_vip"]),
            "remove": asked["remove"],
            "summary": dict(
                Counter(one["action"] for each in hosts.values() for one in each.get("files") or [])
            ),
        }
        binding = rules.Binding(
            cluster_id=task.cluster_id or "",
            stage=task.stage,
            kind=task.kind,
            undoes=task.undoes,
            remove=asked["remove"],
            nodes=task.nodes,
            parameters=self._core.vault.digest(json.dumps(asked, sort_keys=True).encode()),
            fingerprints={name: str(each["fingerprint"]) for name, each in hosts.items()},
        )
        return Shown(document, asdict(binding), binding.digest())

    def _host(self, task: InstallTask, asked: Mapping[str, Any], each: Mapping[str, Any]) -> dict[str, Any]:
        if task.kind == "failover_test":
            live = each.get("live") or {}
            # Who holds the VIP just now may change by itself; what was made there may not.
            lasting = {name: live.get(name) for name in ("installed", "entry_id", "vip", "priority")}
            return {"live": live, "entry": each.get("entry"), "fingerprint": digest(lasting)}
        kept = {key: each.get(key) for key in ("entry", "files", "fingerprint", "fingerprint_parts")}
        if task.kind == "rollback":
            kept["files"] = [_undone(each, asked["remove"], task.undoes)]
        return kept


def _certificate(each: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a host's preview says of its API server's certificate; nothing where it has none."""
    return _entry(each).get("certificate") or {}


def _entry(each: Mapping[str, Any]) -> Mapping[str, Any]:
    return each.get("entry") or {}


def _is_unreached(check: Mapping[str, Any]) -> bool:
    return check.get("reason") == "node_unreachable"


def _stranded(check: Mapping[str, Any], going: str) -> dict[str, Any]:
    """Return the check of a node that cannot be led away from a VIP that goes."""
    return {
        **check,
        "level": "blocking",
        "message": f"{check['host']} cannot be reached, and may be led to {going}, which goes",
        "hint": "See that it answers, or let it leave the cluster as lost first.",
    }


def _undone(each: Mapping[str, Any], remove: bool, undoes: str | None) -> dict[str, Any]:
    """Return what would become of a host's configuration: what was before, or nothing; as it is where the task that
    is taken back did not come that far."""
    now = each["files"][0]["before"]
    back = each.get("rollback") or {}
    if remove:
        after = ""
    elif back.get("operation") == undoes:
        after = back.get("after") or ""
    else:
        after = now
    action = "none" if now == after else "change" if after else "remove"
    lines = difflib.unified_diff(
        now.splitlines(keepends=True), after.splitlines(keepends=True), f"before/{CONFIG}", f"after/{CONFIG}"
    )
    return {"path": CONFIG, "action": action, "before": now, "after": after, "diff": "".join(lines)}
