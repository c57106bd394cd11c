# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a module's arguments to the work on the host and back, for every module of the network entry."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule

from ..release.errors import ReleaseError

ARGUMENTS = {
    "network_entry_spec_file": {"type": "path"},
    "network_entry_spec": {"type": "raw", "no_log": True},
    # Text, so that hiding it from logs hides the whole and not every word of it in results.
    "payload": {"type": "str", "no_log": True},
}
Work = Callable[[Mapping[str, Any], List[Dict[str, Any]]], Dict[str, Any]]


def answer(work: Work, own_arguments: Optional[Dict[str, Any]] = None) -> None:
    """Run a module's work: `work(payload, steps)` answers a mapping with `changed` and fills `steps`.

    In check mode the payload has `check_mode`, which all work that changes something obeys.
    """
    module = AnsibleModule({**ARGUMENTS, **(own_arguments or {})}, supports_check_mode=True)
    payload = json.loads(module.params["payload"] or "{}")
    payload["check_mode"] = module.check_mode
    steps: List[Dict[str, Any]] = []
    try:
        module.exit_json(**work(payload, steps), steps=steps)
    except ReleaseError as error:
        told = {"error_key": error.error_key, "hint": error.hint, **error.detail}
        module.fail_json(msg=str(error), problem=told, steps=steps)
