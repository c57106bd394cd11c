# SPDX-License-Identifier: Apache-2.0
"""A step that records how it went, also when it fails."""

from __future__ import annotations

import time
from typing import Any, Dict, List

from ..host import step_record
from ..release.errors import ReleaseError


class Step:
    """One step of the work: `with Step(steps, "install") as step: step.changed = ...`; a failure is recorded."""

    def __init__(self, steps: List[Dict[str, Any]], name: str) -> None:
        self._steps, self._name = steps, name
        self.changed = False
        self.said = ""
        self.detail: Dict[str, Any] = {}

    def __enter__(self) -> "Step":
        self._started = time.time()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is not None and not isinstance(error, ReleaseError):
            return
        status = "failed" if error is not None else "succeeded" if self.changed else "unchanged"
        said = self.said or (str(error) if error is not None else "")
        if error is not None and getattr(error, "error_key", ""):
            self.detail = {**self.detail, "error_key": error.error_key, "remediation": error.hint}
        self._steps.append(step_record.step(self._name, status, self._started, said, **self.detail))
