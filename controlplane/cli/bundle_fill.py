# SPDX-License-Identifier: Apache-2.0
"""`tidegate bundle fetch` and `import`: bring a bundle's artifacts to it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from controlplane.cli.bundle_command import FOLDER, bundle_command, progress, size
from controlplane.cli.bundle_outcome import of_keys


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--only", multiple=True, metavar="ID", help="Fetch this artifact; may be repeated.")
@click.option("--jobs", type=click.IntRange(1, 16), default=4, show_default=True, help="How many at once.")
@click.option(
    "--unlocked", is_flag=True, help="Also what the index has no sum of: check it yourself, then lock."
)
@bundle_command
def fetch(folder: Path, only: tuple[str, ...], jobs: int, unlocked: bool) -> tuple[Any, int, str]:
    """Download what the index names a `source.url` of and the bundle lacks.

    What was cut goes on where it stopped, now and in the next run; a file is put in place only with the sum that
    the index has of it. Goes through the proxy that HTTPS_PROXY names.
    """
    from controlplane.adapters.bundle import index_file
    from controlplane.adapters.bundle.fetch import Fetcher
    from controlplane.domain.errors import Problem

    artifacts = [one for one in index_file.read(folder)["artifacts"] if not only or one["id"] in only]
    unknown = set(only) - {one["id"] for one in artifacts}
    if unknown:
        raise click.BadParameter(f"no such artifact: {', '.join(sorted(unknown))}", param_hint="--only")
    lacking = [one for one in artifacts if not index_file.is_there(folder, one)]
    wanted = [one for one in lacking if "url" in one.get("source", {})]
    fetcher = Fetcher(folder, unlocked=unlocked)

    def get(artifact: dict[str, Any]) -> dict[str, Any]:
        try:
            return fetcher.fetch(artifact, said)
        except Problem as problem:
            return {
                "id": artifact["id"],
                "error_key": problem.error_key,
                "message": problem.detail,
                "hint": problem.hint,
            }

    try:
        with progress("fetching", sum(one.get("size", 0) for one in wanted)) as said:
            with ThreadPoolExecutor(jobs) as pool:
                done = list(pool.map(get, wanted))
    finally:
        fetcher.close()
    document = {
        "fetched": [one for one in done if "error_key" not in one],
        "failed": [one for one in done if "error_key" in one],
        "present": [one["id"] for one in artifacts if one not in lacking],
        "without_url": [one["id"] for one in lacking if one not in wanted],
    }
    return document, of_keys(one["error_key"] for one in document["failed"]), _told(document)


@click.command("import")
@click.argument("folder", type=FOLDER)
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--update", is_flag=True, help="Take other files than those that the index has sums of; lock afterwards."
)
@bundle_command
def import_(folder: Path, sources: tuple[Path, ...], update: bool) -> tuple[Any, int, str]:
    """Take artifacts from folders and Debian packages (.deb) on this machine.

    In a folder, files are found by an artifact's path or base name, and packages by what they say of themselves.
    Out of a package comes what `source.debian` of the index names.
    """
    from controlplane.adapters.bundle import importing

    document = importing.take(folder, sources, update=update)
    lines = [
        f"{one['id']}  {size(one['bytes'])}  {'from ' + one['from'] if one['changed'] else 'there already'}"
        for one in document["imported"]
    ]
    if document["missing"]:
        lines.append(f"not there: {', '.join(document['missing'])}")
    return document, 0, "\n".join(lines)


def _told(document: dict[str, Any]) -> str:
    lines = [
        f"{one['id']}  {size(one['bytes'])}"
        + (f"  gone on with at {size(one['resumed_at'])}" if one["resumed_at"] else "")
        for one in document["fetched"]
    ]
    lines += [f"{one['error_key']}  {one['message']}\n  hint: {one['hint']}" for one in document["failed"]]
    if document["without_url"]:
        lines.append(f"without a source.url: {', '.join(document['without_url'])} (tidegate bundle import)")
    return "\n".join(lines or ["nothing is missing"])
