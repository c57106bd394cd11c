#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which colour of a project takes a release on a host, and the end of a colour."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_colour
short_description: Choose, bring up, check or remove a colour of a project on a host
version_added: "0.1.0"
description:
  - With O(state=planned) says which backend is live and which colour takes the release, and changes nothing.
  - With O(state=up) brings the colour up beside whatever else runs and waits for its health; a colour that
    does not
    get healthy is removed again unless it is the live one.
  - With O(state=healthy) fails unless the colour is healthy now.
  - With O(state=absent) waits until the connections to a colour have ended, at most O(drain_seconds), and
    removes it.
options:
  project:
    description: The Compose project.
    type: str
  state:
    description: What is asked for.
    type: str
    choices: [planned, up, healthy, absent]
    default: planned
  content:
    description: Digest of what the release runs, for O(state=planned); made from the release spec.
    type: str
    default: ""
  release_spec_file:
    description:
      - Path on the controller of the release spec. O(project), O(content) and O(payload) are made from it
        by the
        action plugin.
    type: path
  release_spec:
    description: The release spec by hand, in place of O(release_spec_file).
    type: raw
  port:
    description: The port of the host that the colour is published on.
    type: int
  images:
    description: The images of a preview, by service, when the spec has no C(resolved_images).
    type: list
    elements: dict
  payload:
    description: What the host is told of the release, as JSON; set by the action plugin.
    type: str
  is_live:
    description: Whether the colour has the traffic, so that it is never removed for being ill.
    type: bool
    default: false
  colour:
    description: The colour that is meant; C(plain) is the project as the rolling strategy runs it.
    type: str
    choices: [blue, green, plain]
  drain_seconds:
    description: How long open connections may keep the colour.
    type: int
    default: 0
attributes:
  check_mode:
    description: Says whether something would be brought up or removed.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Where the release goes
  tidegate.deploy.release_colour:
    release_spec_file: /srv/releases/shop-2.json
  register: plan

- name: The old colour is gone
  tidegate.deploy.release_colour:
    project: shop
    state: absent
    colour: blue
    drain_seconds: 30
"""

RETURN = r"""
plan:
  description: Live backend, target colour, both ports, and the state of the entry.
  returned: when O(state=planned)
  type: dict
tidegate:
  description: The step C(project_up), C(health) or C(old_removed).
  returned: unless O(state=planned)
  type: dict
"""

import json
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import apply
from ansible_collections.tidegate.deploy.plugins.module_utils.host import (
    colours,
    entry,
    image_store,
    state_folder,
    step_record,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.host.colour_project import (
    ColourProject,
    drain,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

ARGUMENTS = {
    "project": {"type": "str"},
    "state": {"type": "str", "choices": ["planned", "up", "healthy", "absent"], "default": "planned"},
    "release_spec_file": {"type": "path"},
    "release_spec": {"type": "raw", "no_log": True},
    "content": {"type": "str", "default": ""},
    "colour": {"type": "str", "choices": ["blue", "green", "plain"]},
    "port": {"type": "int"},
    # It may hold secrets.
    "payload": {"type": "str", "no_log": True},
    "images": {"type": "list", "elements": "dict"},
    "is_live": {"type": "bool", "default": False},
    "drain_seconds": {"type": "int", "default": 0},
}
# A container that restarts just now gets this long to be healthy again.
GATE_SECONDS = 5
STEPS = {"planned": "colour_planned", "up": "project_up", "healthy": "health", "absent": "old_removed"}


def main() -> None:
    module = AnsibleModule(
        ARGUMENTS,
        required_if=[
            ("state", "absent", ["colour"]),
            ("state", "healthy", ["colour", "payload"]),
            ("state", "up", ["colour", "payload"]),
        ],
        supports_check_mode=True,
    )
    started = time.time()
    steps: list[dict[str, Any]] = []
    verb = {"planned": plan, "up": bring_up, "healthy": check, "absent": remove}[module.params["state"]]
    try:
        entry.require_project(module.params["project"] or "")
        module.exit_json(**verb(module, steps))
    except entry.EntryError as error:
        fail(module, "validation_error", error, steps, started)
    except colours.EntryStateError as error:
        fail(module, "preflight_failed", error, steps, started)
    except (image_store.ImageStoreError, ReleaseError) as error:
        fail(module, error.error_key, error, steps, started)


def fail(
    module: AnsibleModule, error_key: str, error: Exception, steps: list[dict[str, Any]], started: float
) -> None:
    """End with what went wrong, as data."""
    if not any(one["status"] == "failed" for one in steps):
        steps.append(step_record.step(STEPS[module.params["state"]], "failed", started, str(error)))
    said = step_record.failure("", error_key, str(error), getattr(error, "hint", ""), steps)
    said["diagnostics"]["objects"] = getattr(error, "detail", {}).get("objects", [])
    module.fail_json(msg=str(error), tidegate=said)


def plan(module: AnsibleModule, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Which backend is live, which colour takes the release, and what the entry does now."""
    project, folder = module.params["project"], state_folder.path("entries")
    state = colours.read_state(folder, project)
    known = (colours.PLAIN, *colours.COLOURS)
    running = {name for name in known if ColourProject(project, name).exists(running_only=True)}
    ports = colours.pair_of((state or {}).get("ports") or {})
    if ports is None:
        ports = colours.choose_ports(
            project, colours.listening_ports() | colours.other_ports(folder, project)
        )
    chosen = colours.choose(state, running, module.params["content"], ports)
    weights = {one["name"]: one["weight"] for one in (state or {}).get("backends", [])}
    entry_port = (state or {}).get("port")
    kept = next((name for name, weight in weights.items() if not weight and name in running), None)
    answer = {
        "live": chosen.live,
        "old": chosen.live if chosen.live != chosen.target else kept,
        "target": chosen.target,
        "target_port": chosen.target_port,
        "unchanged": chosen.unchanged,
        "ports": {**ports, colours.PLAIN: entry_port},
        "running": sorted(running),
        "weights": weights,
        "candidate": next((name for name, weight in weights.items() if name != chosen.live and weight), None),
        "kept": kept,
        "has_entry": state is not None,
    }
    return {"changed": False, "plan": answer}


def bring_up(module: AnsibleModule, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """The colour beside what runs, healthy; one that does not get so and has no traffic is removed again."""
    params, payload = module.params, json.loads(module.params["payload"])
    project = ColourProject(params["project"], params["colour"])
    if module.check_mode:
        done = apply.release(payload, steps, check_mode=True)
        return {
            "changed": done["changed"],
            "tidegate": step_record.done("", done["changed"], steps, live=done["live"]),
        }
    try:
        done = apply.release(payload, steps, check_mode=False)
        healthy = apply.verify(payload, steps)
    except ReleaseError:
        if not params["is_live"]:
            project.remove()
        raise
    changed = done["changed"]
    return {"changed": changed, "tidegate": step_record.done("", changed, steps, live=healthy["live"])}


def check(module: AnsibleModule, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """The health gate: healthy now."""
    payload = {**json.loads(module.params["payload"]), "health_timeout": GATE_SECONDS}
    done = apply.verify(payload, steps, module.check_mode)
    return {"changed": False, "tidegate": step_record.done("", False, steps, live=done["live"])}


def remove(module: AnsibleModule, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Drain and remove; refused as long as the entry sends connections there."""
    params, started = module.params, time.time()
    project, colour = ColourProject(params["project"], params["colour"]), params["colour"]
    state = colours.read_state(state_folder.path("entries"), params["project"]) or {}
    if any(one["name"] == colour and one["weight"] for one in state.get("backends", [])):
        raise entry.EntryError(f"the entry sends connections to {colour}: switch first")
    if not project.exists():
        step = step_record.step("old_removed", "unchanged", started, project=project.name)
        return {"changed": False, "tidegate": step_record.done("", False, [step])}
    left = 0
    if not module.check_mode:
        port = state.get("port") if colour == colours.PLAIN else state.get("ports", {}).get(colour)
        left = drain(port, colour, params["drain_seconds"])
        project.remove()
    step = step_record.step("old_removed", "succeeded", started, project=project.name, connections_cut=left)
    return {"changed": True, "tidegate": step_record.done("", True, [step])}


if __name__ == "__main__":
    main()
