# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Kubernetes modules: all of their work is done here, on the controller, in the task's own process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import spec as release_spec
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import summary
from ansible_collections.tidegate.deploy.plugins.module_utils.compose.comparison import redacted
from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import (
    canary_run,
    comparison,
    fingerprint,
    kubeconfig,
    operation,
    preview,
    release,
    scene,
    status,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.api_problem import problem
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.cluster import Cluster
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.release import Release
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.scene import Scene
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.session import ApiError, Session
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.module_utils.release.veil import Veil
from ansible_collections.tidegate.deploy.plugins.plugin_utils import progress
from ansible_collections.tidegate.deploy.plugins.plugin_utils.release_action import _run_key

_DOMAINS = {
    "cluster_unreachable": "connection", "cluster_permission_insufficient": "auth", "kubeconfig_invalid": "auth",
    "manifest_invalid": "preflight", "validation_error": "preflight", "kubectl_missing": "preflight",
    "namespace_missing": "preflight", "pull_secret_missing": "preflight", "api_version_gone": "preflight",
    "quota_exceeded": "preflight", "image_missing": "runtime", "rollout_failed": "health",
    "rollout_timeout": "timeout", "field_conflict": "policy", "target_locked": "policy", "preview_stale": "policy",
    "conflict": "policy", "endpoint_invalid": "policy", "internal_error": "internal",
}  # fmt: skip
# Characters of what is shown that go through Ansible, its callbacks and logs.
_MOST_SHOWN = 512 * 1024
_STRATEGIES = {"rolling": operation.roll, "blue_green": operation.switch, "canary": canary_run.start}
_DECISIONS = {"promoted": canary_run.promote, "aborted": canary_run.abort, "watched": canary_run.look}


class ClusterAction(ActionBase):
    """`VERB` names the result file and the method that does the work."""

    VERB = ""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._vars = task_vars or {}
        self._host = str(self._vars.get("inventory_hostname", ""))
        self._spec: dict[str, Any] = {}
        self._hidden: set[str] = set()
        self._steps: list[dict[str, Any]] = []
        try:
            key = os.environ.get("TIDEGATE_HMAC_KEY")
            self._veil = Veil(bytes.fromhex(key) if key else _run_key())
            self._spec = release_spec.load(
                self._task.args.get("release_spec_file"),
                self._task.args.get("release_spec") or self._vars.get("release_spec"),
            )
            return getattr(self, f"_{self.VERB}")()
        except ReleaseError as error:
            return self._failed(error)
        except ApiError as error:
            return self._failed(problem(error, "the cluster"))

    def _preview(self) -> dict[str, Any]:
        wanted = self._release()
        with self._session() as session:
            found = preview.preview(Cluster(session), wanted, self._own_veil())
        return self._told_preview(wanted, found)

    def _told_preview(self, wanted: Release, found: Mapping[str, Any]) -> dict[str, Any]:
        result = redacted(
            {
                "schema": "tidegate.preview/v1", "host": self._host, "project": wanted.project, "runtime_type": "k8s",
                **found, "checks": [{**one, "host": self._host} for one in found["checks"]],
            },
            self._hidden,
        )  # fmt: skip
        # Names of objects and fields, and HMACs: an apply compares them, and a secret may be spelled as one of them.
        result |= {name: found[name] for name in ("fingerprint", "fingerprint_parts", "conflicts")}
        self._keep({**result, "rendered": wanted.manifests.text()})
        if len(result["shown"]) > _MOST_SHOWN:
            result["shown"] = "The objects are in the result file only: together they are too long."
        return {"changed": False, "tidegate": result, "summary": summary.of_preview(result)}

    def _apply(self) -> dict[str, Any]:
        state = self._task.args.get("state") or "released"
        wanted = self._release()
        with self._session() as session:
            cluster = Cluster(session)
            if state == "retired":
                return self._retire(cluster, wanted)
            if state == "released" and not self._spec.get("rendered"):
                shown = preview.preview(cluster, wanted, self._own_veil())
                self._require_fit(shown)
                wanted = replace(wanted, shown_conflicts=frozenset(shown["conflicts"]))
            if self._task.check_mode and state != "watched":
                return self._told({"changed": self._would_change(cluster, wanted, state)})
            compare: Callable[[Scene], None] = self._compare if state == "released" else lambda seen: None
            run = operation.begin(cluster, wanted, compare, self._tell, self._steps, self._decidable)
            if state == "released":
                return self._told(_STRATEGIES[wanted.strategy](run))
            return self._told(_DECISIONS[state](run))

    def _retire(self, cluster: Cluster, wanted: Release) -> dict[str, Any]:
        run = operation.begin_retirement(cluster, wanted, self._tell, self._steps)
        if self._task.check_mode:
            return self._told({"changed": operation.is_over(run) and bool(run.hold.held.kept)})
        return self._told(operation.retire(run))

    def _would_change(self, cluster: Cluster, wanted: Release, state: str) -> bool:
        """Say whether a run would change an object: a decision about a canary does while one waits for it."""
        if state != "released":
            return scene.look(cluster, wanted).held.paused is not None
        rows = preview.preview(cluster, wanted, self._own_veil())["services"]
        return any(row["action"] != "none" for row in rows)

    def _status(self) -> dict[str, Any]:
        projects = self._spec.get("projects") or [self._spec.get("project")]
        found = []
        with self._session() as session:
            cluster = Cluster(session)
            for project in projects:
                place = release.whereabouts({**self._spec, "project": project})
                own = Veil(self._veil.key_of(self._host, project))
                found.append({"project": project, **status.status(cluster, project, place["namespace"], own)})
        first = found[0] if found else {}
        result = {"schema": "tidegate.status/v1", "host": self._host, **first, "projects": found}
        self._keep(result)
        return {"changed": False, "tidegate": result}

    def _cancel(self) -> dict[str, Any]:
        """Nothing of ours is left running in a cluster when the run has ended; its controllers go on as they will."""
        release.whereabouts(self._spec)
        is_changed = self._spec.get("strategy") == "canary" and self._take_back()
        self._steps.append(step_record.step("operation_ended", "unchanged", time.time()))
        return self._told({"changed": is_changed, "ended": True})

    def _take_back(self) -> bool:
        """A canary that was interrupted while it stood beside what runs is no state to be left in."""
        wanted = self._release()
        with self._session() as session:
            run = operation.begin(Cluster(session), wanted, lambda seen: None, self._tell, self._steps)
            is_there = canary_run.can_go_back(run) and not self._task.check_mode
            if is_there:
                canary_run.abort(run)
        return is_there

    def _release(self) -> Release:
        wanted = release.read(self._spec)
        self._hidden = comparison.secret_texts(wanted.manifests)
        # Large, and not asked for again.
        for name in ("manifests", "rendered"):
            if self._spec.get(name):
                self._spec[name] = "read"
        return wanted

    def _session(self) -> Session:
        path = self._task.args.get("kubeconfig") or self._vars.get("release_kubeconfig_file")
        return Session(kubeconfig.read(str(path) if path else None))

    def _own_veil(self) -> Veil:
        return Veil(self._veil.key_of(self._host, self._spec["project"]))

    def _compare(self, seen: Scene) -> None:
        if not self._spec.get("compare_fingerprint"):
            return
        own = self._own_veil()
        live = {one: seen.live.get(one) for one in seen.touched()}
        parts = fingerprint.parts(live, own)
        if fingerprint.whole(parts, own) == (self._spec.get("fingerprints") or {}).get(self._host):
            return
        moved = fingerprint.moved(live, parts, (self._spec.get("fingerprint_parts") or {}).get(self._host))
        raise ReleaseError(
            "preview_stale", "the cluster changed since the preview: " + ", ".join(moved), "Preview again.",
            moved=moved,
        )  # fmt: skip

    def _require_fit(self, found: Mapping[str, Any]) -> None:
        for check in found["checks"]:
            if check["level"] == "blocking":
                raise ReleaseError(check["code"], check["message"], check["hint"])

    def _tell(self, who: str, how_far: str) -> None:
        progress.tell(self._task, self._host, who, redacted(how_far, self._hidden))

    def _decidable(self, is_so: bool) -> None:
        said = "may be promoted or taken back now" if is_so else "has had its time"
        progress.tell(self._task, self._host, "canary", said, decidable=is_so)

    def _told(self, found: Mapping[str, Any]) -> dict[str, Any]:
        more = {name: found[name] for name in ("live", "paused", "kept_until", "ended") if name in found}
        result = redacted(
            step_record.done(self._host, bool(found["changed"]), self._steps, **more), self._hidden
        )
        self._keep(result)
        return {"changed": result["changed"], "tidegate": result, "summary": summary.of_steps(result)}

    def _failed(self, error: ReleaseError) -> dict[str, Any]:
        detail = dict(error.detail)
        result = step_record.failure(self._host, error.error_key, str(error), error.hint, self._steps)
        diagnostics = result["diagnostics"]
        diagnostics["objects"] = detail.pop("objects", [])
        diagnostics["hints"] = detail.pop("hints", None) or diagnostics["hints"]
        domain = _DOMAINS.get(error.error_key, "runtime")
        result["failure_domain"] = diagnostics["failure_domain"] = domain
        result["detail"] = detail
        result = redacted(result, self._hidden)
        self._keep(result)
        said = redacted(str(error), self._hidden)
        return {"failed": True, "changed": result["changed"], "msg": said, "tidegate": result}

    def _keep(self, result: Mapping[str, Any]) -> None:
        folder = self._spec.get("result_dir")
        if not folder:
            return
        path = Path(folder) / f"{self._host}.{self.VERB}.json"
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600), encoding="utf-8") as out:
            json.dump(result, out)
