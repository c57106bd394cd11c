# SPDX-License-Identifier: Apache-2.0
"""`tidegate login`: remember a server and a token."""

from __future__ import annotations

import os

import click

from controlplane.cli import login_file
from controlplane.cli.client import ApiProblem, Client, Unreachable
from controlplane.cli.outcome import Outcome


@click.command()
@click.argument("url", default=login_file.DEFAULT_URL)
@click.option(
    "--token-file", type=click.Path(allow_dash=True), help="Read the token from a file, - for standard input."
)
@click.pass_context
def login(context: click.Context, url: str, token_file: str | None) -> None:
    """Try a token on a server and keep both for later commands, in a file that only you can read."""
    if not url.startswith(("http://", "https://")):
        raise click.UsageError("URL must begin with http:// or https://")
    if token_file:
        with click.open_file(token_file) as opened:
            token = opened.read().strip()
    else:
        token = click.prompt("Token", hide_input=True).strip()
    chosen = login_file.Login(url.rstrip("/"), token)
    client = Client(chosen)
    try:
        client.get("/me")
    except ApiProblem as problem:
        click.echo(f"the server refuses it: {problem}", err=True)
        context.exit(Outcome.REFUSED)
    except Unreachable as error:
        click.echo(str(error), err=True)
        context.exit(Outcome.CONNECTION)
    finally:
        client.close()
    click.echo(f"kept in {login_file.save(os.environ, chosen)}")
