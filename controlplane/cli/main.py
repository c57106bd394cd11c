# SPDX-License-Identifier: Apache-2.0
"""The `tidegate` command. Each subcommand is imported when it is asked for, so that help is quick."""

from __future__ import annotations

import importlib
import sys

import click

from controlplane.cli.outcome import Outcome

# name -> module:attribute, what it is for
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("installation:init", "Make an installation: folder, key file, database, first administrator."),
    "serve": ("server:serve", "Run the server, and workers beside it."),
    "worker": ("server:worker", "Run a worker."),
    "db": ("installation:db", "Bring the database to this version's tables."),
    "login": ("login:login", "Remember a server and a token."),
    "project": ("resources:project", "Projects: the scope of almost everything."),
    "team": ("resources:team", "Teams of projects."),
    "user": ("resources:user", "Users."),
    "token": ("resources:token", "API tokens."),
    "binding": ("resources:binding", "Who holds which role where."),
    "host": ("host:host", "Hosts, and their keys."),
    "cluster": ("cluster:cluster", "Kubernetes clusters, and how they are reached."),
    "network-entry": ("network_entry:network_entry", "One virtual IP before a cluster."),
    "environment": ("environment:environment", "Environments, and how they are installed."),
    "service": ("service:service", "Services and their versions."),
    "target": ("target:target", "Targets: where a service is released."),
    "registry": ("resources:registry", "Registry credentials of a project."),
    "artifact": ("artifact:artifact", "Image archives."),
    "release": ("release:release", "Preview, apply, watch and roll back."),
    "bundle": ("bundle:bundle", "Script bundles: what environments are installed from."),
    "approval": ("approval:approval", "What waits for a decision."),
    "audit": ("audit:audit", "Check, print and export the chain of events."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports the one that is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"controlplane.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list without importing what it lists."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_place, purpose) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--url", metavar="URL", help="The server (TIDEGATE_URL, else what `tidegate login` wrote).")
@click.option("--json", "as_json", is_flag=True, help="Print answers as JSON; every command takes it too.")
@click.version_option(package_name="tidegate", message="%(version)s")
def tidegate(url: str | None, as_json: bool) -> None:
    """Release to Docker Compose hosts: previewed, approved, applied, verified, read back.

    Exit codes: 0 done, 1 the release failed, 2 not valid, 3 refused, 4 not found, 5 no connection,
    6 waits for an approval, 7 conflict, 8 a check blocks, 9 the server failed.
    """


def main() -> None:
    """Run the command line and end with its exit code."""
    try:
        code = tidegate.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = Outcome.INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except BrokenPipeError:
        # The reader has seen enough (`| head`). Nothing more is written, also not at exit.
        sys.stdout = None  # type: ignore[assignment]
        code = Outcome.OK
    except KeyboardInterrupt:
        code = Outcome.INTERRUPTED
    sys.exit(int(code or 0))
