# SPDX-License-Identifier: Apache-2.0
"""A host's entry to a project: which backend new connections to a port go to, as an nftables rule set.

Nothing here touches a host. The rule set is replaced as a whole in one transaction, and connections that
exist
keep the backend they were given, because the kernel translates a connection once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

WHOLE = 100
PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
BACKEND = re.compile(r"[a-z][a-z0-9_]{0,30}")
# Before Docker's own translation (-100): a connection is translated by whoever comes first.
_NAT_PRIORITY = -110
_GUARD_PRIORITY = -150


class EntryError(ValueError):
    """An entry that cannot be: error key validation_error."""


@dataclass(frozen=True)
class Backend:
    """One place that connections can go to: `port` on the same host, `weight` in percent of new
    connections."""

    name: str
    port: int
    weight: int


@dataclass(frozen=True)
class Entry:
    """The entry of a project: clients use `port`; weights of the backends add up to 100.

    A backend whose port is the entry's own is what is published there without an entry.
    """

    project: str
    port: int
    backends: tuple[Backend, ...]

    def __post_init__(self) -> None:
        require_project(self.project)
        require_port("port", self.port)
        if not self.backends:
            raise EntryError("an entry needs at least one backend")
        for backend in self.backends:
            if not BACKEND.fullmatch(backend.name):
                raise EntryError(f"backend name {backend.name!r} is not a word of small letters")
            require_port(f"port of backend {backend.name}", backend.port)
            if not 0 <= backend.weight <= WHOLE:
                raise EntryError(
                    f"weight of backend {backend.name} is {backend.weight}, expected 0 to {WHOLE}"
                )
        for what in ("name", "port"):
            values = [getattr(backend, what) for backend in self.backends]
            if len(set(values)) != len(values):
                raise EntryError(f"two backends have the same {what}")
        if sum(backend.weight for backend in self.backends) != WHOLE:
            raise EntryError(f"the weights of the backends add up to something else than {WHOLE}")


def parse(project: str, port: int, backends: list[dict[str, Any]]) -> Entry:
    """An Entry from a module's parameters; raises EntryError."""
    return Entry(
        project, port, tuple(Backend(one["name"], int(one["port"]), int(one["weight"])) for one in backends)
    )


def table_name(project: str) -> str:
    """The project's own table, which is all that is ever touched."""
    require_project(project)
    return f"tidegate_{project}"


def rule_set(entry: Entry) -> str:
    """What `nft -f -` is given: replaces the project's rules in one transaction, whether they are there or
    not.

    Rules are flushed and chains are kept, so that no hook is ever without its chain. From outside the
    backends' own ports answer nobody: only the entry decides.
    """
    table = f"inet {table_name(entry.project)}"
    moved = sorted(backend.port for backend in entry.backends if backend.port != entry.port)
    guard = (
        f'        iifname != "lo" fib daddr type local tcp dport {{ {", ".join(map(str, moved))} }} drop\n'
    )
    match = f"        fib daddr type local tcp dport {entry.port} goto entry\n"
    return (
        f"table {table}\n"
        f"flush table {table}\n"
        f"table {table} {{\n"
        f"    chain guard {{\n"
        f"        type filter hook prerouting priority {_GUARD_PRIORITY}; policy accept;\n"
        f"{guard if moved else ''}"
        f"    }}\n"
        f"    chain from_outside {{\n"
        f"        type nat hook prerouting priority {_NAT_PRIORITY}; policy accept;\n"
        f"{match}"
        f"    }}\n"
        f"    chain from_host {{\n"
        f"        type nat hook output priority {_NAT_PRIORITY}; policy accept;\n"
        f"{match}"
        f"    }}\n"
        f"    chain entry {{\n"
        f"{''.join(_shares(entry))}"
        f"    }}\n"
        f"}}\n"
    )


def removal(project: str) -> str:
    """What `nft -f -` is given to be rid of the project's entry, whether it is there or not."""
    table = f"inet {table_name(project)}"
    return f"table {table}\ndelete table {table}\n"


def apply_argv(nft: str = "nft") -> list[str]:
    """The command that reads a rule set from its standard input."""
    return [nft, "-f", "-"]


def listing_argv(project: str, nft: str = "nft") -> list[str]:
    """The command that prints the project's table as it is now."""
    return [nft, "list", "table", "inet", table_name(project)]


def unit_name(project: str) -> str:
    """The systemd unit that loads the entry when the host starts."""
    require_project(project)
    return f"tidegate-entry-{project}.service"


def unit_text(project: str, rules_path: str, nft: str) -> str:
    """That unit. Debian's nftables.service flushes all rules when it starts, so this one comes after it."""
    return (
        "[Unit]\n"
        f"Description=Tidegate's entry to {project}\n"
        "After=nftables.service\n"
        "Before=docker.service\n"
        "\n"
        "[Service]\n"
        "Type=oneshot\n"
        "RemainAfterExit=yes\n"
        f"ExecStart={nft} -f {rules_path}\n"
        "\n"
        "[Install]\n"
        "WantedBy=multi-user.target\n"
    )


def require_project(project: str) -> None:
    """Raises EntryError for a name that Compose would not take as a project."""
    if not PROJECT.fullmatch(project):
        raise EntryError(f"{project!r} is not a project name")


def require_port(what: str, port: int) -> None:
    """Raises EntryError for what is no TCP port."""
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise EntryError(f"{what} is {port!r}, expected 1 to 65535")


def _shares(entry: Entry) -> list[str]:
    """A rule for each backend: the n-th takes its share of what those before it left."""
    shares, left = [], WHOLE
    for backend in sorted(entry.backends, key=lambda one: one.weight):
        if backend.weight == 0:
            continue
        chance = "" if backend.weight == left else f" numgen random mod {left} < {backend.weight}"
        goal = "accept" if backend.port == entry.port else f"dnat to :{backend.port}"
        shares.append(f"        meta l4proto tcp{chance} {goal}\n")
        left -= backend.weight
    return shares
