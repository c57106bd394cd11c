# SPDX-License-Identifier: Apache-2.0
"""`tidegate serve` and `tidegate worker`: the processes of an installation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controlplane.cli.installation import home_options, read_settings

if TYPE_CHECKING:
    from controlplane.settings import Settings


@click.command()
@home_options
@click.option("--listen", metavar="ADDRESS:PORT", help="Where to answer (127.0.0.1:8080).")
@click.option(
    "--workers/--no-workers",
    "with_workers",
    default=None,
    help="Whether to run workers beside the server; by default on SQLite only.",
)
def serve(home: Path | None, config: Path | None, listen: str | None, with_workers: bool | None) -> None:
    """Run the server until SIGTERM or Ctrl-C."""
    settings = read_settings(home, config, listen=listen)
    if with_workers is None:
        with_workers = settings.is_sqlite
    has_workers = with_workers and settings.workers > 0

    from controlplane.adapters.vault import KeyFileUnsafe
    from controlplane.api.serve import serve as serve_until_stopped

    try:
        serve_until_stopped(settings, _spawner(settings) if has_workers else None)
    except (KeyFileUnsafe, OSError) as error:
        raise click.ClickException(str(error)) from error


@click.command()
@home_options
def worker(home: Path | None, config: Path | None) -> None:
    """Run a worker until SIGTERM or Ctrl-C; on PostgreSQL, on as many machines as wanted."""
    settings = read_settings(home, config)

    from controlplane.adapters.vault import KeyFileUnsafe
    from controlplane.worker import process

    try:
        process.main(settings)
    except KeyFileUnsafe as error:
        raise click.ClickException(str(error)) from error


def _spawner(settings: Settings) -> Callable[[], Callable[[], None]]:
    def spawn() -> Callable[[], None]:
        from controlplane.worker import keeper

        return keeper.keep(settings)

    return spawn
