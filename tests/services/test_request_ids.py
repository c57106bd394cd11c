# SPDX-License-Identifier: Apache-2.0
"""What a worker tells carries the id of the request that made it work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import select

from controlplane.domain.permission import Actor
from controlplane.ports.runner import RunOutcome
from controlplane.services import approvals, environment_health, installs, previews, releases, target_status
from controlplane.store.tables import Event
from tests.services.installation import Installation
from tests.services.test_installs import environment, operator, told, work
from tests.services.test_releases import applied


def asking(actor: Actor, request_id: str) -> Actor:
    """The same person in another request."""
    return replace(actor, request_id=request_id)


def by_worker(shop: Installation, resource_id: str) -> list[tuple[str, str | None]]:
    """The events that a worker wrote about something: which, and the request's id."""
    query = select(Event).where(Event.resource_id == resource_id, Event.source == "worker")
    with shop.core.database.read() as session:
        rows = session.scalars(query.order_by(Event.seq))
        return [(row.action.rpartition(".")[2], row.request_id) for row in rows]


def test_of_a_release_and_each_word_that_lets_it_go_on(shop: Installation) -> None:
    asked: dict[str, Any] = {"target_id": shop.targets["production"], "service": "shop", "version": "1"}
    release_id = previews.request(shop.core, asking(shop.releaser, "req-preview"), asked)["release_id"]
    shop.work_preview()
    ref = previews.wait(shop.core, shop.releaser, release_id, 0)["preview_ref"]
    ticket = releases.apply(shop.core, asking(shop.releaser, "req-apply"), ref, {})["approval_ticket"]
    approvals.approve(shop.core, asking(shop.approver, "req-approve"), ticket)
    shop.work_apply("successful", {"paused": True, "changed": True, "steps": []})
    releases.promote(shop.core, asking(shop.releaser, "req-promote"), release_id)
    shop.work_apply()
    assert by_worker(shop, release_id) == [
        ("previewed", "req-preview"),
        ("applying", "req-approve"),
        ("paused", "req-approve"),
        ("resumed", "req-promote"),
        ("step_succeeded", "req-promote"),
        ("applied", "req-promote"),
    ]


def test_of_a_cancelled_release_that_had_paused(shop: Installation) -> None:
    asked = {"target_id": shop.targets["development"], "service": "shop"}
    release_id = previews.request(shop.core, shop.releaser, asked)["release_id"]
    shop.work_preview()
    ref = previews.wait(shop.core, shop.releaser, release_id, 0)["preview_ref"]
    releases.apply(shop.core, shop.releaser, ref, {})
    shop.work_apply("successful", {"paused": True, "changed": True, "steps": []})
    releases.cancel(shop.core, asking(shop.releaser, "req-cancel"), release_id)
    shop.work_apply()
    assert by_worker(shop, release_id)[-1] == ("failed", "req-cancel")


def test_of_an_install(shop: Installation) -> None:
    env = environment(shop)
    task = installs.request_preview(shop.core, asking(operator(shop), "req-preview"), env, {})
    kind, _run = work(shop, "install_preview")
    kind.record([told(1, action="bundle_verify")])
    kind.end(RunOutcome("successful", 0, {"a.preflight": {"facts": {}, "plan": [], "fingerprint": "f"}}))
    shown = installs.await_preview(shop.core, operator(shop), task["task_id"], 0)
    installs.apply(shop.core, asking(operator(shop), "req-apply"), env, shown["preview_ref"])
    kind, _run = work(shop, "install")
    kind.end(RunOutcome("successful", 0, {}))
    assert by_worker(shop, task["task_id"]) == [
        ("install_previewed", "req-preview"),
        ("install_started", "req-apply"),
        ("install_succeeded", "req-apply"),
    ]


def test_of_a_look_at_an_environment(shop: Installation) -> None:
    env = environment(shop)
    environment_health.request(shop.core, asking(operator(shop), "req-health"), env)
    kind, _run = work(shop, "environment_health")
    kind.end(RunOutcome("successful", 0, {"a.health": {"healthy": True}}))
    assert by_worker(shop, env) == [("health_checked", "req-health")]


def test_of_a_look_at_a_target_that_has_drifted(shop: Installation) -> None:
    applied(shop)
    target_id = shop.targets["development"]
    target_status.request(shop.core, asking(shop.releaser, "req-drift"), target_id)
    kind, _run = work(shop, "target_status")
    assert kind.end(RunOutcome("successful", 0, {"a.status": {"services": []}})) is not None
    service = {"name": "web", "action": "change", "changes": []}
    assert kind.end(RunOutcome("successful", 0, {"a.preview": {"services": [service]}})) is None
    assert by_worker(shop, target_id) == [("drift_found", "req-drift")]
