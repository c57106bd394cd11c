# SPDX-License-Identifier: Apache-2.0
"""`tidegate audit`: proof of what happened."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from controlplane.cli import output, safe_text
from controlplane.cli.command import Session, client_command
from controlplane.cli.outcome import Outcome


@click.group()
def audit() -> None:
    """Check, print and export the chain of events."""


@audit.command()
@client_command
def head(session: Session) -> None:
    """Print the newest event's place and hash, to be kept elsewhere."""
    document = session.client.get("/audit/head")
    if session.as_json:
        output.as_json(document)
    else:
        output.say(f"{document['seq']} {document['hash']}")


@audit.command()
@client_command
def verify(session: Session) -> Outcome:
    """Walk the whole chain; ends with 1 where it is broken."""
    document = session.client.get("/audit/verify")
    if session.as_json:
        output.as_json(document)
    elif document["is_intact"]:
        output.say(f"intact: {document['events']} events")
    else:
        output.say(f"broken at event {document['first_break']}")
    return Outcome.OK if document["is_intact"] else Outcome.RELEASE_FAILED


@audit.command()
@click.option(
    "--output", "goal", type=click.Path(dir_okay=False, path_type=Path), help="A file, made with mode 0600."
)
@client_command
def export(session: Session, goal: Path | None) -> None:
    """Copy all events with their hashes, one JSON document a line."""
    lines = session.client.lines("/audit/export")
    if goal is None:
        for line in lines:
            # Piped on, each line is byte for byte what was hashed; a terminal gets it made harmless.
            click.echo(safe_text.line(line, len(line) + 1) if sys.stdout.isatty() else line)
        return
    with open(os.open(goal, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        for line in lines:
            file.write(line + "\n")
