# SPDX-License-Identifier: Apache-2.0
"""Which colour of a project is live on a host and which one takes a release; what is remembered of it.

The memory is one file a project beside the rule set. Choosing is pure.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..release.errors import ReleaseError
from . import entry

PLAIN = "plain"
COLOURS = ("blue", "green")
# Below the range from which the kernel takes ports for outgoing connections (32768 on Linux).
_FIRST_PORT = 30000
_PORT_PAIRS = 1000
SCHEMA = "tidegate.entry/v1"


class EntryStateError(Exception):
    """What is remembered of an entry cannot be read, or no ports are free: error key preflight_failed."""


@dataclass(frozen=True)
class Plan:
    """`live` is the backend that has the traffic (None: nothing runs), `target` the colour for the release.

    `unchanged` says that the target has this very content already; `ports` has both colours' ports.
    """

    live: str | None
    target: str
    unchanged: bool
    ports: dict[str, int]

    @property
    def target_port(self) -> int:
        return self.ports[self.target]


def choose(state: dict[str, Any] | None, running: set[str], content: str, ports: dict[str, int]) -> Plan:
    """Where a release with this content digest goes.

    `running` is the backends (`plain`, `blue`, `green`) with running containers. The live colour
    keeps a release it has already; a colour that has it, live or not, is never given up for the other one.
    """
    contents = (state or {}).get("contents", {})
    live = (state or {}).get("live")
    if live not in running:
        live = live if live in COLOURS else (PLAIN if PLAIN in running else None)
    same = [colour for colour in (live, *COLOURS) if colour in COLOURS and contents.get(colour) == content]
    if same:
        target = same[0]
    elif live in COLOURS:
        target = other(str(live))
    else:
        target = COLOURS[0]
    return Plan(live, target, bool(same) and target in running, ports)


def project_name(project: str, colour: str) -> str:
    """The Compose project of a colour; `plain` is the project as the rolling strategy runs it."""
    return project if colour == PLAIN else f"{project}-{colour}"


def other(colour: str) -> str:
    """The colour that this one is not."""
    return COLOURS[1 - COLOURS.index(colour)]


def choose_ports(project: str, taken: set[int]) -> dict[str, int]:
    """A pair of ports for a project's colours: the same for the same name as long as they are free."""
    start = zlib.crc32(project.encode()) % _PORT_PAIRS
    for step in range(_PORT_PAIRS):
        first = _FIRST_PORT + 2 * ((start + step) % _PORT_PAIRS)
        if not {first, first + 1} & taken:
            return {COLOURS[0]: first, COLOURS[1]: first + 1}
    raise EntryStateError(f"no two free ports from {_FIRST_PORT} to {_FIRST_PORT + 2 * _PORT_PAIRS}")


def pair_of(ports: dict[str, int]) -> dict[str, int] | None:
    """Both ports when at least one is remembered: a colour keeps its port, or its containers were made
    anew."""
    for colour in COLOURS:
        if colour in ports:
            first = ports[colour] - COLOURS.index(colour)
            return {COLOURS[0]: first, COLOURS[1]: first + 1}
    return None


def listening_ports(tables: tuple[str, ...] = ("/proc/net/tcp", "/proc/net/tcp6")) -> set[int]:
    """The TCP ports of this host that somebody listens on."""
    return {port for port, state in _sockets(tables) if state == "0A"}


def established(port: int, tables: tuple[str, ...] = ("/proc/net/tcp", "/proc/net/tcp6")) -> int:
    """How many connections to a local port are open: what is still to drain behind the engine's proxy."""
    return sum(1 for local, state in _sockets(tables) if local == port and state == "01")


def live_project(folder: str, project: str) -> str:
    """The Compose project that has the traffic: a colour's when the project has an entry."""
    return project_name(project, str((read_state(folder, project) or {}).get("live") or PLAIN))


def state_path(folder: str, project: str) -> Path:
    """The memory of a project's entry."""
    entry.require_project(project)
    return Path(folder) / f"{project}.json"


def read_state(folder: str, project: str) -> dict[str, Any] | None:
    """What is remembered; None when the project has no entry."""
    try:
        state = json.loads(state_path(folder, project).read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise EntryStateError(f"{state_path(folder, project)} cannot be read: {error}") from error
    return state if isinstance(state, dict) and state.get("schema") == SCHEMA else None


def require_no_entry(folder: str, project: str) -> None:
    """What is released past an entry would never be asked by anybody; raises ReleaseError validation_error."""
    if read_state(folder, project) is not None:
        raise ReleaseError(
            "validation_error",
            f"{project} is behind an entry on this host: what is released in place would be past it",
            "Release with blue_green, or with a canary of the traffic; or remove the entry and its colours first.",
        )


def write_state(folder: str, project: str, state: dict[str, Any]) -> None:
    """Remember, whole or not at all."""
    write_file(
        state_path(folder, project), json.dumps({"schema": SCHEMA, **state}, indent=2, sort_keys=True) + "\n"
    )


def write_file(path: Path, text: str, mode: int = 0o600) -> None:
    """Put a file in place in one step that survives a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f".{path.name}.new")
    with open(making, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(making, path)


def other_ports(folder: str, project: str) -> set[int]:
    """The ports that entries of other projects use."""
    taken: set[int] = set()
    for path in Path(folder).glob("*.json") if Path(folder).is_dir() else []:
        if path.stem != project:
            taken |= set((read_state(folder, path.stem) or {}).get("ports", {}).values())
    return taken


def _sockets(tables: tuple[str, ...]) -> list[tuple[int, str]]:
    """(local port, state in hex) of each TCP socket."""
    found = []
    for table in tables:
        if os.path.exists(table):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                found.append((int(fields[1].rpartition(":")[2], 16), fields[3]))
    return found
