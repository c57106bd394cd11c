# SPDX-License-Identifier: Apache-2.0
"""What a blue/green release keeps for a while is deleted by a job of its own, once, and only if nobody took over."""

from __future__ import annotations

from typing import Any

from controlplane.ports.runner import RunOutcome
from controlplane.services import releases, retirement
from controlplane.services.job_kinds import KINDS
from controlplane.services.jobs import Lease
from tests.services.installation import Installation, an_event
from tests.services.test_releases import actions, applied, previewed

GRACE = 300.0


def keeping(shop: Installation) -> dict[str, Any]:
    """A release that ended at its switch and keeps what had the traffic before."""
    release = previewed(shop)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    until = shop.clock.now().timestamp() + GRACE
    steps = [{"step": "switch", "status": "succeeded"}]
    shop.work_apply(data={"changed": True, "steps": steps, "kept_until": until})
    return releases.get(shop.core, shop.releaser, release["release_id"])


def work(shop: Installation, status: str, data: dict[str, Any]) -> Lease:
    lease = shop.claim()
    assert lease is not None
    assert lease.kind == "retirement"
    kind = KINDS[lease.kind](shop.core, lease)
    run = kind.begin()
    assert run is not None
    assert run.playbook == "release_retire.yml"
    kind.record([an_event(1, data=data, failed=status != "successful", changed=True)])
    assert kind.end(RunOutcome(status, 0, {})) is None
    return lease


def test_a_release_ends_at_its_switch_and_what_it_keeps_goes_when_its_time_is_over(
    shop: Installation,
) -> None:
    release = keeping(shop)
    assert release["lifecycle_state"] == "applied"
    assert release["kept_until"] == "2026-01-01T12:05:00.000000Z"
    assert retirement.queue_due(shop.core) == 0
    assert shop.claim() is None
    shop.clock.pass_(seconds=GRACE)
    assert retirement.queue_due(shop.core) == 1
    # The next tick, and a second scheduler.
    assert retirement.queue_due(shop.core) == 0
    work(shop, "successful", {"changed": True, "steps": [{"step": "pruned", "status": "succeeded"}]})
    assert releases.get(shop.core, shop.releaser, release["release_id"])["kept_until"] is None
    assert actions(shop, release)[-2:] == ["applied", "step_succeeded"]
    assert shop.claim() is None


def test_what_could_not_be_deleted_is_tried_again(shop: Installation) -> None:
    release = keeping(shop)
    shop.clock.pass_(seconds=GRACE)
    retirement.queue_due(shop.core)
    work(shop, "failed", {"error_key": "cluster_unreachable"})
    assert retirement.queue_due(shop.core) == 0
    shop.clock.pass_(seconds=retirement.RETRY.total_seconds())
    assert retirement.queue_due(shop.core) == 1
    # The cluster says that its time is not over: whoever wrote it had another clock.
    until = shop.clock.now().timestamp() + 5
    work(shop, "successful", {"changed": False, "kept_until": until})
    assert retirement.queue_due(shop.core) == 0
    assert releases.get(shop.core, shop.releaser, release["release_id"])["kept_until"] is not None


def test_a_later_release_judges_what_an_earlier_one_kept(shop: Installation) -> None:
    release = keeping(shop)
    applied(shop)
    assert releases.get(shop.core, shop.releaser, release["release_id"])["kept_until"] is None
    shop.clock.pass_(seconds=GRACE)
    assert retirement.queue_due(shop.core) == 0


def test_a_release_may_begin_within_the_grace(shop: Installation) -> None:
    keeping(shop)
    release = previewed(shop, version="2")
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    lease = shop.claim()
    assert lease is not None
    assert (lease.kind, lease.resource_id) == ("apply", release["release_id"])
