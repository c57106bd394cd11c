# SPDX-License-Identifier: Apache-2.0
"""`tidegate bundle`: what environments are installed from, without a server."""

from __future__ import annotations

import importlib

import click

# name -> module:attribute
_COMMANDS = {
    "verify": "bundle_check:verify",
    "lock": "bundle_check:lock",
    "keygen": "bundle_sign:keygen",
    "sign": "bundle_sign:sign",
    "fetch": "bundle_fill:fetch",
    "import": "bundle_fill:import_",
    "pack": "bundle_pack:pack",
    "unpack": "bundle_pack:unpack",
    "diff": "bundle_tell:diff",
    "sbom": "bundle_tell:sbom",
}
HELP = """Script bundles: what environments are installed from. None of these commands needs a server.

Exit codes: 0 done, 2 not valid, 9 failed otherwise, and one for each kind of fault in a bundle:
20 bundle_index_missing, 21 bundle_index_invalid, 22 bundle_signature_invalid, 23 artifact_checksum_mismatch,
24 artifact_unlisted, 25 artifact_missing, 26 hook_missing, 27 artifact_version_unsupported. Of several kinds
the one with the least number is told; all faults are printed.
"""


class _Group(click.Group):
    """Imports a command when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which a bundle meets them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"controlplane.cli.{module}"), attribute)
        return command


bundle = _Group(name="bundle", help=HELP)
