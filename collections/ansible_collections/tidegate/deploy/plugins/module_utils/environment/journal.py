# SPDX-License-Identifier: Apache-2.0
"""What an install made on a host, written down before it is made: so that a rollback takes away that, and no more."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import shutil
import subprocess
from typing import Any, Dict, List, Tuple

from ..host import state_folder
from ..release.errors import ReleaseError
from . import hook

_SYSTEMD = "/etc/systemd/system"
# A folder is removed only below these.
_OWN = ("/usr/local/lib/tidegate/",)


class Journal:
    """The entries of this host, in the order in which things were made. Each has a `step`, a `kind` and a `name`."""

    def __init__(self, file: str = "") -> None:
        self._file = file or state_folder.path("environment.json")
        self.entries: List[Dict[str, Any]] = []
        try:
            with open(self._file, encoding="utf-8") as kept:
                self.entries = json.load(kept)["entries"]
        except (OSError, ValueError, KeyError):
            pass

    def find(self, kind: str, name: str) -> Dict[str, Any]:
        """The entry of a thing; empty when it is not ours."""
        return next((one for one in self.entries if (one["kind"], one["name"]) == (kind, name)), {})

    def note(self, step: str, kind: str, name: str, **more: Any) -> None:
        """Write an entry down. What was known of the thing is kept where `more` does not say otherwise."""
        known = self.find(kind, name)
        entry = {**known, "step": step, "kind": kind, "name": name, **more}
        if entry == known:
            return
        if known:
            self.entries[self.entries.index(known)] = entry
        else:
            self.entries.append(entry)
        self._save()

    def undo(self, step: str) -> Tuple[List[str], List[str]]:
        """Take away what a step made, the last first; answers what was undone, and what was left and why."""
        undone: List[str] = []
        left: List[str] = []
        for entry in [one for one in reversed(self.entries) if one["step"] == step]:
            why = _UNDO[entry["kind"]](entry)
            (left if why else undone).append(f"{entry['kind']} {entry['name']}" + (f": {why}" if why else ""))
            self.entries.remove(entry)
            self._save()
        if any(one.startswith("unit ") for one in undone):
            run("systemctl", "daemon-reload")
        return undone, left

    def _save(self) -> None:
        os.makedirs(os.path.dirname(self._file), mode=0o755, exist_ok=True)
        making = self._file + ".making"
        with open(
            making, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)
        ) as out:
            json.dump({"entries": self.entries}, out, indent=1)
            out.flush()
            os.fsync(out.fileno())
        os.replace(making, self._file)


def run(*argv: str, timeout: int = 120) -> "subprocess.CompletedProcess[str]":
    """Run a program and wait; never raises for its exit code."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(argv, 127, "", f"{argv[0]} is not there")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"{argv[0]} took longer than {timeout} s")


def digest(path: str) -> str:
    """The sum of a file's content; empty where there is no plain file."""
    if os.path.islink(path) or not os.path.isfile(path):
        return ""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _undo_file(entry: Dict[str, Any]) -> str:
    path = entry["name"]
    if not os.path.lexists(path):
        return ""
    if digest(path) != entry["sha256"]:
        return "somebody changed it since"
    if entry.get("before") is not None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(entry["before"])
        return ""
    os.unlink(path)
    return ""


def _undo_link(entry: Dict[str, Any]) -> str:
    if os.path.islink(entry["name"]) and os.readlink(entry["name"]) == entry["target"]:
        os.unlink(entry["name"])
        return ""
    return "somebody changed it since" if os.path.lexists(entry["name"]) else ""


def _undo_folder(entry: Dict[str, Any]) -> str:
    path = entry["name"]
    if entry.get("with_content"):
        if not path.startswith(_OWN):
            return "it is none of Tidegate's"
        shutil.rmtree(path, ignore_errors=True)
        return ""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError:
        return "it is not empty"
    return ""


def _undo_unit(entry: Dict[str, Any]) -> str:
    name = entry["name"]
    done = run("systemctl", "stop", name)
    run("systemctl", "disable", name)
    path = os.path.join(_SYSTEMD, name)
    if digest(path) not in ("", entry["sha256"]):
        return "somebody changed it since: it was stopped, and left"
    if os.path.lexists(path):
        os.unlink(path)
    run("systemctl", "reset-failed", name)
    return "" if done.returncode in (0, 5) else f"it did not stop: {done.stderr.strip()[-200:]}"


def _undo_group(entry: Dict[str, Any]) -> str:
    try:
        if grp.getgrnam(entry["name"]).gr_mem:
            return "it has members"
    except KeyError:
        return ""
    done = run("groupdel", entry["name"])
    return "" if done.returncode == 0 else done.stderr.strip()[-200:]


def _undo_interface(entry: Dict[str, Any]) -> str:
    if not os.path.exists(os.path.join("/sys/class/net", entry["name"])):
        return ""
    done = run("ip", "link", "delete", entry["name"])
    return "" if done.returncode == 0 else done.stderr.strip()[-200:]


def _undo_made(entry: Dict[str, Any]) -> str:
    if os.path.isfile(entry["name"]):
        os.unlink(entry["name"])
    return ""


def _undo_image(entry: Dict[str, Any]) -> str:
    done = run("docker", "image", "rm", entry["name"])
    return "" if done.returncode == 0 or "No such image" in done.stderr else done.stderr.strip()[-200:]


def _undo_hook(entry: Dict[str, Any]) -> str:
    try:
        ran = hook.run(entry["name"], entry["sha256"], entry["context"], entry["timeout"])
        hook.outcome(ran, [])
    except ReleaseError as error:
        return str(error)
    return ""


def _undo_data(entry: Dict[str, Any]) -> str:
    if not os.path.isdir(entry["name"]) or not os.listdir(entry["name"]):
        return ""
    return "images and volumes may be somebody's: delete it yourself"


_UNDO = {
    "file": _undo_file,
    "link": _undo_link,
    "folder": _undo_folder,
    "unit": _undo_unit,
    "group": _undo_group,
    "interface": _undo_interface,
    "made": _undo_made,
    "image": _undo_image,
    "data": _undo_data,
    "hook": _undo_hook,
}
