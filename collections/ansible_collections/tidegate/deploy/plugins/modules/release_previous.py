#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host ran before a canary, kept until the canary is decided."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_previous
short_description: Keep what a host runs before a canary, and go back to it
version_added: "0.1.0"
description:
  - With O(state=kept) remembers the project as it was written last, once, until the canary is decided.
  - With O(state=restored) makes the project so again, or removes it when there was none; pulls nothing.
  - With O(state=forgotten) forgets it.
options:
  project:
    description: The Compose project.
    type: str
    required: true
  state:
    description: What is asked for.
    type: str
    choices: [kept, restored, forgotten]
    required: true
  release_id:
    description: The canary's release; what is kept stays when this one runs already, for O(state=kept).
    type: str
    default: ""
attributes:
  check_mode:
    description: Says whether something would be done.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: The host runs again what it ran before the canary
  tidegate.deploy.release_previous:
    project: shop
    state: restored
"""

RETURN = r"""
tidegate:
  description: The step C(previous_kept), C(previous_restored) or C(previous_forgotten).
  returned: always
  type: dict
"""

import shutil
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import apply, engine, operation
from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

FILES = ("compose.yaml", "release.json")


def main() -> None:
    module = AnsibleModule(
        {
            "project": {"type": "str", "required": True},
            "release_id": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["kept", "restored", "forgotten"], "required": True},
        },
        supports_check_mode=True,
    )
    project, state, started = module.params["project"], module.params["state"], time.time()
    name = f"previous_{state}"
    try:
        folder = operation.folder(project)
        previous = folder / "previous"
        needed = previous.is_dir()
        if state == "kept":
            # Left behind by a canary that nobody decided, it is not what ran before this one.
            needed = (
                not needed or operation.read_release(project).get("release_id") != module.params["release_id"]
            )
        if needed and not module.check_mode:
            {"kept": keep, "restored": restore, "forgotten": forget}[state](project, folder, previous)
    except ReleaseError as error:
        step = step_record.step(name, "failed", started, str(error))
        said = step_record.failure("", error.error_key, str(error), error.hint, [step])
        module.fail_json(msg=str(error), tidegate=said)
    step = step_record.step(name, "succeeded" if needed else "unchanged", started)
    module.exit_json(changed=needed, tidegate=step_record.done("", needed, [step]))


def keep(project: str, folder: Path, previous: Path) -> None:
    """Whole or not at all: a canary that is run again must not take itself for what was before."""
    making = folder / "previous.new"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700, parents=True)
    for file in FILES:
        if (folder / file).exists():
            shutil.copy2(folder / file, making / file)
    shutil.rmtree(previous, ignore_errors=True)
    making.rename(previous)


def restore(project: str, folder: Path, previous: Path) -> None:
    """Bring back what was kept; its images are on the host, since it ran here."""
    token = operation.read_release(project).get("fencing_token")
    with operation.exclusive(project, token):
        argv = ["compose", "-p", project, "down", "--remove-orphans"]
        for file in FILES:
            (folder / file).unlink(missing_ok=True)
            if (previous / file).exists():
                shutil.copy2(previous / file, folder / file)
        if (folder / "compose.yaml").exists():
            argv = ["compose", "-p", project, "-f", str(folder / "compose.yaml"), "up", "-d"]
            argv += ["--remove-orphans", "--no-build", "--pull", "never", "--wait"]
        done = engine.docker(argv, timeout=apply.UP_SECONDS)
        if done.exit_code:
            raise ReleaseError(
                "compose_up_failed", f"cannot go back: {done.stderr.strip()[-500:]}", "See the host."
            )
    forget(project, folder, previous)


def forget(project: str, folder: Path, previous: Path) -> None:
    """The canary is decided."""
    shutil.rmtree(previous)


if __name__ == "__main__":
    main()
