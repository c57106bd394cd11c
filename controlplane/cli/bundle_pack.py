# SPDX-License-Identifier: Apache-2.0
"""`tidegate bundle pack` and `unpack`: a bundle as one file, or as several of a size that can be carried."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from controlplane.cli.bundle_check import trust_options, trusted_keys
from controlplane.cli.bundle_command import FILE, FOLDER, bundle_command, folder_size, progress, size

_SIZE = re.compile(r"(\d+)([kMG]?)\Z")
_UNITS = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3}
LEAST = 64 * 1000


def _bytes(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    match = _SIZE.match(value)
    count = int(match[1]) * _UNITS[match[2]] if match else 0
    if count < LEAST:
        raise click.BadParameter("expected a size such as 4000M or 4G, at least 64k")
    return count


@click.command()
@click.argument("folder", type=FOLDER)
@click.argument("file", type=FILE)
@click.option(
    "--split", metavar="SIZE", callback=_bytes, help="Write FILE.001, FILE.002 ... of this size: 4000M, 4G."
)
@trust_options
@bundle_command
def pack(
    folder: Path,
    file: Path,
    split: int | None,
    trust: tuple[str, ...],
    home: Path | None,
    config: Path | None,
) -> tuple[Any, int, str]:
    """Write a bundle without faults into one file (tar, zstd). The same bundle gives the same bytes."""
    from controlplane.adapters.bundle import pack as packing

    keys = trusted_keys(trust, home, config)
    with progress("packing", folder_size(folder)) as said:
        files = packing.pack(folder, file, keys, split, said)
    document = {"files": [{"file": str(one), "bytes": one.stat().st_size} for one in files]}
    return document, 0, "\n".join(f"{one}  {size(one.stat().st_size)}" for one in files)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=FOLDER)
@trust_options
@bundle_command
def unpack(
    file: Path, folder: Path, trust: tuple[str, ...], home: Path | None, config: Path | None
) -> tuple[Any, int, str]:
    """Unpack a bundle into FOLDER, which appears whole and verified or not at all. FILE may be the first of several.

    Links, devices and names that leave the folder are refused. FOLDER must not exist.
    """
    from controlplane.adapters.bundle import pack as packing

    keys = trusted_keys(trust, home, config)
    with progress("unpacking", 0) as said:
        found = packing.unpack(file, folder, keys, said)
    document = {"folder": str(folder), "digest": found.digest, "signed_by": found.signed_by or None}
    return document, 0, f"{folder}: {len(found.files)} files, {found.digest}"
