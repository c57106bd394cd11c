# SPDX-License-Identifier: Apache-2.0
"""`tidegate host`: hosts, and looking at their key before trusting it."""

from __future__ import annotations

import click

from controlplane.cli import output, safe_text
from controlplane.cli.command import Session, client_command
from controlplane.cli.outcome import Outcome
from controlplane.cli.resource import Field, Resource, add_commands, find_id
from controlplane.cli.resources import IN_PROJECT, NAME, PROJECT

HOSTS = Resource(
    "host",
    "/hosts",
    (
        PROJECT,
        NAME,
        Field("address", is_required=True),
        Field("port", "whole"),
        Field("user", is_required=True),
        Field("private_key", "secret"),
        Field("password", "secret"),
        Field("become", "switch", purpose="Whether to become root with sudo."),
        Field("become_password", "secret"),
        Field("jump_host_id", "ref", refers_to="/hosts", option="--jump-host"),
    ),
    ("id", "name", "address", "user", "host_key_status"),
    filters=(IN_PROJECT,),
)


@click.group()
def host() -> None:
    """Hosts, and their keys."""


add_commands(host, HOSTS)


@host.command()
@click.argument("which", metavar="ID|NAME")
@click.option(
    "--fingerprint", help="Trust without asking, but only the key that has this fingerprint (SHA256:...)."
)
@client_command
def trust(session: Session, which: str, fingerprint: str | None) -> Outcome:
    """Fetch a host's key, show its fingerprint, and pin it once you say that it is the right one."""
    host_id = find_id(session.client, "/hosts", which)
    seen = session.client.post(f"/hosts/{host_id}/host-key/fetch")
    found = str(seen["fingerprint"])
    if fingerprint is None:
        click.echo(f"{safe_text.line(seen.get('key_type', 'key'))} {safe_text.line(found)}", err=True)
        click.confirm("Is this the fingerprint on the host's console?", abort=True, err=True)
    elif fingerprint != found:
        click.echo(f"the host shows {safe_text.line(found)}: nothing was pinned", err=True)
        return Outcome.REFUSED
    document = session.client.post(f"/hosts/{host_id}/host-key/confirm", {"fingerprint": found})
    if session.as_json:
        output.as_json(document)
    else:
        click.echo(f"{safe_text.line(document['name'])} is pinned to {safe_text.line(found)}")
    return Outcome.OK
