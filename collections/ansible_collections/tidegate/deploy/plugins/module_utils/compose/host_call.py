# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a module's arguments to the work on the host and back, for every module of this package."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..host import colours, state_folder, step_record
from ..release.errors import ReleaseError
from . import apply, engine, observe, operation

ARGUMENTS = {
    "release_spec_file": {"type": "path"},
    "release_spec": {"type": "raw", "no_log": True},
    "images": {"type": "list", "elements": "dict"},
    "compare": {"type": "bool", "default": False},
    # Text, so that hiding it from logs hides the whole and not every word of it in results.
    "payload": {"type": "str", "no_log": True},
}


_OWN_ARGUMENTS = {"preview": {"compare"}, "apply": {"images", "compare"}}


def answer(verb: str) -> None:
    """Run the module of this verb."""
    others = {"images", "compare"} - _OWN_ARGUMENTS.get(verb, set())
    module = AnsibleModule(
        {name: rule for name, rule in ARGUMENTS.items() if name not in others}, supports_check_mode=True
    )
    payload = json.loads(module.params["payload"] or "{}")
    steps: list[dict[str, Any]] = []
    try:
        module.exit_json(**work(verb, payload, steps, module.check_mode), steps=steps)
    except ReleaseError as error:
        told = {"error_key": error.error_key, "hint": error.hint, **error.detail}
        module.fail_json(msg=str(error), problem=told, steps=steps)


def work(
    verb: str, payload: Mapping[str, Any], steps: list[dict[str, Any]], check_mode: bool
) -> dict[str, Any]:
    """What the verb does here; the answer has `changed`."""
    if verb == "preview":
        return {"changed": False, "facts": observe.observe(payload)}
    if verb == "status":
        return {"changed": False, "projects": [_status(one) for one in payload["projects"]]}
    if verb == "apply":
        return apply.release(payload, steps, check_mode)
    if verb == "verify":
        return apply.verify(payload, steps, check_mode)
    return _cancel(payload["project"], steps, check_mode)


def _status(project: str) -> dict[str, Any]:
    live = colours.live_project(state_folder.path("entries"), project)
    containers = engine.inspect_project(live)
    release = operation.read_release(live)
    return {
        "project": project,
        "containers": containers,
        "release": release,
        "applied": observe.applied(live),
    }


def _cancel(project: str, steps: list[dict[str, Any]], check_mode: bool) -> dict[str, Any]:
    started = time.time()
    names = [colours.project_name(project, one) for one in (colours.PLAIN, *colours.COLOURS)]
    results = {"none"} if check_mode else {operation.cancel(name) for name in names}
    ended = next(one for one in ("alive", "ended", "none") if one in results)
    if ended == "alive":
        steps.append(step_record.step("operation_ended", "failed", started))
        raise ReleaseError(
            "target_locked", f"the operation on {project} could not be ended", "End it on the host."
        )
    steps.append(
        step_record.step("operation_ended", "succeeded" if ended == "ended" else "unchanged", started)
    )
    return {"changed": ended == "ended", "ended": not check_mode}
