# SPDX-License-Identifier: Apache-2.0
"""`tidegate service`: services, and versions of them from a folder with a `service.yml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from controlplane.cli import artifact, output
from controlplane.cli.command import Session, client_command
from controlplane.cli.resource import Field, Resource, add_commands, find_id
from controlplane.cli.resources import IN_PROJECT, NAME, PROJECT
from controlplane.cli.variable import variable
from controlplane.cli.yaml_file import mapping_in

SERVICES = Resource(
    "service",
    "/services",
    (
        PROJECT,
        NAME,
        Field("runtime_type", "choice", choices=("compose", "k8s"), option="--runtime", can_change=False),
    ),
    ("id", "name", "runtime_type"),
    filters=(IN_PROJECT,),
)
# member of service.yml -> member of the request
MEMBERS = ("version", "strategy", "strategy_params", "health_timeout", "prune_kinds")
# What a version is written in: a compose file when none of them is named.
WRITTEN = ("compose", "manifests", "kustomization")


@click.group()
def service() -> None:
    """Services and their versions."""


add_commands(service, SERVICES)
service.add_command(variable)


@service.group()
def version() -> None:
    """A service's versions. They never change once they are made."""


@version.command()
@click.argument("which", metavar="SERVICE")
@click.argument("definition", type=click.Path(exists=True, path_type=Path))
@click.option("--version", "number", help="In place of the file's `version`.")
@client_command
def add(session: Session, which: str, definition: Path, number: str | None) -> None:
    """Make a version from DEFINITION: a `service.yml`, or the folder that holds one.

    Image archives that it names are pushed first.
    """
    service_id = find_id(session.client, "/services", which)
    project_id = session.client.get(f"/services/{service_id}")["project_id"]
    file = definition / "service.yml" if definition.is_dir() else definition
    content = read_definition(file)
    if number:
        content["version"] = number
    body: dict[str, Any] = {name: content[name] for name in MEMBERS if name in content}
    for name in ("template", "kustomization"):
        if name in content:
            body[name] = content[name]
    body["variable_schema"] = content.get("variables", {})
    body["images"] = [
        {
            "reference": image["reference"],
            "artifact": artifact.send(session.client, file.parent / image["archive"], project_id)["digest"],
        }
        for image in content.get("images", [])
    ]
    document = session.client.post(f"/services/{service_id}/versions", body)
    if session.as_json:
        output.as_json(document)
    else:
        output.fields(document, ("template", "kustomization", "variable_schema"))


@version.command("list")
@click.argument("which", metavar="SERVICE")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@client_command
def list_(session: Session, which: str, limit: int) -> None:
    """List a service's versions."""
    service_id = find_id(session.client, "/services", which)
    page = session.client.pages(f"/services/{service_id}/versions", limit)
    if session.as_json:
        output.as_json(page)
    else:
        output.table(
            page["items"], ("version", "strategy", "digest", "created_at"), more=bool(page.get("next"))
        )


@version.command()
@click.argument("which", metavar="SERVICE")
@click.argument("number", metavar="VERSION")
@client_command
def delete(session: Session, which: str, number: str) -> None:
    """Delete a version that was never released nor previewed."""
    service_id = find_id(session.client, "/services", which)
    session.client.delete(f"/services/{service_id}/versions/{quote(number, safe='')}")
    if not session.as_json:
        click.echo("deleted", err=True)


def read_definition(file: Path) -> dict[str, Any]:
    """Read a `service.yml`, with the text of its compose file or manifests as `template`, or the files of its
    kustomization by their names. README describes it.

    Raises:
        click.UsageError: it is not valid; the message names the member.
    """
    content = mapping_in(file)
    unknown = sorted(str(name) for name in content.keys() - {*MEMBERS, *WRITTEN, "variables", "images"})
    if unknown:
        raise click.UsageError(f"{file}: unknown members: {', '.join(unknown)}")
    # `version: 1.10` is a number to YAML, and 1.1 at that: it has to be a text.
    if not isinstance(content.get("version", ""), str):
        raise click.UsageError(f"{file}: version must be a text: write it in quotes")
    for image in content.get("images") or []:
        if not isinstance(image, dict) or set(image) != {"reference", "archive"}:
            raise click.UsageError(f"{file}: each of images needs reference and archive, and nothing else")
    named = [name for name in WRITTEN if name in content] or ["compose"]
    if len(named) > 1:
        raise click.UsageError(f"{file}: give one of {', '.join(WRITTEN)}")
    try:
        return {**content, **_written(file.parent, named[0], content.get(named[0], "compose.yaml"))}
    except (OSError, TypeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file}: {named[0]}: {error}") from error


def _written(folder: Path, kind: str, named: Any) -> dict[str, Any]:
    """Return what a version is written in: the text of a file, of many manifests, or a kustomization's files.

    Raises:
        OSError, TypeError, UnicodeDecodeError, click.UsageError
    """
    if kind == "compose":
        return {"template": (folder / named).read_text("utf-8")}
    if kind == "manifests":
        names = named if isinstance(named, list) else [named]
        return {"template": "\n---\n".join((folder / name).read_text("utf-8") for name in names)}
    top = folder / named
    if not top.is_dir():
        raise click.UsageError(f"{top} is no folder")
    found = sorted(path for path in top.rglob("*") if path.is_file() or path.is_symlink())
    links = [path for path in found if path.is_symlink()]
    if links:
        raise click.UsageError(f"{links[0]} is a link: pack the file itself")
    return {"kustomization": {path.relative_to(top).as_posix(): path.read_text("utf-8") for path in found}}
