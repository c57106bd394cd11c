# SPDX-License-Identifier: Apache-2.0
"""`tidegate artifact`: image archives, kept once by content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from controlplane.cli import output
from controlplane.cli.client import Client
from controlplane.cli.command import Session, client_command
from controlplane.cli.resource import Resource, add_commands, find_id
from controlplane.cli.resources import IN_PROJECT

CHUNK = 1024 * 1024
ARTIFACTS = Resource(
    "artifact",
    "/artifacts",
    (),
    ("id", "size", "media", "references"),
    filters=(IN_PROJECT,),
    has_name=False,
    actions=("list", "show", "delete"),
)


@click.group()
def artifact() -> None:
    """Image archives."""


add_commands(artifact, ARTIFACTS)


@artifact.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--project", required=True, metavar="ID|NAME")
@client_command
def push(session: Session, file: Path, project: str) -> None:
    """Send a docker or OCI archive; its digest is computed here and checked there."""
    document = send(session.client, file, find_id(session.client, "/projects", project))
    if session.as_json:
        output.as_json(document)
    else:
        output.fields(document)


@artifact.command()
@client_command
def gc(session: Session) -> None:
    """Remove archives that nothing uses any more."""
    document = session.client.post("/artifacts/gc")
    if session.as_json:
        output.as_json(document)
    else:
        output.fields(document)


def send(client: Client, file: Path, project_id: str) -> dict[str, Any]:
    """Stream an archive to the server and return its artifact. Memory stays the same however large it is."""
    digest = hashlib.sha256()
    for chunk in _chunks(file):
        digest.update(chunk)
    query = {"project_id": project_id, "digest": f"sha256:{digest.hexdigest()}"}
    answer: dict[str, Any] = client.upload("/artifacts", _chunks(file), file.stat().st_size, query)
    return answer


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            yield chunk
