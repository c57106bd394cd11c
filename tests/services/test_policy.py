# SPDX-License-Identifier: Apache-2.0
"""Where nobody has to approve, whoever applies holds the permission that the matrix names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor
from controlplane.services import installs, previews, releases
from controlplane.store.tables import Project
from tests.services import test_installs
from tests.services.installation import Installation
from tests.services.test_releases import previewed


def raise_the_matrix(shop: Installation, permission: str) -> None:
    """Have the project ask more of who applies in development."""
    with shop.core.database.write() as session:
        row: dict[str, Any] = {"stage": "development", "needs_approval": False, "permission": permission}
        session.get_one(Project, "prj").policy = [row]


def denied(permission: str) -> Any:
    return pytest.raises(Problem, match=f"this needs {permission}")


def within(actor: Actor, *codes: str) -> Actor:
    """The same person with a token that is good for so much."""
    return replace(actor, ceiling=frozenset(codes))


def test_a_release_that_only_its_own_codes_would_let_through(shop: Installation) -> None:
    ref = previewed(shop)["preview_ref"]
    raise_the_matrix(shop, "deploy:target:write")
    with denied("deploy:target:write"):
        releases.apply(shop.core, shop.releaser, ref, {})
    assert shop.claim() is None
    started = releases.apply(shop.core, shop.actor("releaser", "operator"), ref, {})
    assert started["lifecycle_state"] == "approved"


def test_a_rollback_asks_what_the_matrix_says_of_rollbacks(shop: Installation) -> None:
    for version in ("1", "2"):
        release = previewed(shop, version=version)
        releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
        shop.clock.pass_(seconds=1)
        shop.work_apply()
        shop.clock.pass_(seconds=1)
    who = within(shop.releaser, "deploy:release:rollback", "deploy:compose:rollback", "deploy:release:read")
    rollback = previews.request_rollback(shop.core, who, release["release_id"])
    shop.work_preview()
    ref = previews.wait(shop.core, shop.releaser, rollback["release_id"], 0)["preview_ref"]
    with denied("deploy:release:apply"):
        releases.rollback(shop.core, who, release["release_id"], ref)
    assert releases.rollback(shop.core, shop.releaser, release["release_id"], ref)["status"] == "queued"


def test_an_install_too(shop: Installation) -> None:
    env = test_installs.environment(shop)
    ref = test_installs.previewed(shop, env)["preview_ref"]
    operator = test_installs.operator(shop)
    with denied("deploy:release:apply"):
        installs.apply(shop.core, within(operator, "deploy:environment:install"), env, ref)
    assert shop.claim() is None
    assert installs.apply(shop.core, operator, env, ref)["status"] == "queued"


def test_where_somebody_approves_it_is_asked_of_them(shop: Installation) -> None:
    waiting = releases.apply(shop.core, shop.releaser, previewed(shop, "production")["preview_ref"], {})
    assert waiting["lifecycle_state"] == "pending_approval"
