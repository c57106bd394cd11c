# SPDX-License-Identifier: Apache-2.0
"""The entry of a project as it is on this host: read, compared with what is wanted, replaced, kept over a
reboot."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.host import colours, entry

_UNITS = Path("/etc/systemd/system")
_SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"


class EntryTableError(Exception):
    """The host cannot have this entry: error key preflight_failed."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Change:
    """What is to be done. `needed` is False when the host has it so already; None for `wanted` means no
    entry."""

    wanted: entry.Entry | None
    needed: bool
    state: dict[str, Any] | None
    state_moved: bool
    rules_before: str
    rules_after: str
    weights_before: dict[str, int]
    weights_after: dict[str, int]


class EntryTable:
    """One project's table, rule file, unit and memory. `folder` is where rule files and memory are kept."""

    def __init__(self, project: str, folder: str) -> None:
        entry.require_project(project)
        self._project, self._folder = project, folder
        self._rules = Path(folder) / f"{project}.nft"
        self._unit = _UNITS / entry.unit_name(project)
        nft = shutil.which("nft", path=_SYSTEM_PATH)
        if os.geteuid() != 0:
            raise EntryTableError("the entry of a host is root's to change", "Give the host `become`.")
        if not nft:
            raise EntryTableError("there is no nft on this host", "Install the package nftables.")
        self._nft = nft

    def change(self, wanted: entry.Entry | None, live: str | None, contents: dict[str, str]) -> Change:
        """Compare with what is there; raises EntryTableError when a wanted backend has nobody listening."""
        state = colours.read_state(self._folder, self._project)
        listing = self._listing()
        before = self._rules.read_text() if self._rules.exists() else ""
        weights = {one["name"]: one["weight"] for one in (state or {}).get("backends", [])}
        if wanted is None:
            needed = bool(state or listing or before or self._unit.exists())
            return Change(None, needed, None, needed, before, "", weights, {})
        self._require_listeners(wanted)
        rules = entry.rule_set(wanted)
        remembered = self._memory(wanted, live, contents, state)
        needed = rules != before or listing is None or listing != (state or {}).get("listing")
        moved = remembered != {
            key: value for key, value in (state or {}).items() if key not in ("schema", "listing")
        }
        after = {one.name: one.weight for one in wanted.backends}
        return Change(wanted, needed, remembered, moved, before, rules, weights, after)

    def apply(self, change: Change) -> None:
        """Do it: the file and the unit first, so that a crash after the switch cannot lose the switch at
        reboot."""
        if change.wanted is None:
            if change.needed:
                self._remove()
            return
        if change.needed:
            colours.write_file(self._rules, change.rules_after)
            self._keep_over_reboot()
            self._run(entry.apply_argv(self._nft), change.rules_after)
        if change.needed or change.state_moved:
            colours.write_state(
                self._folder, self._project, {**(change.state or {}), "listing": self._listing()}
            )

    def _memory(
        self, wanted: entry.Entry, live: str | None, contents: dict[str, str], state: dict[str, Any] | None
    ) -> dict[str, Any]:
        kept = {} if state is None else state.get("contents", {})
        ports = {**(state or {}).get("ports", {})}
        ports.update({one.name: one.port for one in wanted.backends if one.name in colours.COLOURS})
        return {
            "project": self._project,
            "port": wanted.port,
            "live": live,
            "ports": ports,
            "backends": [
                {"name": one.name, "port": one.port, "weight": one.weight} for one in wanted.backends
            ],
            "contents": {**kept, **contents},
        }

    def _require_listeners(self, wanted: entry.Entry) -> None:
        listening = colours.listening_ports()
        for backend in wanted.backends:
            if backend.weight and backend.port not in listening:
                raise EntryTableError(
                    f"nobody listens on port {backend.port}, the one of {backend.name}",
                    "See that the service is up; Docker must run with its userland proxy (its default).",
                )

    def _keep_over_reboot(self) -> None:
        if not Path("/run/systemd/system").is_dir():
            raise EntryTableError("this host does not run systemd, so the entry would not outlast a reboot")
        text = entry.unit_text(self._project, str(self._rules), self._nft)
        if not self._unit.exists() or self._unit.read_text() != text:
            colours.write_file(self._unit, text, 0o644)
            self._run(["systemctl", "daemon-reload"])
        self._run(["systemctl", "enable", "--quiet", self._unit.name])

    def _remove(self) -> None:
        self._run(entry.apply_argv(self._nft), entry.removal(self._project))
        if self._unit.exists():
            self._run(["systemctl", "disable", "--quiet", self._unit.name])
            self._unit.unlink()
            self._run(["systemctl", "daemon-reload"])
        self._rules.unlink(missing_ok=True)
        colours.state_path(self._folder, self._project).unlink(missing_ok=True)

    def _listing(self) -> str | None:
        argv = entry.listing_argv(self._project, self._nft)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
        return done.stdout if done.returncode == 0 else None

    def _run(self, argv: list[str], given: str | None = None) -> None:
        done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise EntryTableError(f"{' '.join(argv[:3])} failed: {done.stderr.strip()[-2000:]}")
