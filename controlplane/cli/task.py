# SPDX-License-Identifier: Apache-2.0
"""What the commands of tasks share, installs and network entries alike: preview, apply, follow, go on with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from controlplane.cli import output, preview_text, safe_text
from controlplane.cli.command import Session, client_command
from controlplane.cli.outcome import Outcome, of_end

COLUMNS = ("task_id", "kind", "state", "status", "created_by_name", "created_at")
STEP_COLUMNS = ("host", "step", "status", "attempt", "duration_ms", "error_key")
Base = Callable[[Session, str], str]
Show = Callable[[Session, dict[str, Any]], Outcome]

yes = click.option("--yes", is_flag=True, help="Do not ask before applying the preview.")
watched = click.option(
    "--watch/--no-watch", "is_watched", default=True, help="Follow it to its end (the default)."
)
wait_approval = click.option(
    "--wait-approval/--no-wait-approval", default=False, help="Go on watching while it waits for an approval."
)


@dataclass(frozen=True)
class Going:
    """How a command goes on: whether it asks before, follows, and waits for an approval."""

    yes: bool
    is_watched: bool
    wait_approval: bool


def start(
    session: Session,
    base: str,
    verb: str,
    preview_ref: str | None,
    body: dict[str, Any],
    going: Going,
    show_preview: Show,
) -> Outcome:
    """Apply a preview: the one that is named, or one that is made and shown now."""
    if preview_ref is None:
        made = previewed(session, base, body)
        if not made["preview"]["preview_ref"] or not session.as_json:
            shown = show_preview(session, made)
            if shown is not Outcome.OK:
                return shown
        if not going.yes:
            if session.as_json:
                raise click.UsageError("with --json, say --yes: nobody is asked")
            click.confirm("Apply this?", abort=True, err=True)
        preview_ref = made["preview"]["preview_ref"]
    document = session.client.post(f"{base}/{verb}", {"preview_ref": preview_ref})
    return _after(session, base, document, going)


def previewed(session: Session, base: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask for a preview and wait until there is one, however long it takes."""
    document: dict[str, Any] = session.client.post(f"{base}/preview", body, headers={"Prefer": "wait=30"})
    while document["status"] == "previewing":
        time.sleep(1.0)
        document = session.client.get(f"{base}/tasks/{document['task_id']}")
    return document


def _after(session: Session, base: str, document: dict[str, Any], going: Going) -> Outcome:
    is_waiting = document["status"] == "pending_approval"
    if going.is_watched and (going.wait_approval or not is_waiting):
        return watch(session, base, document["task_id"], going.wait_approval)
    if session.as_json:
        output.as_json(document)
    elif is_waiting:
        output.say(f"{document['task_id']} waits for an approval: ticket {document['approval_ticket']}")
    else:
        output.say(f"{document['task_id']} is {document['status']}")
    return Outcome.WAITING if is_waiting else Outcome.OK


def watch(session: Session, base: str, task_id: str, wait_approval: bool) -> Outcome:
    """Follow a task to its end; the exit code is its outcome."""
    from controlplane.cli import follow, progress

    path = f"{base}/tasks/{task_id}"
    document = session.client.get(path)
    title = f"{document['kind']} {document.get('environment') or document.get('cluster')}"
    with progress.view(title, session.as_json) as view:
        for told in follow.all_events(session.client, f"{path}/timeline/stream"):
            if told.is_end:
                break
            view.show(told.document)
            if told.document["action"].endswith("pending_approval") and not wait_approval:
                document = session.client.get(path)
                if document["status"] == "pending_approval":
                    return Outcome.WAITING
    document = session.client.get(path)
    if not session.as_json:
        output.say(f"{document['task_id']} {document['state']}")
        if document["diagnostics_json"]:
            preview_text.diagnostics(document["diagnostics_json"])
    return of_end(document["state"])


def show_task(session: Session, document: dict[str, Any]) -> None:
    """Show a task, its steps on each host, and what is known of its failure."""
    if session.as_json:
        return output.as_json(document)
    output.fields(document, ("diagnostics_json", "jobs", "preview", "steps"))
    output.table(document["steps"], STEP_COLUMNS)
    for step in document["steps"]:
        if step["remediation"]:
            output.say(f"{step['host']} {step['step']}: {safe_text.line(step['remediation'])}")
    if document["diagnostics_json"]:
        preview_text.diagnostics(document["diagnostics_json"])
    return None


def add_commands(group: click.Group, base: Base, owner: str) -> None:
    """Add `watch`, `tasks`, `logs`, `retry` and `cancel` to a group of commands about the tasks of an owner."""

    @group.command("watch", help="Follow a task to its end; the exit code is its outcome.")
    @click.argument("which", metavar=owner)
    @click.argument("task_id")
    @client_command
    def watch_(session: Session, which: str, task_id: str) -> Outcome:
        return watch(session, base(session, which), task_id, wait_approval=True)

    @group.command(help="List its tasks, newest first.")
    @click.argument("which", metavar=owner)
    @click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
    @client_command
    def tasks(session: Session, which: str, limit: int) -> None:
        page = session.client.pages(f"{base(session, which)}/tasks", limit)
        if session.as_json:
            output.as_json(page)
        else:
            output.table(page["items"], COLUMNS, more=bool(page.get("next")))

    @group.command(help="Print what a task's newest job wrote.")
    @click.argument("which", metavar=owner)
    @click.argument("task_id")
    @click.option("--search", "q", metavar="TEXT", help="Only what has this text in it.")
    @client_command
    def logs(session: Session, which: str, task_id: str, q: str | None) -> None:
        where, after = base(session, which), 0
        while True:
            page = session.client.get(f"{where}/tasks/{task_id}/logs", after=after, **({"q": q} if q else {}))
            for item in page["items"]:
                click.echo(
                    json.dumps(item) if session.as_json else safe_text.block(item.get("stdout", "")).rstrip()
                )
            if page["next"] is None:
                return
            after = page["next"]

    _add_act(group, base, owner, "retry", "Let a failed task go on at the step that failed.")
    _add_act(group, base, owner, "cancel", "Take a task back; what was done on the hosts stays.")


def _add_act(group: click.Group, base: Base, owner: str, name: str, purpose: str) -> None:
    @group.command(name, help=purpose)
    @click.argument("which", metavar=owner)
    @click.argument("task_id")
    @client_command
    def act(session: Session, which: str, task_id: str) -> None:
        document = session.client.post(f"{base(session, which)}/tasks/{task_id}/{name}")
        if session.as_json:
            output.as_json(document)
        else:
            output.say(f"{document['task_id']} is {document['state']} ({document['status']})")
