# SPDX-License-Identifier: Apache-2.0
"""What all bundle commands share: `--json`, exit codes, progress. None of them talks to a server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from controlplane.cli.bundle_outcome import of_keys

Function = TypeVar("Function", bound=Callable[..., Any])
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


def bundle_command(function: Function) -> Function:
    """Give a command `--json`; end it with the documented exit codes. It returns (document, exit code, text)."""

    @click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
    @wraps(function)
    def run(*args: Any, as_json: bool, **kwargs: Any) -> None:
        from controlplane.cli import output
        from controlplane.domain.errors import Problem

        context = click.get_current_context()
        as_json = as_json or bool(context.find_root().params.get("as_json"))
        try:
            document, code, text = function(*args, **kwargs)
        except Problem as problem:
            (output.as_json if as_json else output.problem)(problem.document())
            context.exit(of_keys([problem.error_key]))
        except OSError as error:
            raise click.ClickException(str(error)) from error
        if as_json:
            output.as_json(document)
        else:
            output.block(text)
        context.exit(code)

    return run  # type: ignore[return-value]


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` bytes are done, on a terminal's standard error only; yields what is told of more."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True, markup=False), transient=True) as shown:
        task = shown.add_task(what, total=total)
        yield lambda count: shown.advance(task, count)


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def folder_size(folder: Path) -> int:
    """Return how many bytes a folder's files have; 0 where it cannot be read."""
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file() and not one.is_symlink())
