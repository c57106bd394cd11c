# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of the Compose modules: the spec becomes a payload, what comes back becomes a result."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import (
    colour,
    comparison,
    fingerprint,
    health,
    strategy,
    summary,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import spec as release_spec
from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

# By hand there is no key of an installation: digests then hold within one run, which is all that is asked.
_RUN_KEY = secrets.token_bytes(32)
_BY_STATUS = {
    "Host key verification failed": "ssh_host_key_mismatch",
    "IDENTIFICATION HAS CHANGED": "ssh_host_key_mismatch",
    "Permission denied": "ssh_auth_failed",
}
_DOMAINS = {"image_missing": "preflight", "compose_invalid": "preflight", "preview_stale": "policy",
            "target_locked": "policy", "ssh_auth_failed": "auth", "ssh_host_key_mismatch": "auth",
            "internal_error": "internal", "cancelled": "cancelled"}  # fmt: skip


class ReleaseAction(ActionBase):
    """`MODULE` does the host's part; `VERB` names the result file."""

    MODULE = ""
    VERB = ""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._vars = task_vars or {}
        self._host = str(self._vars.get("inventory_hostname", ""))
        self._spec: dict[str, Any] = {}
        self._hidden: set[str] = set()
        key = os.environ.get("TIDEGATE_HMAC_KEY")
        try:
            self._veil = fingerprint.Veil(bytes.fromhex(key) if key else _run_key())
            self._spec = release_spec.load(
                self._task.args.get("release_spec_file"),
                self._task.args.get("release_spec") or self._vars.get("release_spec"),
            )
            release_spec.require_own_project(self._spec.get("project"))
            return getattr(self, f"_{self.VERB}")()
        except ReleaseError as error:
            return self._failed(error.error_key, str(error), error.hint, [], error.detail)
        except AnsibleConnectionFailure as error:
            if self.VERB in ("preview", "status") and not self._task.args.get("compare"):
                raise
            said = str(error)
            key = next((key for text, key in _BY_STATUS.items() if text in said), "ssh_unreachable")
            return self._failed(
                key, f"the host cannot be reached: {said}", "See that it answers over SSH.", []
            )
        except AnsibleError as error:
            is_become = any(
                word in str(error).lower() for word in ("password", "sudo", "become", "privilege")
            )
            key = "ssh_auth_failed" if is_become else "internal_error"
            return self._failed(key, str(error), "See that the user may become root with this password.", [])

    def _preview(self) -> dict[str, Any]:
        comparing = bool(self._task.args.get("compare"))
        text = release_spec.rendered(self._spec)
        document = json.loads(text)
        self._hidden = comparison.secret_values(document)
        resolved = self._spec.get("resolved_images") or {}
        references = release_spec.references(document, resolved)
        whole = not (comparing and self._spec.get("rendered"))
        moves_entry = self._moves_entry(text) if whole else None
        ids = release_spec.archive_ids(self._spec)
        payload = {
            "project": self._spec["project"],
            "registries": self._spec.get("registries") or [],
            "images": {one: ids.get(one) for one in references.values()},
            "resolved": {references[name]: image for name, image in resolved.items() if name in references},
        }
        answer = self._remote(payload | ({"rendered": text, "moves_entry": moves_entry} if whole else {}))
        if answer.get("failed"):
            return self._from_host(answer)
        facts = answer["facts"]
        own = self._veil_of(self._spec["project"])
        parts = fingerprint.live_parts(facts, own)
        result: dict[str, Any] = {
            "schema": "tidegate.preview/v1", "host": self._host, "project": self._spec["project"],
            "runtime_type": "compose", "fingerprint": fingerprint.fingerprint(parts, own),
            "fingerprint_parts": parts, "checks": [{**one, "host": self._host} for one in facts["checks"]],
        }  # fmt: skip
        result["images_present"] = all(one["present"] for one in facts["images"].values())
        if whole:
            result |= self._conclude(document, references, facts)
        if comparing:
            self._compare(result, facts)
        # Digests stay as they are, whatever a secret looks like; what Compose or the engine said is text.
        for name in ("checks", "services"):
            if name in result:
                result[name] = comparison.redacted(result[name], self._hidden)
        blocking = [one for one in result["checks"] if one["level"] == "blocking"]
        if comparing and blocking:
            first = blocking[0]
            return self._failed(first["code"], first["message"], first["hint"], [])
        self._keep({**result, "rendered": text} if whole else result)
        result = comparison.redacted(result, self._hidden)
        return {"changed": False, "tidegate": result, "summary": summary.of_preview(result)}

    def _moves_entry(self, text: str) -> bool:
        """Whether the strategy moves an entry; refuses now what it could not do after the approval."""
        try:
            params = strategy.parse(
                self._spec.get("strategy") or "rolling", self._spec.get("strategy_params") or {}
            )
            if "service" in params:
                colour.render(text, params["service"], params["service_port"], params["port"])
            return "service" in params
        except (strategy.StrategyError, colour.ColourError) as error:
            raise ReleaseError(
                "validation_error", str(error), "Correct the strategy and its parameters."
            ) from error

    def _conclude(
        self, document: dict[str, Any], references: dict[str, str], facts: dict[str, Any]
    ) -> dict[str, Any]:
        images = [
            {"service": name, "reference": reference, **facts["images"][reference],
             "pinned": bool(facts["images"][reference]["digest"] or facts["images"][reference]["image_id"])}
            for name, reference in references.items() if reference in facts["images"]
        ]  # fmt: skip
        by_service = {one["service"]: one for one in images}
        rows = comparison.services(document, by_service, facts, self._veil)
        return {
            "shown": comparison.shown(document, self._veil), "images": images, "services": rows,
            "risk_facts": comparison.risk_facts(document, rows, images),
        }  # fmt: skip

    def _compare(self, result: dict[str, Any], facts: dict[str, Any]) -> None:
        expected = (self._spec.get("fingerprints") or {}).get(self._host)
        if not self._spec.get("compare_fingerprint") or result["fingerprint"] == expected:
            return
        # What moved on a host where this very release was begun is its own work.
        if facts["release"].get("release_id") != self._spec["release_id"]:
            raise self._stale(result["fingerprint_parts"])

    def _stale(self, parts: dict[str, str]) -> ReleaseError:
        known = (self._spec.get("fingerprint_parts") or {}).get(self._host)
        if known is None:
            moved = sorted(parts) or [
                f"{name}.gone" for name in json.loads(self._spec["rendered"])["services"]
            ]
        else:
            moved = sorted(name for name in {*known, *parts} if known.get(name) != parts.get(name))
        return ReleaseError(
            "preview_stale",
            "the host changed since the preview: " + ", ".join(moved),
            "Preview again.",
            moved=moved,
        )

    def _apply(self) -> dict[str, Any]:
        text = release_spec.rendered(self._spec)
        document = json.loads(text)
        self._hidden = comparison.secret_values(document)
        resolved = dict(self._spec.get("resolved_images") or {})
        resolved = resolved or {one["service"]: one for one in self._task.args.get("images") or []}
        images = {}
        for name, reference in release_spec.references(document, resolved).items():
            known = resolved.get(name) or {"reference": reference}
            images[name] = {key: known.get(key) for key in ("reference", "digest", "image_id")}
        wanted = ("project", "release_id", "service", "fencing_token")
        payload = {name: self._spec[name] for name in wanted if self._spec.get(name) is not None}
        payload |= {"rendered": text, "images": images, "registries": self._spec.get("registries") or []}
        payload |= {"archived": release_spec.archive_ids(self._spec), "tell_health": True}
        payload["unpreviewed"] = not self._spec.get("rendered") and not resolved
        if self._task.args.get("compare") and self._spec.get("compare_fingerprint"):
            payload["fingerprint"] = (self._spec.get("fingerprints") or {}).get(
                self._host
            ) or "none was previewed"
            payload["fingerprint_key"] = self._veil.key_of(self._host, self._spec["project"]).hex()
        return self._from_host(self._remote(payload))

    def _veil_of(self, project: str) -> fingerprint.Veil:
        return fingerprint.Veil(self._veil.key_of(self._host, project))

    def _verify(self) -> dict[str, Any]:
        text = release_spec.rendered(self._spec)
        self._hidden = comparison.secret_values(json.loads(text))
        definitions = json.loads(text)["services"]
        lean = {name: {k: one[k] for k in ("deploy", "scale", "restart", "profiles", "healthcheck") if k in one}
                for name, one in definitions.items()}  # fmt: skip
        payload = {"project": self._spec["project"], "rendered": json.dumps({"services": lean})}
        payload |= {
            "fencing_token": self._spec.get("fencing_token"),
            "health_timeout": self._spec["health_timeout"],
        }
        return self._from_host(self._remote(payload))

    def _cancel(self) -> dict[str, Any]:
        return self._from_host(self._remote({"project": self._spec["project"]}))

    def _status(self) -> dict[str, Any]:
        projects = self._spec.get("projects") or [self._spec["project"]]
        answer = self._remote({"projects": projects})
        if answer.get("failed"):
            return self._from_host(answer)
        found = []
        for one in answer["projects"]:
            own = self._veil_of(one["project"])
            parts = fingerprint.live_parts(one, own)
            live = health.live(one["containers"], one["release"])
            found.append({
                "project": one["project"], **live, "fingerprint": fingerprint.fingerprint(parts, own),
                "fingerprint_parts": parts,
            })  # fmt: skip
        first = found[0] if found else {}
        result = {"schema": "tidegate.status/v1", "host": self._host, **first, "projects": found}
        self._keep(result)
        return {"changed": False, "tidegate": result}

    def _remote(self, payload: dict[str, Any]) -> dict[str, Any]:
        answer = self._execute_module(
            module_name=f"tidegate.deploy.{self.MODULE}",
            module_args={"payload": json.dumps(payload)},
            task_vars=self._vars,
        )
        if answer.get("unreachable"):
            raise AnsibleConnectionFailure(answer.get("msg", "unreachable"))
        return json.loads(json.dumps(answer, default=str))

    def _from_host(self, answer: dict[str, Any]) -> dict[str, Any]:
        steps = answer.get("steps") or []
        if answer.get("failed"):
            problem = answer.get("problem") or {"error_key": "internal_error"}
            said = answer.get("msg") or answer.get("module_stderr") or "the module failed"
            if not answer.get("problem"):
                said += " " + str(answer.get("module_stderr") or answer.get("exception") or "")[-1500:]
            if "parts" in problem:
                raise self._stale(problem["parts"])
            return self._failed(problem.pop("error_key"), said, problem.pop("hint", ""), steps, problem)
        live = {name: answer[name] for name in ("live", "ended") if name in answer}
        result = comparison.redacted(
            step_record.done(self._host, bool(answer.get("changed")), steps, **live), self._hidden
        )
        self._keep(result)
        more = {name: answer[name] for name in ("missing", "verified") if answer.get(name)}
        return {"changed": result["changed"], "tidegate": result, "summary": summary.of_steps(result), **more}

    def _failed(
        self,
        key: str,
        message: str,
        hint: str,
        steps: list[dict[str, Any]],
        detail: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        result = step_record.failure(self._host, key, message, hint, steps)
        objects = (detail or {}).pop("objects", [])
        result["diagnostics"]["objects"] = objects
        result["failure_domain"] = result["diagnostics"]["failure_domain"] = _DOMAINS.get(
            key, result["failure_domain"]
        )
        result["detail"] = detail or {}
        result = comparison.redacted(result, self._hidden)
        self._keep(result)
        return {"failed": True, "changed": result["changed"], "msg": comparison.redacted(message, self._hidden),
                "tidegate": result}  # fmt: skip

    def _keep(self, result: dict[str, Any]) -> None:
        folder = self._spec.get("result_dir")
        if not folder:
            return
        path = Path(folder) / f"{self._host}.{self.VERB}.json"
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600), encoding="utf-8") as out:
            json.dump(result, out)


def _run_key() -> bytes:
    """The same for every task of a run: workers are forked from one process, and each imports this anew."""
    os.environ.setdefault("TIDEGATE_HMAC_KEY", _RUN_KEY.hex())
    return bytes.fromhex(os.environ["TIDEGATE_HMAC_KEY"])
