# SPDX-License-Identifier: Apache-2.0
"""What the environment's modules share: one JSON document in, a step's outcome out, the host's lock around it."""

from __future__ import annotations

import errno
import json
from typing import Any, Callable, Dict, Optional

from ansible.module_utils.basic import AnsibleModule

from ..release.errors import ReleaseError
from . import host_lock, time_limit
from .journal import Journal

Work = Callable[[Dict[str, Any], Journal, bool], Dict[str, Any]]


def answer(apply: Work, rollback: Optional[Callable[[Journal], Dict[str, Any]]] = None) -> None:
    """Run as a module: `payload` tells `verb` (apply or rollback), `work`, `holder`, `token`, `step`, `task`, `undoes`
    (of a rollback: the tasks whose work it takes back, None for all), and in seconds `timeout` and `patience` (with a
    run of the same holder that works still)."""
    module = AnsibleModule(
        {
            "environment_spec_file": {"type": "path"},
            "artifacts": {"type": "dict"},
            "hooks": {"type": "dict"},
            "bundle": {"type": "dict"},
            "verb": {"type": "str", "choices": ["apply", "rollback"], "default": "apply"},
            "steps": {"type": "list", "elements": "dict", "default": []},
            "admission": {"type": "str"},
            "nodes": {"type": "str"},
            # Modules tell the host's log what they were called with; inputs may be secret.
            "payload": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    given = json.loads(module.params["payload"])
    try:
        if module.check_mode:
            told = apply(given["work"], Journal(), True) if given["verb"] == "apply" else {"undone": ["all"]}
            module.exit_json(changed=bool(told.get("changes") or told.get("undone")), outcome=told)
        with host_lock.held(given["holder"], given["token"], given.get("patience") or 0):
            with time_limit.within(given.get("timeout") or 0, given.get("step") or "the step"):
                if given["verb"] == "apply":
                    told = apply(given["work"], Journal(task=given.get("task") or ""), False)
                else:
                    assert rollback is not None, "only what can be undone is told to"
                    told = rollback(Journal(undoes=given.get("undoes"), secrets=given["work"].get("secrets")))
        if given.get("last"):
            host_lock.release(given["holder"])
        module.exit_json(changed=bool(told.get("changes") or told.get("undone")), outcome=told)
    except ReleaseError as error:
        module.fail_json(msg=str(error), error_key=error.error_key, hint=error.hint, detail=error.detail)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        key, hint = ("storage_full", "Free disk space on the host.") if full else ("preflight_failed", "")
        module.fail_json(msg=str(error), error_key=key, hint=hint, detail={})
