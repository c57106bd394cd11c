# SPDX-License-Identifier: Apache-2.0
"""Commands of a resource, made from its description: create, list, show, update, delete."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from controlplane.cli import output
from controlplane.cli.client import Client
from controlplane.cli.command import Session, client_command, value_from
from controlplane.cli.outcome import Outcome

# Answers of the API never hold a stored secret, but the answer that makes a token does: it is shown once.
_ALL = 10_000


class NoSuchName(click.ClickException):
    """Nothing that you may see has that name."""

    exit_code = int(Outcome.NOT_FOUND)


@dataclass(frozen=True)
class Field:
    """One member of a resource's body, and its option.

    `kind`: text, whole, switch, words (may be given again), json, secret (read from a file), choice, or ref (id or
    name of a resource under the path `refers_to`).
    """

    member: str
    kind: str = "text"
    option: str = ""
    is_required: bool = False
    can_change: bool = True
    refers_to: str = ""
    choices: Sequence[str] = ()
    purpose: str = ""

    @property
    def flag(self) -> str:
        """The option's name."""
        return self.option or "--" + self.member.removesuffix("_ids").removesuffix("_id").replace("_", "-")


@dataclass(frozen=True)
class Resource:
    """A resource: its path below the API, its id's name, the fields of its body and the columns of its list."""

    name: str
    path: str
    fields: Sequence[Field]
    columns: Sequence[str]
    filters: Sequence[Field] = ()
    has_name: bool = True
    actions: Sequence[str] = ("create", "list", "show", "update", "delete")
    purpose: str = field(default="")


def find_id(client: Client, path: str, word: str, **within: Any) -> str:
    """Return the id of what is meant by an id or a name.

    Raises:
        click.UsageError: no such name, or several have it.
    """
    prefix, underscore, rest = word.partition("_")
    if underscore and len(prefix) == 3 and len(rest) > 20:
        return word
    found = [
        item
        for item in client.pages(path, _ALL, **within)["items"]
        if word in (item.get("name"), item.get("server"))
    ]
    if len(found) == 1:
        return id_of(found[0], path)
    what = path.strip("/")
    if found:
        raise click.UsageError(f"{len(found)} of {what} are called {word!r}: give an id")
    raise NoSuchName(f"there is nothing called {word!r} under {what}")


def id_of(item: dict[str, Any], path: str) -> str:
    """Return the id of an answer, whatever it is called there."""
    own = path.strip("/").rsplit("/", 1)[-1].rstrip("s") + "_id"
    return str(item["id"] if "id" in item else item[own])


def add_commands(group: click.Group, resource: Resource) -> None:
    """Add a resource's commands to its group."""
    makers = {"create": _create, "list": _list, "show": _show, "update": _update, "delete": _delete}
    for action in resource.actions:
        group.add_command(makers[action](resource))


def body_from(client: Client, fields: Sequence[Field], given: dict[str, Any]) -> dict[str, Any]:
    """Return the request body for what was given on the command line: names become ids, files become secrets."""
    body: dict[str, Any] = {}
    within: dict[str, Any] = {}
    for one in fields:
        value = given.get(_parameter(one))
        if value is None or value == ():
            continue
        body[one.member] = value = _read(client, one, value, within)
        if one.member == "project_id":
            within = {"project_id": value}
    return body


def options(fields: Sequence[Field], *, for_update: bool = False) -> Callable[[Any], Any]:
    """Return a decorator that adds the options of these fields."""

    def decorate(function: Any) -> Any:
        for one in reversed(fields):
            if not for_update or one.can_change:
                function = _option(one, one.is_required and not for_update)(function)
        return function

    return decorate


def _option(one: Field, is_required: bool) -> Callable[[Any], Any]:
    purpose = one.purpose
    if one.kind == "switch":
        return click.option(f"{one.flag}/--no-{one.flag[2:]}", _parameter(one), default=None, help=purpose)
    kinds: dict[str, dict[str, Any]] = {
        "text": {},
        "ref": {"metavar": "ID|NAME"},
        "refs": {"metavar": "ID|NAME", "multiple": True},
        "whole": {"type": int},
        "words": {"multiple": True},
        "json": {"metavar": "JSON"},
        "secret": {"type": click.Path(allow_dash=True), "metavar": "FILE"},
        "choice": {"type": click.Choice(list(one.choices))},
    }
    flag = one.flag + "-file" if one.kind == "secret" else one.flag
    if one.kind == "secret":
        purpose = f"{purpose} Read from a file, - for standard input.".strip()
    return click.option(flag, _parameter(one), required=is_required, help=purpose, **kinds[one.kind])


def _parameter(one: Field) -> str:
    return one.member


def _read(client: Client, one: Field, value: Any, within: dict[str, Any]) -> Any:
    if one.kind == "ref":
        return find_id(client, one.refers_to, value, **(within if one.refers_to in _IN_PROJECT else {}))
    if one.kind == "refs":
        return [find_id(client, one.refers_to, word, **within) for word in value]
    if one.kind == "secret":
        return value_from(value)
    if one.kind == "words":
        return list(value)
    if one.kind == "json":
        try:
            return json.loads(value)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint=one.flag) from error
    return value


_IN_PROJECT = frozenset(
    {"/hosts", "/environments", "/services", "/deploy/targets", "/registries", "/clusters"}
)


def _create(resource: Resource) -> click.Command:
    @click.command("create", help=f"Create a {resource.name}.")
    @options(resource.fields)
    @client_command
    def create(session: Session, **given: Any) -> None:
        _print(session, session.client.post(resource.path, body_from(session.client, resource.fields, given)))

    return create


def _list(resource: Resource) -> click.Command:
    @click.command("list", help=f"List each {resource.name} that you may see.")
    @options(resource.filters)
    @click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
    @client_command
    def list_(session: Session, limit: int, **given: Any) -> None:
        page = session.client.pages(
            resource.path, limit, **body_from(session.client, resource.filters, given)
        )
        if session.as_json:
            output.as_json(page)
        else:
            output.table(page["items"], resource.columns, more=bool(page.get("next")))

    return list_


def _show(resource: Resource) -> click.Command:
    @click.command("show", help=f"Show a {resource.name}.")
    @_which(resource)
    @client_command
    def show(session: Session, which: str, **given: Any) -> None:
        _print(session, session.client.get(_address(session.client, resource, which, given)))

    return show


def _update(resource: Resource) -> click.Command:
    changing = [one for one in resource.fields if one.can_change]

    @click.command("update", help=f"Change a {resource.name}; what is not named stays.")
    @_which(resource)
    @options(changing, for_update=True)
    @client_command
    def update(session: Session, which: str, **given: Any) -> None:
        body = body_from(session.client, changing, given)
        if not body:
            raise click.UsageError("nothing to change was named")
        _print(session, session.client.patch(_address(session.client, resource, which, given), body))

    return update


def _delete(resource: Resource) -> click.Command:
    @click.command("delete", help=f"Delete a {resource.name}.")
    @_which(resource)
    @client_command
    def delete(session: Session, which: str, **given: Any) -> None:
        session.client.delete(_address(session.client, resource, which, given))
        if not session.as_json:
            click.echo("deleted", err=True)

    return delete


def _which(resource: Resource) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        if resource.path in _IN_PROJECT:
            function = click.option("--in-project", metavar="ID|NAME", help="Where a name is looked up.")(
                function
            )
        return click.argument("which", metavar="ID|NAME" if resource.has_name else "ID")(function)

    return decorate


def _address(client: Client, resource: Resource, which: str, given: dict[str, Any]) -> str:
    within = {}
    if given.get("in_project"):
        within["project_id"] = find_id(client, "/projects", given["in_project"])
    found = find_id(client, resource.path, which, **within) if resource.has_name else which
    return f"{resource.path}/{found}"


def _print(session: Session, document: Any) -> None:
    if session.as_json:
        output.as_json(document)
    else:
        output.fields(document)
