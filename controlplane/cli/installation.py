# SPDX-License-Identifier: Apache-2.0
"""`tidegate init` and `tidegate db`: what is done on the machine of the server, without it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from controlplane.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path, resolve_path=True)


def home_options(function: Function) -> Function:
    """Give a command `--home` and `--config`."""
    function = click.option(
        "--config", type=_PATH, help="A settings file (TIDEGATE_CONFIG; <home>/tidegate.toml)."
    )(function)
    return click.option("--home", type=_PATH, help="The installation's folder (TIDEGATE_HOME).")(function)


def read_settings(home: Path | None, config: Path | None, listen: str | None = None) -> Settings:
    """Read the installation's settings, options winning.

    Raises:
        click.UsageError: they are not valid.
    """
    from controlplane import settings

    environ = dict(os.environ)
    if home:
        environ["TIDEGATE_HOME"] = str(home)
    if listen:
        environ["TIDEGATE_LISTEN"] = listen
    try:
        return settings.load(environ, config)
    except settings.SettingsError as error:
        raise click.UsageError(str(error)) from error


@click.command()
@home_options
@click.option("--admin", default="admin", show_default=True, help="Name of the first administrator.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print `{home, key_file, user_id, user, token}` as JSON."
)
@click.pass_context
def init(context: click.Context, home: Path | None, config: Path | None, admin: str, as_json: bool) -> None:
    """Make an installation: its folder, its key file (0600), its database and its first administrator.

    The administrator's token is printed once and kept nowhere. Where there are users already, none is made.
    """
    settings = read_settings(home, config)
    as_json = as_json or bool(context.find_root().params.get("as_json"))

    from controlplane.adapters.vault import KeyFileUnsafe, init_keys
    from controlplane.bootstrap import build_core
    from controlplane.services import installation
    from controlplane.store import migrate

    settings.make_folders()
    try:
        init_keys(settings.key_file)
    except FileExistsError:
        pass
    migrate.upgrade(settings.database_url)
    try:
        core = build_core(settings)
    except KeyFileUnsafe as error:
        raise click.ClickException(str(error)) from error
    try:
        first = installation.first_admin(core, admin)
    finally:
        core.queue.close()
    made = {"home": str(settings.home), "key_file": str(settings.key_file), **(first or {})}
    if as_json:
        from controlplane.cli import output

        output.as_json(made)
        return
    click.echo(
        f"home:      {made['home']}\nkey file:  {made['key_file']} (keep a copy: without it, secrets are lost)"
    )
    if first:
        click.echo(f"user:      {first['user']}\ntoken:     {first['token']}   (shown once)")
        click.echo("next:      tidegate serve, then tidegate login")
    else:
        click.echo("there are users already: no administrator was made")


@click.group()
def db() -> None:
    """Bring the database to this version's tables."""


@db.command()
@home_options
def upgrade(home: Path | None, config: Path | None) -> None:
    """Upgrade the database; nothing happens to one that is up to date. Safe to run from many machines at once."""
    settings = read_settings(home, config)

    from controlplane.store import migrate

    if settings.is_sqlite:
        settings.make_folders()
    migrate.upgrade(settings.database_url)
    click.echo(f"the database is at revision {migrate.HEAD}")
