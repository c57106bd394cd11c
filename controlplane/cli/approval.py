# SPDX-License-Identifier: Apache-2.0
"""`tidegate approval`: what waits for a decision, and deciding it."""

from __future__ import annotations

from typing import Any

import click

from controlplane.cli import output, preview_text
from controlplane.cli.command import Session, client_command

BASE = "/approvals/inbox"
COLUMNS = ("ticket", "status", "priority", "risk_level", "summary", "requested_by_name", "expires_at")


@click.group()
def approval() -> None:
    """What waits for a decision."""


@approval.command("list")
@click.option("--view", type=click.Choice(["mine", "pending", "all"]), default="mine", show_default=True)
@click.option("--status")
@click.option("--risk", "risk_level", type=click.Choice(["low", "medium", "high", "critical"]))
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@client_command
def list_(session: Session, limit: int, **filters: Any) -> None:
    """List tickets: pending first, then priority, expiry, age."""
    page = session.client.pages(BASE, limit, **filters)
    if session.as_json:
        return output.as_json(page)
    output.table(page["items"], COLUMNS, more=bool(page.get("next")))
    stats = page["stats"]
    click.echo(
        f"{stats['pending']} pending, {stats['overdue']} overdue, {stats['expiring_15m']} expire within 15 minutes",
        err=True,
    )
    return None


@approval.command()
@click.argument("ticket")
@client_command
def show(session: Session, ticket: str) -> None:
    """Show a ticket and exactly what its approval would let happen."""
    document = session.client.get(f"{BASE}/{ticket}")
    if session.as_json:
        return output.as_json(document)
    output.fields(document, ("actions", "release", "preview", "detail"))
    if document.get("preview"):
        preview_text.preview(document["preview"])
    output.table(document["actions"], ("occurred_at", "action", "actor_name", "comment"))
    return None


@approval.command()
@click.argument("ticket")
@click.option("--comment", default="", help="Why.")
@click.option("--expected-digest", help="Approve only what has this preview digest.")
@client_command
def approve(session: Session, ticket: str, comment: str, expected_digest: str | None) -> None:
    """Say yes."""
    body = {"comment": comment, "expected_digest": expected_digest}
    _decided(session, session.client.post(f"{BASE}/{ticket}/approve", body))


@approval.command()
@click.argument("ticket")
@click.option("--comment", required=True, help="Why not.")
@client_command
def reject(session: Session, ticket: str, comment: str) -> None:
    """Say no, with a reason."""
    _decided(session, session.client.post(f"{BASE}/{ticket}/reject", {"comment": comment}))


def _decided(session: Session, document: dict[str, Any]) -> None:
    if session.as_json:
        output.as_json(document)
    else:
        output.say(f"{document['ticket']} is {document['status']}")
