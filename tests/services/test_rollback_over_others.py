# SPDX-License-Identifier: Apache-2.0
"""A rollback takes over what others changed since only when that is asked for, and then it is shown and approved."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.errors import Problem
from controlplane.services import approvals, previews, releases
from controlplane.services.job_kinds import KINDS
from controlplane.store.tables import Release
from tests.services.installation import Installation, move_into_cluster
from tests.services.test_releases import applied

CONFLICT = "Deployment/web spec.replicas (kubectl)"


def asked(shop: Installation, undone: dict[str, Any], force_conflicts: bool | None) -> dict[str, Any]:
    """Preview a rollback in a cluster in which somebody scaled the Deployment."""
    release_id = undone["release_id"]
    made = previews.request_rollback(shop.core, shop.releaser, release_id, force_conflicts=force_conflicts)
    check = {"level": "warning", "code": "field_conflict", "message": CONFLICT, "hint": "It is taken over."}
    shop.work_preview(checks=[check], risk_facts=["field_takeover"], conflicts=[CONFLICT])
    return previews.wait(shop.core, shop.releaser, made["release_id"], 0)


def test_what_is_taken_over_is_shown_bound_and_approved(shop: Installation) -> None:
    move_into_cluster(shop)
    applied(shop, "production", "1")
    second = applied(shop, "production", "2")
    forced, plain = asked(shop, second, True), asked(shop, second, None)
    assert forced["preview"]["strategy_params"] == {"force_conflicts": True}
    assert forced["preview"]["binding"]["strategy_params"] == {"force_conflicts": True}
    assert plain["preview"]["strategy_params"] == {}
    assert "a field that somebody else manages would be taken over" in forced["preview"]["risk_reasons"]
    waiting = releases.rollback(shop.core, shop.releaser, second["release_id"], forced["preview_ref"])
    assert waiting["lifecycle_state"] == "pending_approval"
    ticket = approvals.get(shop.core, shop.approver, waiting["approval_ticket"])
    assert "a field that somebody else manages would be taken over" in ticket["risk_reasons"]
    approvals.approve(shop.core, shop.approver, waiting["approval_ticket"])
    lease = shop.claim()
    assert lease is not None
    run = KINDS[lease.kind](shop.core, lease).begin()
    assert run is not None
    spec = run.documents["release_spec_file"]
    assert isinstance(spec, dict)
    assert run.playbook == "release_rollback.yml"
    assert (spec["strategy_params"], spec["conflicts"]) == ({"force_conflicts": True}, [CONFLICT])


def test_a_rollback_of_a_rollback_that_took_over_asks_anew(shop: Installation) -> None:
    """What the first one may have taken over is what the second one is about."""
    move_into_cluster(shop)
    applied(shop, version="1")
    second = applied(shop, version="2")
    forced = asked(shop, second, True)
    releases.rollback(shop.core, shop.releaser, second["release_id"], forced["preview_ref"])
    shop.clock.pass_(seconds=1)
    shop.work_apply()
    again = asked(shop, forced, None)
    assert (again["restores"], again["strategy_params"]) == (second["release_id"], {})


def test_a_host_has_no_fields_that_others_own(shop: Installation) -> None:
    applied(shop, version="1")
    second = applied(shop, version="2")
    with pytest.raises(Problem) as refused:
        previews.request_rollback(shop.core, shop.releaser, second["release_id"], force_conflicts=True)
    assert refused.value.error_key == "validation_error"
    assert refused.value.errors == {"force_conflicts": ["is nothing that compose has"]}
    with shop.core.database.read() as session:
        assert session.query(Release).where(Release.action == "rollback").count() == 0
