# SPDX-License-Identifier: Apache-2.0
"""What all commands share: `--json`, the client, and problems turned into exit codes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import click

from controlplane.cli.client import ApiProblem, Client, Unreachable
from controlplane.cli.login_file import find
from controlplane.cli.outcome import Outcome, of_problem

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass
class Session:
    """One run of the command line: which server, and for whom the output is."""

    client: Client
    as_json: bool


def client_command(function: Function) -> Function:
    """Give a command `--json` and, as its first argument, a Session; end it with the documented exit codes."""

    @click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
    @wraps(function)
    def run(*args: Any, as_json: bool, **kwargs: Any) -> Any:
        context = click.get_current_context()
        given = context.find_root().params
        client = Client(find(os.environ, given.get("url")))
        as_json = as_json or bool(given.get("as_json"))
        try:
            outcome = function(Session(client, as_json), *args, **kwargs)
        except ApiProblem as problem:
            _show(problem, as_json)
            context.exit(of_problem(problem.status))
        except Unreachable as error:
            click.echo(
                f"{error}\n  hint: is `tidegate serve` running there? --url, TIDEGATE_URL or `tidegate login`",
                err=True,
            )
            context.exit(Outcome.CONNECTION)
        finally:
            client.close()
        context.exit(outcome if isinstance(outcome, Outcome) else Outcome.OK)

    return run  # type: ignore[return-value]


def _show(problem: ApiProblem, as_json: bool) -> None:
    from controlplane.cli import output

    if as_json:
        output.as_json(problem.document)
    else:
        output.problem(problem.document)


def pairs(values: tuple[str, ...], what: str) -> dict[str, Any]:
    """Read `name=value` words; `name:=value` takes the value as JSON.

    Raises:
        click.BadParameter: a word that is neither.
    """
    read: dict[str, Any] = {}
    for word in values:
        name, equals, value = word.partition("=")
        if not equals or not name.rstrip(":"):
            raise click.BadParameter(f"{word!r}: expected NAME=TEXT or NAME:=JSON", param_hint=what)
        read[name.rstrip(":")] = typed(value, what) if name.endswith(":") else value
    return read


def pairs_of_files(values: tuple[str, ...], what: str) -> dict[str, Any]:
    """Read `name=file` words, each value from its file (`-` for standard input); `name:=file` takes it as JSON.

    Raises:
        click.UsageError: a word that is neither, a file that cannot be read, or one that is no JSON.
    """
    read: dict[str, Any] = {}
    for word in values:
        name, equals, file = word.partition("=")
        if not equals or not name.rstrip(":") or not file:
            raise click.BadParameter(f"{word!r}: expected NAME=FILE or NAME:=FILE", param_hint=what)
        text = value_from(file)
        read[name.rstrip(":")] = typed(text, what) if name.endswith(":") else text
    return read


def typed(text: str, what: str) -> Any:
    """Read a value as JSON. Raises click.BadParameter, which does not repeat it: it may be secret."""
    import json

    try:
        return json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"the value is no JSON: {error}", param_hint=what) from None


def value_from(file: str) -> str:
    """Read a value from a file, `-` for standard input, without its last line break: that is an accident of the
    editor, but keys need theirs."""
    text = secret_from(file) or ""
    return text if "PRIVATE KEY" in text else text.rstrip("\r\n")


def secret_from(file: str | None) -> str | None:
    """Read a secret from a file, `-` for standard input; a secret is never an argument, where `ps` shows it.

    Raises:
        click.UsageError: the file cannot be read.
    """
    if file is None:
        return None
    try:
        with click.open_file(file) as opened:
            return str(opened.read())
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{file}: is no text") from error
