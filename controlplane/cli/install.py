# SPDX-License-Identifier: Apache-2.0
"""`tidegate environment install`: preview, apply, watch, go on with, and take back an install."""

from __future__ import annotations

import json
import time
from typing import Any

import click
from rich.text import Text

from controlplane.cli import output, preview_text, safe_text
from controlplane.cli.command import Session, client_command, pairs
from controlplane.cli.outcome import Outcome, of_end
from controlplane.cli.resource import find_id

COLUMNS = ("task_id", "kind", "state", "status", "created_by_name", "created_at")
STEP_COLUMNS = ("host", "step", "status", "attempt", "duration_ms", "error_key")
SIGNS = {"run": ("+", "green"), "done": (" ", "dim"), "undo": ("-", "red")}


@click.group()
def install() -> None:
    """Install environments from the bundle."""


def _asked(function: Any) -> Any:
    for option in (
        click.option(
            "--input",
            "inputs",
            multiple=True,
            metavar="NAME=TEXT",
            help="An input of the bundle (NAME:=JSON for other types).",
        ),
        click.option("--profile", help="A profile of the bundle."),
        click.option("--runtime-version", help="The newest supported one when left out."),
    ):
        function = option(function)
    return function


_yes = click.option("--yes", is_flag=True, help="Do not ask before applying the preview.")
_watched = click.option(
    "--watch/--no-watch", "is_watched", default=True, help="Follow it to its end (the default)."
)
_wait_approval = click.option(
    "--wait-approval/--no-wait-approval", default=False, help="Go on watching while it waits for an approval."
)


@install.command()
@click.argument("which", metavar="ENVIRONMENT")
@_asked
@client_command
def preview(session: Session, which: str, **asked: Any) -> Outcome:
    """Show what an install would do on each host, and what stands in its way. Nothing is changed by asking."""
    return _show_preview(session, _previewed(session, _base(session, which), _body(asked)))


@install.command()
@click.argument("which", metavar="ENVIRONMENT")
@click.argument("preview_ref", required=False)
@_asked
@_yes
@_watched
@_wait_approval
@client_command
def apply(
    session: Session,
    which: str,
    preview_ref: str | None,
    yes: bool,
    is_watched: bool,
    wait_approval: bool,
    **asked: Any,
) -> Outcome:
    """Apply a preview: PREVIEW_REF, or one that is made and shown now.

    Ends with 6 while it waits for an approval, unless --wait-approval.
    """
    base = _base(session, which)
    return _start(session, base, "apply", preview_ref, _body(asked), yes, (is_watched, wait_approval))


@install.command()
@click.argument("which", metavar="ENVIRONMENT")
@click.option("--task", "task_id", help="The install to take back; the newest when left out.")
@click.option("--preview-ref", help="A preview of it that was made before.")
@_yes
@_watched
@_wait_approval
@client_command
def rollback(
    session: Session,
    which: str,
    task_id: str | None,
    preview_ref: str | None,
    yes: bool,
    is_watched: bool,
    wait_approval: bool,
) -> Outcome:
    """Take away what an install made, the last first."""
    body = {"kind": "rollback", **({"task_id": task_id} if task_id else {})}
    base = _base(session, which)
    return _start(session, base, "rollback", preview_ref, body, yes, (is_watched, wait_approval))


@install.command()
@click.argument("which", metavar="ENVIRONMENT")
@click.argument("task_id")
@client_command
def watch(session: Session, which: str, task_id: str) -> Outcome:
    """Follow a task to its end; the exit code is its outcome."""
    return _watch(session, _base(session, which), task_id, wait_approval=True)


@install.command()
@click.argument("which", metavar="ENVIRONMENT")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@client_command
def tasks(session: Session, which: str, limit: int) -> None:
    """List the tasks of an environment, newest first."""
    page = session.client.pages(f"{_base(session, which)}/tasks", limit)
    if session.as_json:
        output.as_json(page)
    else:
        output.table(page["items"], COLUMNS, more=bool(page.get("next")))


@install.command()
@click.argument("which", metavar="ENVIRONMENT")
@click.argument("task_id")
@client_command
def show(session: Session, which: str, task_id: str) -> None:
    """Show a task, its steps on each host, and what is known of its failure."""
    document = session.client.get(f"{_base(session, which)}/tasks/{task_id}")
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


@install.command()
@click.argument("which", metavar="ENVIRONMENT")
@click.argument("task_id")
@click.option("--search", "q", metavar="TEXT", help="Only what has this text in it.")
@client_command
def logs(session: Session, which: str, task_id: str, q: str | None) -> None:
    """Print what a task's newest job wrote."""
    base, after = _base(session, which), 0
    while True:
        page = session.client.get(f"{base}/tasks/{task_id}/logs", after=after, **({"q": q} if q else {}))
        for item in page["items"]:
            click.echo(
                json.dumps(item) if session.as_json else safe_text.block(item.get("stdout", "")).rstrip()
            )
        if page["next"] is None:
            return
        after = page["next"]


def _act(name: str, purpose: str) -> None:
    @install.command(name, help=purpose)
    @click.argument("which", metavar="ENVIRONMENT")
    @click.argument("task_id")
    @client_command
    def act(session: Session, which: str, task_id: str) -> None:
        document = session.client.post(f"{_base(session, which)}/tasks/{task_id}/{name}")
        if session.as_json:
            output.as_json(document)
        else:
            output.say(f"{document['task_id']} is {document['state']} ({document['status']})")


_act("retry", "Let a failed task go on at the step that failed.")
_act("cancel", "Take a task back; what was done on the hosts stays.")


def _base(session: Session, which: str) -> str:
    return f"/environments/{find_id(session.client, '/environments', which)}/install"


def _body(asked: dict[str, Any]) -> dict[str, Any]:
    body = {**asked, "inputs": pairs(asked["inputs"], "--input") or None}
    return {name: value for name, value in body.items() if value is not None}


def _start(
    session: Session,
    base: str,
    verb: str,
    preview_ref: str | None,
    body: dict[str, Any],
    yes: bool,
    following: tuple[bool, bool],
) -> Outcome:
    if preview_ref is None:
        made = _previewed(session, base, body)
        if not made["preview"]["preview_ref"] or not session.as_json:
            shown = _show_preview(session, made)
            if shown is not Outcome.OK:
                return shown
        if not yes:
            if session.as_json:
                raise click.UsageError("with --json, say --yes: nobody is asked")
            click.confirm("Apply this?", abort=True, err=True)
        preview_ref = made["preview"]["preview_ref"]
    document = session.client.post(f"{base}/{verb}", {"preview_ref": preview_ref})
    return _after(session, base, document, *following)


def _previewed(session: Session, base: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask for a preview and wait until there is one, however long it takes."""
    document: dict[str, Any] = session.client.post(f"{base}/preview", body, headers={"Prefer": "wait=30"})
    while document["status"] == "previewing":
        time.sleep(1.0)
        document = session.client.get(f"{base}/tasks/{document['task_id']}")
    return document


def _show_preview(session: Session, made: dict[str, Any]) -> Outcome:
    document = made["preview"]
    if session.as_json:
        output.as_json(made)
        return Outcome.OK if document["preview_ref"] else Outcome.BLOCKED
    out = output.console()
    where = f"{made['environment']} ({made['runtime_type']}, {made['stage']})"
    output.say(f"task {made['task_id']}: {made['kind']} {where}")
    for name, host in sorted(document["hosts"].items()):
        out.print(Text(f"host {safe_text.line(name)}", style="bold"))
        for step in host.get("plan") or []:
            sign, style = SIGNS.get(str(step.get("action")), ("?", ""))
            said = f"  {sign} {safe_text.line(step.get('step'))}  {safe_text.line(step.get('detail'), 200)}"
            out.print(Text(said.rstrip(), style=style))
    # Its checks, risk and reference are told as a release's are.
    preview_text.preview({**document, "hosts": {}})
    return Outcome.OK if document["preview_ref"] else Outcome.BLOCKED


def _after(
    session: Session, base: str, document: dict[str, Any], is_watched: bool, wait_approval: bool
) -> Outcome:
    is_waiting = document["status"] == "pending_approval"
    if is_watched and (wait_approval or not is_waiting):
        return _watch(session, base, document["task_id"], wait_approval)
    if session.as_json:
        output.as_json(document)
    elif is_waiting:
        output.say(f"{document['task_id']} waits for an approval: ticket {document['approval_ticket']}")
    else:
        output.say(f"{document['task_id']} is {document['status']}")
    return Outcome.WAITING if is_waiting else Outcome.OK


def _watch(session: Session, base: str, task_id: str, wait_approval: bool) -> Outcome:
    from controlplane.cli import follow, progress

    path = f"{base}/tasks/{task_id}"
    document = session.client.get(path)
    with progress.view(f"{document['kind']} {document['environment']}", session.as_json) as view:
        for told in follow.all_events(session.client, f"{path}/timeline/stream"):
            if told.is_end:
                break
            view.show(told.document)
            if told.document["action"] == "environment.install_pending_approval" and not wait_approval:
                document = session.client.get(path)
                if document["status"] == "pending_approval":
                    return Outcome.WAITING
    document = session.client.get(path)
    if not session.as_json:
        output.say(f"{document['task_id']} {document['state']}")
        if document["diagnostics_json"]:
            preview_text.diagnostics(document["diagnostics_json"])
    return of_end(document["state"])
