# SPDX-License-Identifier: Apache-2.0
"""`tidegate target`: where a service is released, and what runs there."""

from __future__ import annotations

import time

import click

from controlplane.cli import output
from controlplane.cli.command import Session, client_command
from controlplane.cli.outcome import Outcome
from controlplane.cli.resource import Field, Resource, add_commands, find_id
from controlplane.cli.resources import IN_PROJECT, NAME, PROJECT

TARGETS = Resource(
    "target",
    "/deploy/targets",
    (
        PROJECT,
        NAME,
        Field("environment_id", "ref", refers_to="/environments", is_required=True, can_change=False),
        Field(
            "host_ids",
            "refs",
            refers_to="/hosts",
            option="--host",
            purpose="May be given again; every node of a Compose environment when left out.",
        ),
        Field("cluster_id", "ref", refers_to="/clusters", purpose="In a Kubernetes environment."),
        Field("namespace", purpose="Where releases go in the cluster."),
        Field(
            "cluster_scoped",
            "switch",
            purpose="Whether releases may hold objects that are in no namespace, and make the namespace.",
        ),
    ),
    ("id", "name", "runtime_type", "namespace", "status_at"),
    filters=(IN_PROJECT,),
)


POLL_SECONDS = 0.3


@click.group()
def target() -> None:
    """Targets: where a service is released."""


add_commands(target, TARGETS)


@target.command()
@click.argument("which", metavar="ID|NAME")
@client_command
def status(session: Session, which: str) -> None:
    """Show what runs on a target, and which release it came from."""
    target_id = find_id(session.client, "/deploy/targets", which)
    document = session.client.get(f"/deploy/targets/{target_id}/status")
    if session.as_json:
        output.as_json(document)
    else:
        output.fields(document)


@target.command()
@click.argument("which", metavar="ID|NAME")
@click.option("--timeout", type=click.IntRange(1), default=300, show_default=True, help="Seconds to wait.")
@client_command
def drift(session: Session, which: str, timeout: int) -> Outcome:
    """Compare what is there with what was released; changes nothing.

    Ends with 1 where something differs, with 9 where it could not be looked at.
    """
    target_id = find_id(session.client, "/deploy/targets", which)
    job_id = session.client.post(f"/deploy/targets/{target_id}/drift")["job_id"]
    until = time.monotonic() + timeout
    while (job := session.client.get(f"/jobs/{job_id}"))["state"] != "done":
        if time.monotonic() > until:
            raise click.ClickException(f"job {job_id} has not ended within {timeout} s")
        time.sleep(POLL_SECONDS)
    document = session.client.get(f"/deploy/targets/{target_id}/status")
    if session.as_json:
        output.as_json(document)
    else:
        output.table(document["drift"], ("host", "service", "action", "changes", "release"))
    if job["outcome"] != "succeeded":
        output.say(f"not everything could be looked at: {job['outcome']}")
        return Outcome.SERVER
    return Outcome.RELEASE_FAILED if document["drift"] else Outcome.OK
