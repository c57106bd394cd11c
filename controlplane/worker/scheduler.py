# SPDX-License-Identifier: Apache-2.0
"""What comes due by itself: tickets and previews expire, SLAs pass, jobs whose workers were lost are ended.

Any number of schedulers may run: each step is guarded, so one of them does it and the others find it done.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from controlplane import bootstrap
from controlplane.services import (
    approvals,
    canary_watch,
    cluster_certificates,
    expiry,
    network_entry_check,
    post_tasks,
    retirement,
    target_status,
)
from controlplane.services.core import Core

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
STEPS: tuple[Callable[[Core], int], ...] = (
    approvals.expire_due,
    approvals.escalate_overdue,
    expiry.expire_previews,
    expiry.expire_install_previews,
    expiry.end_abandoned,
    expiry.forget_answers,
    retirement.queue_due,
    canary_watch.look_where_due,
    target_status.look_where_due,
    network_entry_check.look_where_due,
    cluster_certificates.look_where_due,
    post_tasks.apply_previewed,
)


def run(core: Core, stopping: threading.Event) -> None:
    """Take each step about once a second until `stopping` is set. A step that fails is tried again."""
    steps = STEPS + bootstrap.scheduled()
    while not stopping.wait(TICK_SECONDS):
        for step in steps:
            try:
                step(core)
            except Exception:
                log.exception("scheduled step failed", extra={"step": step.__name__})
