# SPDX-License-Identifier: Apache-2.0
"""A step of an install that is a hook of the bundle; and what takes such steps back, the last first."""

from __future__ import annotations

from typing import Any, Dict, List

from . import hook
from .journal import Journal


def apply(work: Dict[str, Any], journal: Journal, promise_only: bool) -> Dict[str, Any]:
    """Run the hook of `work`: `step`, `path`, `sha256`, `context`, `outputs`, `seconds`, `undo` (path and sum of its
    rollback hook, or None) and `hidden`, the names of inputs that are kept on no host.

    Answers {"changes", "detail"}. Raises ReleaseError.
    """
    if promise_only:
        return {"changes": [], "detail": {"would_run": True}}
    undo = work.get("undo")
    if undo:
        # Written down before: a hook that broke off half way has something to take back, too.
        # By its step, because several may be taken back by the same file.
        inputs = work["context"]["inputs"]
        kept = {name: value for name, value in inputs.items() if name not in work["hidden"]}
        journal.note(
            work["step"], "hook", work["step"], **undo, context={**work["context"], "inputs": kept},
            hidden=work["hidden"], timeout=work["seconds"],
        )  # fmt: skip
    ran = hook.run(work["path"], work["sha256"], work["context"], work["seconds"])
    has_changed, detail = hook.outcome(ran, work["outputs"])
    return {"changes": ["what the hook says it did"] if has_changed else [], "detail": detail}


def rollback(journal: Journal) -> Dict[str, List[str]]:
    """Run the rollback hooks of the steps that were begun here, the last first."""
    undone: List[str] = []
    left: List[str] = []
    steps = [entry["step"] for entry in journal.entries if entry["kind"] == "hook"]
    for step in reversed(list(dict.fromkeys(steps))):
        done, kept = journal.undo(step)
        undone, left = undone + done, left + kept
    return {"undone": undone, "left": left}
