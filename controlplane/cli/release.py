# SPDX-License-Identifier: Apache-2.0
"""`tidegate release`: preview, apply, watch and roll back."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from controlplane.cli import output, preview_text
from controlplane.cli.command import Session, client_command, pairs, pairs_of_files
from controlplane.cli.outcome import Outcome, of_end
from controlplane.cli.resource import find_id

BASE = "/deploy/releases"
COLUMNS = (
    "release_id",
    "service",
    "service_version",
    "target",
    "status",
    "created_by_name",
)
_STRATEGIES = click.Choice(["rolling", "blue_green", "canary"])


@click.group()
def release() -> None:
    """Preview, apply, watch and roll back."""


def _asked(function: Any) -> Any:
    for option in (
        click.option(
            "--param", "params", multiple=True, metavar="NAME:=JSON", help="A parameter of the strategy."
        ),
        click.option("--strategy", type=_STRATEGIES),
        click.option(
            "--var",
            "variables",
            multiple=True,
            metavar="NAME=TEXT",
            help="A variable (NAME:=JSON for other types).",
        ),
        click.option(
            "--var-file",
            "files",
            multiple=True,
            metavar="NAME=FILE",
            help="A variable read from a file, - for standard input: the way for secret ones (NAME:=FILE for JSON).",
        ),
        click.option("--version", help="The service's version; the newest when left out."),
        click.option("--service", help="Name or id of the service."),
        click.option("--target", help="Name or id of the target."),
    ):
        function = option(function)
    return function


def _body(session: Session, asked: dict[str, Any]) -> dict[str, Any]:
    target = asked["target"]
    body = {
        "target_id": find_id(session.client, "/deploy/targets", target) if target else None,
        "service": asked["service"],
        "version": asked["version"],
        "strategy": asked["strategy"],
    }
    body["variables"] = _variables(asked) or None
    body["strategy_params"] = pairs(asked["params"], "--param") or None
    return {name: value for name, value in body.items() if value is not None}


def _variables(asked: dict[str, Any]) -> dict[str, Any]:
    given = pairs(asked["variables"], "--var")
    read = pairs_of_files(asked["files"], "--var-file")
    twice = sorted(given.keys() & read.keys())
    if twice:
        raise click.UsageError(f"{', '.join(twice)}: give it by --var or by --var-file, not by both")
    return {**given, **read}


@release.command()
@_asked
@client_command
def preview(session: Session, **asked: Any) -> Outcome:
    """Show what a release would change. Nothing is changed by asking."""
    if not asked["target"] or not asked["service"]:
        raise click.UsageError("--target and --service are needed")
    return _show_preview(session, _previewed(session, f"{BASE}/preview", _body(session, asked)))


@release.command()
@click.argument("preview_ref", required=False)
@_asked
@click.option("--yes", is_flag=True, help="Do not ask before applying a preview that was just made.")
@click.option("--watch/--no-watch", "is_watched", default=True, help="Follow it to its end (the default).")
@click.option(
    "--wait-approval/--no-wait-approval", default=False, help="Go on watching while it waits for an approval."
)
@client_command
def apply(
    session: Session, preview_ref: str | None, yes: bool, is_watched: bool, wait_approval: bool, **asked: Any
) -> Outcome:
    """Apply a preview: PREVIEW_REF, or with --target and --service one that is made and shown now.

    Ends with 6 while it waits for an approval, unless --wait-approval.
    """
    if preview_ref is None:
        if not asked["target"] or not asked["service"]:
            raise click.UsageError("give a PREVIEW_REF, or --target and --service")
        made = _previewed(session, f"{BASE}/preview", _body(session, asked))
        shown = _confirm(session, made, yes)
        if shown is not Outcome.OK:
            return shown
        preview_ref = made["preview"]["preview_ref"]
        document = session.client.post(f"{BASE}/apply", {"preview_ref": preview_ref})
    else:
        document = session.client.post(f"{BASE}/apply", {"preview_ref": preview_ref, **_body(session, asked)})
    return _after(session, document, is_watched, wait_approval)


@release.command()
@click.argument("release_id")
@click.option(
    "--to",
    "to_release_id",
    help="The release to go back to; the newest verified one before it when left out.",
)
@click.option(
    "--force-conflicts",
    is_flag=True,
    help="Take over the fields that others changed since, in a cluster; the preview shows which, and whose they are.",
)
@click.option("--preview-ref", help="A rollback preview that was made before.")
@click.option("--preview-only", is_flag=True, help="Show what it would change and stop.")
@click.option("--yes", is_flag=True, help="Do not ask before applying the preview.")
@click.option("--watch/--no-watch", "is_watched", default=True, help="Follow it to its end (the default).")
@click.option(
    "--wait-approval/--no-wait-approval", default=False, help="Go on watching while it waits for an approval."
)
@client_command
def rollback(
    session: Session,
    release_id: str,
    to_release_id: str | None,
    force_conflicts: bool,
    preview_ref: str | None,
    preview_only: bool,
    yes: bool,
    is_watched: bool,
    wait_approval: bool,
) -> Outcome:
    """Undo a release: preview going back, then apply that. The rollback is a release of its own."""
    if preview_ref is not None and (to_release_id or force_conflicts):
        raise click.UsageError(
            "--to and --force-conflicts are for a preview that is made now: leave --preview-ref out"
        )
    if preview_ref is None:
        body: dict[str, Any] = {"to_release_id": to_release_id} if to_release_id else {}
        if force_conflicts:
            body["force_conflicts"] = True
        made = _previewed(session, f"{BASE}/{release_id}/rollback/preview", body)
        if preview_only:
            return _show_preview(session, made)
        shown = _confirm(session, made, yes)
        if shown is not Outcome.OK:
            return shown
        preview_ref = made["preview"]["preview_ref"]
    document = session.client.post(f"{BASE}/{release_id}/rollback", {"preview_ref": preview_ref})
    return _after(session, document, is_watched, wait_approval)


@release.command()
@click.argument("release_id")
@click.option(
    "--wait-approval/--no-wait-approval",
    default=True,
    help="Whether to go on while it waits for an approval.",
)
@client_command
def watch(session: Session, release_id: str, wait_approval: bool) -> Outcome:
    """Follow a release to its end; the exit code is its outcome."""
    return _watch(session, release_id, wait_approval)


@release.command()
@click.argument("release_id")
@client_command
def show(session: Session, release_id: str) -> None:
    """Show a release, and what is known of its failure."""
    document = session.client.get(f"{BASE}/{release_id}")
    if session.as_json:
        return output.as_json(document)
    output.fields(document, ("diagnostics_json", "jobs"))
    if document["diagnostics_json"]:
        preview_text.diagnostics(document["diagnostics_json"])
    return None


@release.command("list")
@click.option("--target")
@click.option("--environment")
@click.option("--service")
@click.option(
    "--state",
    "lifecycle_state",
    help="preview pending_approval approved applying applied failed rollback ...",
)
@click.option("--created-by")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@client_command
def list_(session: Session, limit: int, **filters: Any) -> None:
    """List releases, newest first."""
    page = session.client.pages(BASE, limit, **filters)
    if session.as_json:
        output.as_json(page)
    else:
        output.table(page["items"], COLUMNS, more=bool(page.get("next")))


@release.command()
@click.argument("release_id")
@client_command
def timeline(session: Session, release_id: str) -> None:
    """Print what happened to a release so far."""
    from controlplane.cli import progress

    after = 0
    shows = progress.JsonLines() if session.as_json else progress.PlainLines()
    while True:
        page = session.client.get(f"{BASE}/{release_id}/timeline", after=after)
        for event in page["items"]:
            shows.show(event)
        if page["next"] is None:
            return
        after = page["next"]


@release.command()
@click.argument("release_id")
@client_command
def logs(session: Session, release_id: str) -> None:
    """Print what the newest job of a release wrote."""
    from controlplane.cli import safe_text

    after = 0
    while True:
        page = session.client.get(f"{BASE}/{release_id}/logs", after=after)
        if session.as_json:
            for item in page["items"]:
                click.echo(json.dumps(item))
        else:
            for item in page["items"]:
                click.echo(safe_text.block(item.get("stdout", "")).rstrip())
        if page["next"] is None:
            return
        after = page["next"]


def _act(name: str, purpose: str) -> None:
    @release.command(name, help=purpose)
    @click.argument("release_id")
    @client_command
    def act(session: Session, release_id: str) -> None:
        document = session.client.post(f"{BASE}/{release_id}/{name}")
        if session.as_json:
            output.as_json(document)
        else:
            output.say(f"{document['release_id']} is {document['lifecycle_state']} ({document['status']})")


_act("cancel", "Cancel a release; work on the hosts is ended too.")
_act("promote", "Let a paused canary go on to the rest.")
_act("abort", "Take a paused canary back.")


def _previewed(session: Session, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask for a preview and wait until there is one, however long it takes."""
    document: dict[str, Any] = session.client.post(path, body, headers={"Prefer": "wait=30"})
    while document["status"] == "previewing":
        time.sleep(1.0)
        release_id = document["release_id"]
        document = session.client.get(f"{BASE}/{release_id}")
        if document["status"] != "previewing":
            document["preview"] = session.client.get(f"{BASE}/{release_id}/preview")
    return document


def _show_preview(session: Session, made: dict[str, Any]) -> Outcome:
    if session.as_json:
        output.as_json(made)
    else:
        what = f"{made['service']} {made['service_version']} to {made['target']} ({made['stage']})"
        output.say(f"release {made['release_id']}: {what}")
        preview_text.preview(made["preview"])
        if made.get("diagnostics_json"):
            preview_text.diagnostics(made["diagnostics_json"])
    return Outcome.OK if made["preview"]["preview_ref"] else Outcome.BLOCKED


def _confirm(session: Session, made: dict[str, Any], yes: bool) -> Outcome:
    """Show a preview that was just made and ask; scripts say --yes."""
    if not session.as_json:
        outcome = _show_preview(session, made)
    else:
        outcome = Outcome.OK if made["preview"]["preview_ref"] else _show_preview(session, made)
    if outcome is Outcome.OK and not yes:
        if session.as_json:
            raise click.UsageError("with --json, say --yes: nobody is asked")
        click.confirm("Apply this?", abort=True, err=True)
    return outcome


def _after(session: Session, document: dict[str, Any], is_watched: bool, wait_approval: bool) -> Outcome:
    """Show an accepted apply and follow it, or say what it waits for."""
    is_waiting = document["lifecycle_state"] == "pending_approval"
    if is_watched and (wait_approval or not is_waiting):
        return _watch(session, document["release_id"], wait_approval)
    if session.as_json:
        output.as_json(document)
    elif is_waiting:
        output.say(f"{document['release_id']} waits for an approval: ticket {document['approval_ticket']}")
    else:
        output.say(
            f"{document['release_id']} is {document['status']}: tidegate release watch {document['release_id']}"
        )
    return Outcome.WAITING if is_waiting else Outcome.OK


def _watch(session: Session, release_id: str, wait_approval: bool) -> Outcome:
    from controlplane.cli import follow, progress

    document = session.client.get(f"{BASE}/{release_id}")
    title = f"{document['service']} {document['service_version']} to {document['target']}"
    with progress.view(title, session.as_json) as view:
        for told in follow.release_events(session.client, release_id):
            if told.is_end:
                break
            view.show(told.document)
            if told.document["action"] == "release.pending_approval" and not wait_approval:
                document = session.client.get(f"{BASE}/{release_id}")
                if document["lifecycle_state"] == "pending_approval":
                    return Outcome.WAITING
    document = session.client.get(f"{BASE}/{release_id}")
    if not session.as_json:
        output.say(f"{document['release_id']} {document['lifecycle_state']}")
        if document["diagnostics_json"]:
            preview_text.diagnostics(document["diagnostics_json"])
    return of_end(document["lifecycle_state"])
