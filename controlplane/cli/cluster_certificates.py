# SPDX-License-Identifier: Apache-2.0
"""`tidegate cluster certs`: the certificates of a cluster's control planes, and their rotation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click
from rich.text import Text

from controlplane.cli import output, preview_text, safe_text, task
from controlplane.cli.command import Session, client_command
from controlplane.cli.outcome import Outcome
from controlplane.cli.resource import find_id

COLUMNS = ("host", "name", "kind", "managed_by", "days_left", "expires_at", "subject")
_CLUSTER = click.argument("which", metavar="CLUSTER")
_WITHIN = click.option(
    "--within",
    "days",
    type=click.IntRange(0, 3650),
    default=30,
    show_default=True,
    metavar="DAYS",
    help="It is needed when a certificate ends within so many days.",
)


@click.group()
def certs() -> None:
    """The certificates of a cluster that Tidegate made."""


@certs.command("list")
@_CLUSTER
@click.option("--check", is_flag=True, help="Look at the control planes now, and wait for it.")
@client_command
def list_(session: Session, which: str, check: bool) -> Outcome:
    """List them with the days that they have left, the first to end first."""
    path = f"/clusters/{find_id(session.client, '/clusters', which)}/certs"
    ended = _look(session, path) if check else Outcome.OK
    document = session.client.get(path)
    if session.as_json:
        output.as_json(document)
        return ended
    output.fields(document, ("hosts", "problems"))
    rows = [{"host": host["host"], **row} for host in document["hosts"] for row in host["certificates"]]
    output.table(sorted(rows, key=_order), COLUMNS)
    for one in document["problems"]:
        output.say(safe_text.line(f"{one.get('level')} {one.get('host')}: {one.get('message')}", 400))
    return ended


@certs.command()
@_CLUSTER
@_WITHIN
@client_command
def preview(session: Session, which: str, days: int) -> Outcome:
    """Show what a rotation would do, and whether it is needed. Nothing is changed by asking."""
    return _show_preview(session, task.previewed(session, _base(session, which), {"within_days": days}))


@certs.command()
@_CLUSTER
@click.argument("preview_ref", required=False)
@_WITHIN
@task.yes
@task.watched
@task.wait_approval
@client_command
def rotate(
    session: Session,
    which: str,
    preview_ref: str | None,
    days: int,
    yes: bool,
    is_watched: bool,
    wait_approval: bool,
) -> Outcome:
    """Rotate, one control plane after another: PREVIEW_REF, or a preview that is made and shown now.

    Ends with 6 while it waits for an approval, unless --wait-approval.
    """
    going = task.Going(yes, is_watched, wait_approval)
    body = {} if preview_ref else {"within_days": days}
    return task.start(session, _base(session, which), "apply", preview_ref, body, going, _show_preview)


@certs.command()
@_CLUSTER
@click.argument("task_id")
@client_command
def show(session: Session, which: str, task_id: str) -> None:
    """Show a rotation and its steps."""
    task.show_task(session, session.client.get(f"{_base(session, which)}/tasks/{task_id}"))


def _base(session: Session, which: str) -> str:
    return f"/clusters/{find_id(session.client, '/clusters', which)}/certs/rotate"


task.add_commands(certs, _base, "CLUSTER")


def _look(session: Session, path: str) -> Outcome:
    job: dict[str, Any] = session.client.post(f"{path}/check")
    while job["state"] != "done":
        time.sleep(0.5)
        job = session.client.get(f"/jobs/{job['job_id']}")
    return Outcome.OK if job["outcome"] == "succeeded" else Outcome.RELEASE_FAILED


def _order(row: Mapping[str, Any]) -> tuple[float, str, str]:
    left = row.get("days_left")
    return (float("-inf") if left is None else left, row["host"], row["name"])


def _show_preview(session: Session, made: dict[str, Any]) -> Outcome:
    document = made["preview"]
    if session.as_json:
        output.as_json(made)
        return Outcome.OK if document["preview_ref"] else Outcome.BLOCKED
    output.say(
        f"task {made['task_id']}: {made['kind']} the certificates of {made['cluster']} ({made['stage']})"
    )
    for name, host in sorted(document["hosts"].items()):
        output.console().print(Text(f"host {safe_text.line(name)}", style="bold"))
        for one in host.get("plan") or []:
            said = f"  {one['action']} {one['step']}" + (f": {one['detail']}" if one["detail"] else "")
            output.say(safe_text.line(said, 200))
    # Its checks, risk and reference are told as a release's are.
    preview_text.preview({**document, "hosts": {}})
    return Outcome.OK if document["preview_ref"] else Outcome.BLOCKED
