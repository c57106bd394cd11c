# SPDX-License-Identifier: Apache-2.0
"""Where is looked for why something is not ready."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import diagnosis, pods


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


@pytest.mark.parametrize(
    ("selector", "asked"),
    [
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        ({"matchExpressions": [expression("app", "In", "web", "site")]}, "app in (web,site)"),
        (
            {
                "matchLabels": {"a": "1"},
                "matchExpressions": [
                    expression("tier", "NotIn", "db"),
                    expression("new", "Exists"),
                    expression("old", "DoesNotExist"),
                ],
            },
            "a=1,tier notin (db),new,!old",
        ),
        # A Service's is none of these, and has no pods of its own.
        ({"app": "web"}, ""),
        (None, ""),
    ],
)
def test_pods_are_asked_for_by_the_whole_selector(selector: Any, asked: str) -> None:
    assert diagnosis._selector({"spec": {"selector": selector}}) == asked


def test_restarts_are_those_of_all_containers() -> None:
    one = {"initContainerStatuses": [{"restartCount": 2}], "containerStatuses": [{"restartCount": 1}, {}]}
    assert pods.restarts([{"status": one}, {}]) == 3
