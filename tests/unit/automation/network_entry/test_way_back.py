# SPDX-License-Identifier: Apache-2.0
"""What a rollback leaves alone: hosts where what it takes back did not come, and those that are back already."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import work

CURRENT = {"config": "x"}


@pytest.mark.parametrize(
    ("state", "payload", "is_left_alone"),
    [
        ({"current": CURRENT, "current_operation": "tsk_2"}, {"undo": "tsk_2"}, False),
        ({"current": CURRENT, "current_operation": "tsk_1"}, {"undo": "tsk_2"}, True),
        ({"current": CURRENT, "current_operation": "tsk_1"}, {"undo": "tsk_2", "remove": True}, False),
        # What was installed and never activated is nobody's current generation: it is taken away.
        ({"delivered": ["a"]}, {"undo": "tsk_2"}, False),
        # By hand nothing is named.
        ({"current": CURRENT}, {}, False),
        ({"current": CURRENT, "current_operation": "tsk_1"}, {}, False),
        # The same rollback, taken up again.
        (
            {"current": CURRENT, "current_operation": "tsk_1", "rolled_back_by": "tsk_3"},
            {"undo": "tsk_2", "operation": "tsk_3"},
            True,
        ),
        (
            {"current": CURRENT, "current_operation": "tsk_1", "rolled_back_by": "tsk_3"},
            {"undo": "tsk_1", "operation": "tsk_4"},
            False,
        ),
    ],
)
def test_what_a_rollback_leaves_alone(
    state: dict[str, Any], payload: dict[str, Any], is_left_alone: bool
) -> None:
    assert work._is_untouched(state, payload) == is_left_alone


def test_the_way_back_shows_no_password() -> None:
    state = {"current_operation": "tsk_2", "previous": {"config": "a\n  auth_pass canary8x\nb\n"}}
    found = work._way_back(state, b"key")
    assert found["operation"] == "tsk_2"
    assert "canary8x" not in found["after"] and "auth_pass hmac:" in found["after"]
    assert work._way_back({}, b"key") == {"operation": None, "after": ""}
