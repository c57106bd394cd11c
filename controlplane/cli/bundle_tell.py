# SPDX-License-Identifier: Apache-2.0
"""`tidegate bundle diff` and `sbom`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from controlplane.cli.bundle_command import FILE, FOLDER, bundle_command


@click.command()
@click.argument("before", type=FOLDER)
@click.argument("after", type=FOLDER)
@click.option("--exit-code", is_flag=True, help="End with 1 when they differ.")
@bundle_command
def diff(before: Path, after: Path, exit_code: bool) -> tuple[Any, int, str]:
    """Tell which versions, artifacts, steps, checks and files were added, removed or changed."""
    from controlplane.adapters.bundle import comparison

    document = comparison.compare(before, after)
    return document, int(exit_code and not document["same"]), _told(document)


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--output", "file", type=FILE, help="Write it there.")
@bundle_command
def sbom(folder: Path, file: Path | None) -> tuple[Any, int, str]:
    """Print the bundle's parts list: CycloneDX 1.6, JSON. The same bundle gives the same bytes."""
    from controlplane.adapters.bundle import sbom as parts

    document = parts.describe(folder)
    text = json.dumps(document, indent=2)
    if file is None:
        return document, 0, text
    file.write_text(text + "\n", "utf-8")
    return {"file": str(file)}, 0, str(file)


def _told(document: dict[str, Any]) -> str:
    if document["same"]:
        return "no difference"
    old, new = document["version"]
    lines = [f"version {old} -> {new}"] if old != new else []
    for section, moved in document.items():
        if isinstance(moved, list) and section in ("platforms", "compatibility"):
            lines.append(f"{section}: {json.dumps(moved[0])} -> {json.dumps(moved[1])}")
        if not isinstance(moved, dict):
            continue
        lines += [f"+ {section} {name}" for name in moved["added"]]
        lines += [f"- {section} {name}" for name in moved["removed"]]
        for name, fields in moved["changed"].items():
            said = "; ".join(
                f"{field}: {json.dumps(a)} -> {json.dumps(b)}" for field, (a, b) in fields.items()
            )
            lines.append(f"~ {section} {name}: {said}")
    return "\n".join(lines)
