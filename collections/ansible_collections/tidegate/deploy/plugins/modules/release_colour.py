#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which colour of a project takes a release on a host, and the end of a colour."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_colour
short_description: Choose the colour that takes a release on a host, or remove one
version_added: "0.1.0"
description:
  - With O(state=planned) says which backend is live and which colour takes the release, and changes nothing.
  - With O(state=absent) waits until the connections to a colour have ended, at most O(drain_seconds), and removes it.
options:
  project:
    description: The Compose project.
    type: str
    required: true
  state:
    description: What is asked for.
    type: str
    choices: [planned, absent]
    default: planned
  content:
    description: Digest of what the release runs, for O(state=planned).
    type: str
    default: ""
  colour:
    description: The colour to remove; C(plain) is the project as the rolling strategy runs it.
    type: str
    choices: [blue, green, plain]
  drain_seconds:
    description: How long open connections may keep the colour.
    type: int
    default: 0
attributes:
  check_mode:
    description: Says whether there is something to remove.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Where the release goes
  tidegate.deploy.release_colour:
    project: shop
    content: sha256:0f1e...
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
  description: The step C(old_removed) with the connections that were open before and after.
  returned: when O(state=absent)
  type: dict
"""

import shutil
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tidegate.deploy.plugins.module_utils.host import (
    colours,
    entry,
    image_store,
    state_folder,
    step_record,
)

_LABEL = "com.docker.compose.project"


def main() -> None:
    module = AnsibleModule(
        {
            "project": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["planned", "absent"], "default": "planned"},
            "content": {"type": "str", "default": ""},
            "colour": {"type": "str", "choices": ["blue", "green", "plain"]},
            "drain_seconds": {"type": "int", "default": 0},
        },
        required_if=[("state", "absent", ["colour"])],
        supports_check_mode=True,
    )
    try:
        entry.require_project(module.params["project"])
        if module.params["state"] == "planned":
            module.exit_json(changed=False, plan=_plan(module.params["project"], module.params["content"]))
        module.exit_json(**_remove(module))
    except (entry.EntryError, colours.EntryStateError, image_store.ImageStoreError) as error:
        key = "validation_error" if isinstance(error, entry.EntryError) else "preflight_failed"
        module.fail_json(msg=str(error), tidegate=step_record.failure("", key, str(error), "", []))


def _plan(project: str, content: str) -> dict[str, Any]:
    folder = state_folder.path("entries")
    state = colours.read_state(folder, project)
    running = {name for name in (colours.PLAIN, *colours.COLOURS) if _containers(project, name, running_only=True)}
    ports = (state or {}).get("ports") or {}
    if set(ports) != set(colours.COLOURS):
        taken = colours.listening_ports() | colours.other_ports(folder, project)
        ports = colours.choose_ports(project, taken - set(ports.values()))
    plan = colours.choose(state, running, content, ports)
    weights = {one["name"]: one["weight"] for one in (state or {}).get("backends", [])}
    return {
        "live": plan.live,
        "target": plan.target,
        "target_port": plan.target_port,
        "unchanged": plan.unchanged,
        "ports": plan.ports,
        "running": sorted(running),
        "entry_port": (state or {}).get("port"),
        "weights": weights,
        "is_split": sum(1 for weight in weights.values() if weight) > 1,
        "candidate": next((name for name, weight in weights.items() if name != plan.live and weight), None),
    }


def _remove(module: AnsibleModule) -> dict[str, Any]:
    project, colour = module.params["project"], module.params["colour"]
    started = time.time()
    name = colours.project_name(project, colour)
    state = colours.read_state(state_folder.path("entries"), project) or {}
    if any(one["name"] == colour and one["weight"] for one in state.get("backends", [])):
        raise entry.EntryError(f"{colour} has connections sent to it by the entry; switch first")
    if not _containers(project, colour, running_only=False):
        unchanged = step_record.step("old_removed", "unchanged", started, project=name)
        return {"changed": False, "tidegate": step_record.done("", False, [unchanged])}
    port = state.get("port") if colour == colours.PLAIN else state.get("ports", {}).get(colour)
    if not module.check_mode:
        left = _drain(port, colour, module.params["drain_seconds"])
        done = image_store.docker(["compose", "-p", name, "down", "--remove-orphans"], timeout=300)
        if done.returncode != 0:
            raise image_store.ImageStoreError("compose_up_failed", done.stderr.strip()[-2000:])
        if colour != colours.PLAIN:
            shutil.rmtree(Path(state_folder.path("projects")) / name, ignore_errors=True)
    else:
        left = 0
    removed = step_record.step("old_removed", "succeeded", started, project=name, connections_cut=left)
    return {"changed": True, "tidegate": step_record.done("", True, [removed])}


def _drain(port: int | None, colour: str, seconds: int) -> int:
    """Wait for the last connection to end, at most so long; answers how many are left.

    What Docker itself publishes is translated by the kernel and seen by no socket of the host, so for `plain`
    the whole time is given.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if colour != colours.PLAIN and port and not colours.established(port):
            return 0
        time.sleep(0.25)
    return colours.established(port) if port else 0


def _containers(project: str, colour: str, running_only: bool) -> bool:
    argv = ["ps", "--quiet", "--filter", f"label={_LABEL}={colours.project_name(project, colour)}"]
    done = image_store.docker(argv if running_only else [*argv, "--all"], timeout=60)
    if done.returncode != 0:
        raise image_store.ImageStoreError("preflight_failed", done.stderr.strip()[-2000:])
    return bool(done.stdout.strip())


if __name__ == "__main__":
    main()
