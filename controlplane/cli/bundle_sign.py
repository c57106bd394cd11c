# SPDX-License-Identifier: Apache-2.0
"""`tidegate bundle keygen` and `sign`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from controlplane.cli.bundle_command import FILE, FOLDER, bundle_command
from controlplane.cli.command import secret_from

_PASSPHRASE = click.option(
    "--passphrase-file", metavar="FILE", help="Holds the key's passphrase; - is standard input."
)


def _passphrase(file: str | None) -> bytes | None:
    text = secret_from(file)
    return text.rstrip("\n").encode() if text else None


@click.command()
@click.argument("file", type=FILE)
@_PASSPHRASE
@bundle_command
def keygen(file: Path, passphrase_file: str | None) -> tuple[Any, int, str]:
    """Make an ed25519 key: FILE (0600) to sign with, FILE.pub to trust. Nothing is overwritten."""
    from controlplane.adapters.bundle import keys

    public_file, public = keys.make(file, _passphrase(passphrase_file))
    document = {"private_key_file": str(file), "public_key_file": str(public_file), "public_key": public}
    return document, 0, f"sign with   {file}\ntrust       {public_file}\n            {public}"


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--key", required=True, type=FILE, help="The private key's file.")
@_PASSPHRASE
@bundle_command
def sign(folder: Path, key: Path, passphrase_file: str | None) -> tuple[Any, int, str]:
    """Sign a bundle's list of sums. A bundle with faults is not signed."""
    from controlplane.adapters.bundle import keys

    goal = keys.sign(folder, keys.read(key, _passphrase(passphrase_file)))
    return {"signature_file": str(goal)}, 0, f"signed: {goal}"
