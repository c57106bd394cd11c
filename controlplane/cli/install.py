# SPDX-License-Identifier: Apache-2.0
"""`tidegate environment install`: preview, apply, watch, go on with, and take back an install."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.text import Text

from controlplane.cli import output, preview_text, safe_text, task
from controlplane.cli.command import Session, client_command, pairs
from controlplane.cli.outcome import Outcome
from controlplane.cli.resource import find_id
from controlplane.cli.yaml_file import mapping_in

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
        click.option(
            "--network-entry",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="A YAML file with the `lvs_vip` that is to follow once the cluster is there.",
        ),
        click.option("--runtime-version", help="The newest supported one when left out."),
    ):
        function = option(function)
    return function


@install.command()
@click.argument("which", metavar="ENVIRONMENT")
@_asked
@client_command
def preview(session: Session, which: str, **asked: Any) -> Outcome:
    """Show what an install would do on each host, and what stands in its way. Nothing is changed by asking."""
    return _show_preview(session, task.previewed(session, _base(session, which), _body(asked)))


@install.command()
@click.argument("which", metavar="ENVIRONMENT")
@click.argument("preview_ref", required=False)
@_asked
@task.yes
@task.watched
@task.wait_approval
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
    going = task.Going(yes, is_watched, wait_approval)
    return task.start(
        session, _base(session, which), "apply", preview_ref, _body(asked), going, _show_preview
    )


@install.command()
@click.argument("which", metavar="ENVIRONMENT")
@click.option("--task", "task_id", help="The install to take back; the newest when left out.")
@click.option("--preview-ref", help="A preview of it that was made before.")
@task.yes
@task.watched
@task.wait_approval
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
    """Take back what an install did, the last first, and the installs that came after it.

    What installs before it made stays; an environment goes with its first one.
    """
    body = {"kind": "rollback", **({"task_id": task_id} if task_id else {})}
    going = task.Going(yes, is_watched, wait_approval)
    return task.start(session, _base(session, which), "rollback", preview_ref, body, going, _show_preview)


@install.command("remove")
@click.argument("which", metavar="ENVIRONMENT")
@click.option(
    "--host", "hosts", multiple=True, metavar="HOST", help="A worker, by name or id; may be given again."
)
@click.option("--lost", is_flag=True, help="The hosts are gone: nobody asks them, or waits for their pods.")
@click.option(
    "--drain-seconds", type=click.IntRange(1, 3600), help="How long to wait for pods; 300 when left out."
)
@click.option("--preview-ref", help="A preview of it that was made before.")
@task.yes
@task.watched
@task.wait_approval
@client_command
def remove(
    session: Session,
    which: str,
    hosts: tuple[str, ...],
    lost: bool,
    drain_seconds: int | None,
    preview_ref: str | None,
    yes: bool,
    is_watched: bool,
    wait_approval: bool,
) -> Outcome:
    """Take nodes out of a cluster: drained as far as disruption budgets let them, forgotten, and bare again."""
    if bool(hosts) == (preview_ref is not None):
        raise click.UsageError("name nodes with --host, or a preview of it with --preview-ref")
    ids = [find_id(session.client, "/hosts", host) for host in hosts]
    body: dict[str, Any] = {"kind": "removal", "host_ids": ids, "is_lost": lost}
    if drain_seconds is not None:
        body["inputs"] = {"drain_seconds": drain_seconds}
    going = task.Going(yes, is_watched, wait_approval)
    return task.start(session, _base(session, which), "removal", preview_ref, body, going, _show_preview)


@install.command()
@click.argument("which", metavar="ENVIRONMENT")
@click.argument("task_id")
@client_command
def show(session: Session, which: str, task_id: str) -> None:
    """Show a task, its steps on each host, and what is known of its failure."""
    task.show_task(session, session.client.get(f"{_base(session, which)}/tasks/{task_id}"))


def _base(session: Session, which: str) -> str:
    return f"/environments/{find_id(session.client, '/environments', which)}/install"


task.add_commands(install, _base, "ENVIRONMENT")


def _body(asked: dict[str, Any]) -> dict[str, Any]:
    body = {**asked, "inputs": pairs(asked["inputs"], "--input") or None}
    if asked["network_entry"] is not None:
        body["network_entry"] = {"mode": "lvs_vip", "lvs_vip": mapping_in(asked["network_entry"])}
    return {name: value for name, value in body.items() if value is not None}


def _show_preview(session: Session, made: dict[str, Any]) -> Outcome:
    document = made["preview"]
    if session.as_json:
        output.as_json(made)
        return Outcome.OK if document["preview_ref"] else Outcome.BLOCKED
    out = output.console()
    where = f"{made['environment']} ({made['runtime_type']}, {made['stage']})"
    output.say(f"task {made['task_id']}: {made['kind']} {where}")
    runtime = (document.get("bundle") or {}).get("runtime")
    if runtime:
        version, status = safe_text.line(runtime.get("version")), safe_text.line(runtime.get("status"))
        output.say(
            f"version {version} ({status}) of bundle {safe_text.line(document['bundle'].get('digest'))}"
        )
    for name, host in sorted(document["hosts"].items()):
        out.print(Text(f"host {safe_text.line(name)}", style="bold"))
        for step in host.get("plan") or []:
            sign, style = SIGNS.get(str(step.get("action")), ("?", ""))
            said = f"  {sign} {safe_text.line(step.get('step'))}  {safe_text.line(step.get('detail'), 200)}"
            out.print(Text(said.rstrip(), style=style))
        for pod in (host.get("facts") or {}).get("pods_to_move") or []:
            out.print(Text(f"    moves {safe_text.line(pod)}", style="yellow"))
    # Its checks, risk and reference are told as a release's are.
    preview_text.preview({**document, "hosts": {}})
    return Outcome.OK if document["preview_ref"] else Outcome.BLOCKED
