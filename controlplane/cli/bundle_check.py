# SPDX-License-Identifier: Apache-2.0
"""`tidegate bundle verify` and `lock`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from controlplane.cli.bundle_command import FOLDER, bundle_command, folder_size, progress, size
from controlplane.cli.bundle_outcome import of_keys
from controlplane.cli.installation import home_options, read_settings


def trust_options(function: Any) -> Any:
    """Give a command `--trust`, and the settings whose `bundle_trusted_keys` hold when it is not given."""
    function = click.option(
        "--trust",
        multiple=True,
        metavar="FILE",
        help="A public key that must have signed it; may be repeated. Default: the setting bundle_trusted_keys.",
    )(function)
    return home_options(function)


def trusted_keys(trust: tuple[str, ...], home: Path | None, config: Path | None) -> list[bytes]:
    """Return the keys that are trusted here; none means that signatures are not asked for.

    Raises:
        Problem: one of them is no key.
    """
    from controlplane.adapters.bundle import keys

    return keys.trusted(trust or read_settings(home, config).bundle_trusted_keys)


@click.command()
@click.argument("folder", type=FOLDER)
@trust_options
@click.option(
    "--runtime", metavar="NAME=VERSION", help="It must be able to install this, such as compose=2.40."
)
@click.option("--without-artifacts", is_flag=True, help="Artifacts may be missing, as they are in git.")
@bundle_command
def verify(
    folder: Path,
    trust: tuple[str, ...],
    home: Path | None,
    config: Path | None,
    runtime: str | None,
    without_artifacts: bool,
) -> tuple[Any, int, str]:
    """Look for every fault of a bundle: missing, extra, altered, linked or escaping files, index and signature.

    The exit codes are those of `tidegate bundle --help`.
    """
    from controlplane.adapters.bundle import rules

    if runtime is not None and "=" not in runtime:
        raise click.BadParameter("expected NAME=VERSION", param_hint="--runtime")
    keys = trusted_keys(trust, home, config)
    wanted = None if runtime is None else tuple(runtime.split("=", 1))
    with progress("verifying", folder_size(folder)) as said:
        found = rules.part("inspection").inspect(str(folder), keys, wanted, not without_artifacts, said)
    document = {
        "folder": os.fspath(folder),
        "version": found.index["version"] if found.index else None,
        "digest": found.digest or None,
        "signed_by": found.signed_by or None,
        "signature": "valid" if found.signed_by else "not checked" if found.has_signature else "none",
        "files": len(found.files),
        "bytes": sum(found.files.values()),
        "faults": [one.document() for one in found.faults],
    }
    return document, of_keys(one.key for one in found.faults), _told(document)


@click.command()
@click.argument("folder", type=FOLDER)
@bundle_command
def lock(folder: Path) -> tuple[Any, int, str]:
    """Write each artifact's sum and size into the index, and checksums/SHA256SUMS of all files.

    Locked again, a bundle stays as it is. A signature that does not fit any more is removed.
    """
    from controlplane.adapters.bundle import rules

    with progress("hashing", folder_size(folder)) as said:
        digest, changed, faults = rules.part("lock").lock(str(folder), said)
    document = {"digest": digest or None, "changed": changed, "faults": [one.document() for one in faults]}
    if faults:
        return document, of_keys(one.key for one in faults), _faults(document["faults"])
    return document, 0, f"{'locked' if changed else 'locked already'}: {digest}"


def _told(document: dict[str, Any]) -> str:
    facts = (
        f"version    {document['version'] or '-'}\ndigest     {document['digest'] or '-'}\n"
        f"signature  {document['signature']}\nfiles      {document['files']} ({size(document['bytes'])})"
    )
    return f"{facts}\n{_faults(document['faults'])}"


def _faults(faults: Any) -> str:
    if not faults:
        return "no fault"
    shown = [f"{one['error_key']}  {one['path']}: {one['message']}" for one in faults]
    return "\n".join([*shown, f"{len(shown)} fault{'s' if len(shown) > 1 else ''}"])
