# SPDX-License-Identifier: Apache-2.0
"""`tidegate service variable`: values of a service's variables, by environment or target."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import click

from controlplane.cli import output
from controlplane.cli.client import Client
from controlplane.cli.command import Session, client_command, typed, value_from
from controlplane.cli.resource import find_id

COLUMNS = ("name", "scope_type", "scope_id", "value", "is_secret", "updated_at")


@click.group()
def variable() -> None:
    """Values of a service's variables, by environment or target. A target's goes before its environment's."""


def _scoped(function: Any) -> Any:
    for option in (
        click.option("--target", metavar="ID|NAME", help="For this target."),
        click.option("--environment", metavar="ID|NAME", help="For all targets of this environment."),
    ):
        function = option(function)
    return function


@variable.command("set")
@click.argument("which", metavar="SERVICE")
@click.argument("name")
@_scoped
@click.option("--value", help="The value, of a variable that is not secret.")
@click.option(
    "--value-file",
    type=click.Path(allow_dash=True),
    metavar="FILE",
    help="Read the value from a file, - for standard input: the way for secret ones.",
)
@click.option("--typed", "is_typed", is_flag=True, help="The value is JSON: a number, true or false.")
@client_command
def set_(
    session: Session,
    which: str,
    name: str,
    environment: str | None,
    target: str | None,
    value: str | None,
    value_file: str | None,
    is_typed: bool,
) -> None:
    """Set variable NAME of SERVICE for an environment or a target."""
    if (value is None) == (value_file is None):
        raise click.UsageError("give the value by --value-file, or by --value when it is not secret")
    service_id = find_id(session.client, "/services", which)
    if value is not None and _is_secret(session.client, service_id, name):
        raise click.UsageError(f"{name} is secret: arguments are shown by ps, so give it by --value-file")
    text = value if value is not None else value_from(str(value_file))
    body = {
        **_scope(session.client, service_id, environment, target),
        "name": name,
        "value": typed(text, "--typed") if is_typed else text,
    }
    document = session.client.put(f"/services/{service_id}/variables", body)
    if session.as_json:
        output.as_json(document)
    else:
        output.fields(document)


@variable.command("list")
@click.argument("which", metavar="SERVICE")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@client_command
def list_(session: Session, which: str, limit: int) -> None:
    """List the values of SERVICE's variables; of secret ones only that they are there."""
    service_id = find_id(session.client, "/services", which)
    page = session.client.pages(f"/services/{service_id}/variables", limit)
    if session.as_json:
        output.as_json(page)
        return
    rows = [
        {**item, "value": None if item["is_secret"] else json.dumps(item["value"])} for item in page["items"]
    ]
    output.table(rows, COLUMNS, more=bool(page.get("next")))


@variable.command()
@click.argument("which", metavar="SERVICE")
@click.argument("name")
@_scoped
@client_command
def delete(session: Session, which: str, name: str, environment: str | None, target: str | None) -> None:
    """Remove the value of variable NAME of SERVICE for an environment or a target."""
    service_id = find_id(session.client, "/services", which)
    meant = {**_scope(session.client, service_id, environment, target), "name": name}
    session.client.delete(f"/services/{service_id}/variables?{urlencode(meant)}")
    if not session.as_json:
        click.echo("deleted", err=True)


def _scope(client: Client, service_id: str, environment: str | None, target: str | None) -> dict[str, str]:
    if (environment is None) == (target is None):
        raise click.UsageError("give one of --environment and --target")
    project_id = client.get(f"/services/{service_id}")["project_id"]
    if environment is not None:
        found = find_id(client, "/environments", environment, project_id=project_id)
        return {"scope_type": "environment", "scope_id": found}
    found = find_id(client, "/deploy/targets", str(target), project_id=project_id)
    return {"scope_type": "target", "scope_id": found}


def _is_secret(client: Client, service_id: str, name: str) -> bool:
    """Say whether the newest version that has the variable keeps it secret."""
    for version in client.pages(f"/services/{service_id}/versions")["items"]:
        if name in version["variable_schema"]:
            return bool(version["variable_schema"][name].get("secret"))
    return False
