# SPDX-License-Identifier: Apache-2.0
"""A release spec by hand keeps the project that it names."""

from __future__ import annotations

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import spec
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError


def test_the_project_is_the_one_that_is_named_or_the_service() -> None:
    assert spec.load(None, {"service": "shop", "project": "shop-two"})["project"] == "shop-two"
    assert spec.load(None, {"service": "shop"})["project"] == "shop"


@pytest.mark.parametrize("project", ["shop-blue", "shop-green"])
def test_a_project_called_as_a_colour_of_another_is_refused(project: str) -> None:
    with pytest.raises(ReleaseError, match="colour") as refused:
        spec.require_own_project(project)
    assert refused.value.error_key == "validation_error"


def test_other_projects_pass() -> None:
    for project in ("shop", "blue", "shop-bluer", "green-shop"):
        spec.require_own_project(project)


@pytest.mark.parametrize("seconds", [0, 0.5, -1, 86401, "60", True])
def test_a_health_timeout_that_cannot_be_is_refused_and_not_taken_for_another(seconds: object) -> None:
    with pytest.raises(ReleaseError, match="health_timeout") as refused:
        spec.load(None, {"service": "shop", "health_timeout": seconds})
    assert refused.value.error_key == "validation_error"


def test_a_health_timeout_is_two_minutes_unless_told() -> None:
    assert spec.load(None, {"service": "shop"})["health_timeout"] == 120
    assert spec.load(None, {"service": "shop", "health_timeout": 1})["health_timeout"] == 1
