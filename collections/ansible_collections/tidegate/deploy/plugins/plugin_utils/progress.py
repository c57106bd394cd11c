# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a task says while it waits: the same to a terminal as an item of a loop, and data to whoever reads events."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ansible.playbook.task import Task
from ansible.utils.display import Display


def tell(task: Task, host: str, who: str, how_far: str, **more: Any) -> None:
    """Say `who` is `how_far`; `more` is only in the data: `begins` of a step that begins, `steps` that have ended.

    Ansible has no public way for it: where its own is gone, a plain line is said.
    """
    text = f"{who}: {how_far}"
    told: dict[str, Any] = {
        "changed": False,
        "tidegate": {"schema": "tidegate.progress/v1", "host": host, "object": who, "progress": how_far, **more},
        "item": text, "ansible_loop_var": "item", "_ansible_item_result": True, "_ansible_item_label": text,
        "_ansible_no_log": False,
    }  # fmt: skip
    display = Display()
    try:
        from ansible.executor.task_result import _RawTaskResult

        result = _RawTaskResult(
            host=SimpleNamespace(name=host), task=task, return_data=told, task_fields=task.dump_attrs()
        )
        display._final_q.send_callback("v2_runner_item_on_ok", result)
    except (ImportError, AttributeError, TypeError):
        display.display(text)
