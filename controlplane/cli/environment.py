# SPDX-License-Identifier: Apache-2.0
"""`tidegate environment`: environments, the roles of their nodes, their installs and whether they are healthy."""

from __future__ import annotations

import time

import click

from controlplane.cli import output, safe_text
from controlplane.cli.command import Session, client_command
from controlplane.cli.install import install
from controlplane.cli.outcome import Outcome
from controlplane.cli.resource import add_commands, find_id
from controlplane.cli.resources import ENVIRONMENTS


@click.group()
def environment() -> None:
    """Environments, and how they are installed."""


add_commands(environment, ENVIRONMENTS)
environment.add_command(install)


@environment.command()
@click.argument("which", metavar="ID|NAME")
@click.option(
    "--node",
    "words",
    multiple=True,
    required=True,
    metavar="HOST[=ROLE]",
    help="A host by name or id, and its role; may be given again. These are all nodes from then on.",
)
@client_command
def nodes(session: Session, which: str, words: tuple[str, ...]) -> None:
    """Say which hosts belong to an environment, and as what."""
    named = []
    for word in words:
        host, _, role = word.partition("=")
        node = {"host_id": find_id(session.client, "/hosts", host)}
        named.append({**node, "role": role} if role else node)
    environment_id = find_id(session.client, "/environments", which)
    document = session.client.put(f"/environments/{environment_id}/nodes", named)
    if session.as_json:
        output.as_json(document)
    else:
        output.table(document["nodes"], ("name", "role", "host_id"))


@environment.command()
@click.argument("which", metavar="ID|NAME")
@client_command
def health(session: Session, which: str) -> Outcome:
    """Ask the hosts whether they do their work; ends with 1 where one does not."""
    environment_id = find_id(session.client, "/environments", which)
    job = session.client.post(f"/environments/{environment_id}/health/check")
    while session.client.get(f"/jobs/{job['job_id']}")["state"] != "done":
        time.sleep(0.5)
    document = session.client.get(f"/environments/{environment_id}")
    found = document["health"]
    if session.as_json:
        output.as_json(document)
    else:
        output.say(f"{document['name']} is {document['status']}")
        for name, host in sorted((found.get("hosts") or {}).items()):
            said = "healthy" if host["healthy"] else f"{host['error_key']}: {host['detail']}"
            output.say(f"  {safe_text.line(name)}: {safe_text.line(said)}")
    return Outcome.OK if found.get("healthy") else Outcome.RELEASE_FAILED
