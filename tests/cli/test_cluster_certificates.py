# SPDX-License-Identifier: Apache-2.0
"""Certificates of clusters by command: what is shown, what is asked for, and how each ends."""

from __future__ import annotations

import json

from controlplane.cli.outcome import Outcome
from tests.cli.broken_server import answering, document
from tests.cli.test_variables import run

CLUSTER = "cls_01jd2k3m4n5p6q7r8s9tavbwcx"
ROW = {"kind": "certificate", "expires_at": "2026-05-01T00:00:00Z", "subject": "CN=x"}
LISTED = {
    "cluster_id": CLUSTER, "cluster": "blue", "mode": "platform_managed", "status": "ready", "checked_at": None,
    "first_expires_at": "2026-05-01T00:00:00Z", "days_left": 3, "hosts": [
        {"host": "plane-1", "certificates": [
            {**ROW, "name": "later", "days_left": 90}, {**ROW, "name": "sooner", "days_left": 3},
            {**ROW, "name": "broken", "days_left": None}]}],
    "problems": [{"level": "warning", "host": "plane-1", "message": "authority ends"}],
}  # fmt: skip
PREVIEW = {
    "task_id": "tsk_1", "kind": "rotate", "cluster": "blue", "stage": "production", "status": "previewed",
    "preview": {
        "preview_ref": "pvw_1", "preview_digest": "sha256:1", "preview_expires_at": None, "checks": [
            {"level": "warning", "code": "not_needed", "message": "no certificate ends within 60 days", "hint": ""}],
        "hosts": {"plane-1": {"plan": [{"step": "apiserver", "action": "renew", "detail": ""}]}},
        "risk_level": "medium", "risk_reasons": []},
}  # fmt: skip


def test_the_first_to_end_is_listed_first_and_what_cannot_be_read_before_it() -> None:
    with answering(document(200, LISTED)) as server:
        told = run(server, "cluster", "certs", "list", CLUSTER)
    assert told.returncode == Outcome.OK, told.stderr
    places = [told.stdout.index(word) for word in ("broken", "sooner", "later", "authority ends")]
    assert places == sorted(places)
    assert [one[0] for one in server.requests if one[1].endswith("/certs")] == ["GET"], (
        "nothing was looked at"
    )


def test_a_preview_says_what_would_be_done_and_whether_it_is_needed() -> None:
    with answering(document(201, PREVIEW)) as server:
        told = run(server, "cluster", "certs", "preview", CLUSTER, "--within", "60")
    assert told.returncode == Outcome.OK, told.stderr
    assert "renew apiserver" in told.stdout and "not_needed" in told.stdout
    assert server.requests[-1][:2] == ("POST", f"/api/v1/clusters/{CLUSTER}/certs/rotate/preview")
    assert json.loads(server.bodies[-1]) == {"within_days": 60}


def test_nothing_is_rotated_that_nobody_said_yes_to() -> None:
    with answering(document(201, PREVIEW)) as server:
        told = run(server, "--json", "cluster", "certs", "rotate", CLUSTER)
    assert told.returncode == Outcome.USAGE
    assert not [one for one in server.requests if one[1].endswith("/apply")]


def test_one_that_waits_for_an_approval_ends_so() -> None:
    waiting = {**PREVIEW, "status": "pending_approval", "approval_ticket": "tkt_1"}
    with answering(document(202, waiting)) as server:
        told = run(server, "cluster", "certs", "rotate", CLUSTER, "pvw_1", "--no-watch")
    assert told.returncode == Outcome.WAITING and "tkt_1" in told.stdout
    assert json.loads(server.bodies[-1]) == {"preview_ref": "pvw_1"}
