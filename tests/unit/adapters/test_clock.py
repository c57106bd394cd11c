# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
from datetime import timedelta

from controlplane.adapters.clock import SystemClock


def test_the_clock_tells_utc_and_says_so() -> None:
    now = SystemClock().now()
    assert now.utcoffset() == timedelta(0)
    assert abs(now.timestamp() - time.time()) < 5
