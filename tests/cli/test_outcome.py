# SPDX-License-Identifier: Apache-2.0
"""Exit codes of what a release came to."""

from __future__ import annotations

import pytest

from controlplane.cli.outcome import Outcome, of_end
from controlplane.domain.release import State


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.APPLIED, 0),
        (State.ROLLBACK, 0),
        (State.FAILED, 1),
        (State.REJECTED, 1),
        (State.EXPIRED, 1),
        (State.CANCELLED, 1),
        (State.APPLYING, Outcome.SERVER),
    ],
)
def test_the_exit_code_of_a_watch_is_the_releases_end(state: State, code: int) -> None:
    assert of_end(state) == code
