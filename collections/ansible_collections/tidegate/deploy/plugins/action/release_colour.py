# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `release_colour`: what the release spec says, as data, for one colour."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import (
    colour,
    comparison,
    spec,
    strategy,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.host import colours, step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        known = task_vars or {}
        self._host = str(known.get("inventory_hostname", ""))
        arguments = dict(self._task.args)
        started = time.time()
        self._hidden: set[str] = set()
        self._folder: str | None = None
        try:
            more = self._from_spec(arguments, known.get("release_spec"))
        except (strategy.StrategyError, colour.ColourError, ReleaseError) as error:
            key = getattr(error, "error_key", "validation_error")
            step = step_record.step("colour_planned", "failed", started, str(error))
            said = step_record.failure(self._host, key, str(error), getattr(error, "hint", ""), [step])
            return {"failed": True, "msg": str(error), "tidegate": said}
        outcome = self._execute_module(
            module_name="tidegate.deploy.release_colour", module_args=arguments, task_vars=task_vars
        )
        return {**self._told(outcome), **more}

    def _told(self, outcome: dict[str, Any]) -> dict[str, Any]:
        """The outcome with the host's name in it and without secrets; whole results are kept as a file,
        too."""
        said = outcome.get("tidegate")
        if not isinstance(said, dict):
            return comparison.redacted(outcome, self._hidden)
        said["host"] = self._host
        for one in (said.get("diagnostics") or {}).get("hosts", []):
            one["host"] = self._host
        outcome = comparison.redacted(json.loads(json.dumps(outcome, default=str)), self._hidden)
        if self._folder:
            path = Path(self._folder) / f"{self._host}.apply.json"
            with open(
                path, "w", opener=lambda name, flags: os.open(name, flags, 0o600), encoding="utf-8"
            ) as out:
                json.dump(outcome["tidegate"], out)
        return outcome

    def _from_spec(self, arguments: dict[str, Any], by_hand: Any) -> dict[str, Any]:
        """Fill the module's arguments; answers what later tasks need of the spec, without secrets."""
        path, inline = (
            arguments.pop("release_spec_file", None),
            arguments.pop("release_spec", None) or by_hand,
        )
        previewed = {one["service"]: one for one in arguments.pop("images", None) or []}
        if arguments.get("project"):
            return {}
        whole = spec.load(path, inline)
        params = strategy.parse(whole.get("strategy") or "rolling", whole.get("strategy_params") or {})
        rendered = spec.rendered(whole)
        self._hidden = comparison.secret_values(json.loads(rendered))
        self._folder = whole.get("result_dir")
        resolved = whole.get("resolved_images") or previewed
        images = {
            service: {key: image.get(key) for key in ("reference", "digest", "image_id")}
            for service, image in resolved.items()
        }
        content = colour.content_digest(rendered, images)
        arguments.update(project=whole["project"], content=content)
        answer = {"project": whole["project"], "content": content, "params": params}
        if "service" not in params:
            return answer
        # Refuses here, before anything is done, what cannot stand twice.
        port = arguments.get("port") or params["port"]
        text = colour.render(rendered, params["service"], params["service_port"], int(port))
        if arguments.get("state") in ("up", "healthy"):
            arguments["payload"] = json.dumps(
                {
                    "project": colours.project_name(whole["project"], arguments["colour"]),
                    "rendered": text,
                    "images": images,
                    "release_id": whole["release_id"],
                    "service": whole.get("service"),
                    "fencing_token": whole.get("fencing_token"),
                    "registries": whole.get("registries") or [],
                    "health_timeout": whole["health_timeout"],
                }
            )
        return answer
