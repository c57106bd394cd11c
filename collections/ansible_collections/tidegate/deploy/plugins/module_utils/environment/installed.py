# SPDX-License-Identifier: Apache-2.0
"""Programs, files and units of a runtime brought to the state that is wanted; each says whether it changed anything."""

from __future__ import annotations

import grp
import hashlib
import os
import shutil
import tarfile
from typing import Any, Dict, List

from ..release.errors import ReleaseError
from .journal import Journal, run
from .own_files import (
    SYSTEMD,
    digest,
    is_own,
    keep,
    read_hosts,
    write_file,
    write_hosts,
    write_link,
)

PROGRAMS = "/usr/local/lib/tidegate/runtime"
_PIECE = 1 << 20


class Installed:
    """Makes things for one step, and writes each down before it is made. `changes` tells what was made."""

    def __init__(self, journal: Journal, step: str, promise_only: bool = False) -> None:
        self._journal, self._step, self._promise_only = journal, step, promise_only
        self.changes: List[str] = []

    def programs(self, name: str, artifact: Dict[str, Any]) -> str:
        """The folder with an artifact's programs, unpacked from the host's store. Raises ReleaseError."""
        goal = os.path.join(PROGRAMS, f"{name}-{artifact['sha256'][:16]}")
        if os.path.isdir(goal) or self._only_promised(f"unpack {name}"):
            return goal
        self.folder("/usr/local/lib/tidegate")
        self.folder(PROGRAMS)
        self._journal.note(self._step, "folder", goal, with_content=True)
        making = goal + ".making"
        shutil.rmtree(making, ignore_errors=True)
        os.makedirs(making, mode=0o755)
        copy = making + ".artifact"
        try:
            _verified_copy(artifact, copy)
            if artifact["type"] == "archive":
                _unpack(name, copy, making)
            else:
                os.rename(copy, os.path.join(making, name))
                os.chmod(os.path.join(making, name), 0o755)  # noqa: S103 (a program)
        finally:
            if os.path.exists(copy):
                os.unlink(copy)
        # A folder that has its name is whole, also after a loss of power.
        for one in os.listdir(making):
            keep(os.path.join(making, one))
        keep(making)
        os.rename(making, goal)
        keep(PROGRAMS)
        return goal

    def folder(self, path: str) -> None:
        """A folder is there, and those above it."""
        if os.path.isdir(path):
            return
        self.folder(os.path.dirname(path))
        if not self._only_promised(f"make {path}"):
            self._journal.note(self._step, "folder", path)
            os.mkdir(path, 0o755)

    def file(self, path: str, content: str, kind: str = "file", name: str = "", mode: int = 0o644) -> bool:
        """A file has this content. Raises ReleaseError conflict where somebody else's is in its place."""
        wanted = hashlib.sha256(content.encode()).hexdigest()
        there = digest(path)
        if there == wanted:
            return False
        ours = self._journal.find(kind, name or path)
        if os.path.lexists(path) and not is_own(ours, "sha256", there):
            raise ReleaseError(
                "conflict",
                f"{path} is there and is not Tidegate's",
                "Move it away, or leave the host's own installation as it is (docker_existing: adopt).",
            )
        if self._only_promised(f"write {path}"):
            return True
        self.folder(os.path.dirname(path))
        before = {"sha256": there} if there else None
        if before and mode & 0o077:
            # What only root may read is a secret, and in no journal.
            before["content"] = _text(path)
        # Cut before the new content is in place, the old one is ours still.
        self._journal.note(self._step, kind, name or path, before, sha256=wanted, was=there, unread=True)
        write_file(path, content, mode)
        return True

    def link(self, path: str, target: str) -> None:
        """A link leads there. Raises ReleaseError conflict where something else is in its place."""
        if os.path.islink(path) and os.readlink(path) == target:
            return
        ours, there = self._journal.find("link", path), os.readlink(path) if os.path.islink(path) else ""
        if os.path.lexists(path) and not is_own(ours, "target", there):
            raise ReleaseError("conflict", f"{path} is there and is not Tidegate's", "Move it away.")
        if self._only_promised(f"link {path}"):
            return
        self.folder(os.path.dirname(path))
        before = {"target": there} if there else None
        self._journal.note(self._step, "link", path, before, target=target, was=there, unread=True)
        write_link(path, target)

    def waiting_unit(self, name: str, content: str) -> None:
        """A unit has this content and is enabled; somebody else starts it."""
        written = self.file(os.path.join(SYSTEMD, name), content, "unit", name)
        is_read = not written and not self._journal.find("unit", name).get("unread")
        if is_read and run("systemctl", "is-enabled", name).stdout.strip() == "enabled":
            return
        if self._only_promised(f"enable {name}", also=not written):
            return
        run("systemctl", "daemon-reload")
        done = run("systemctl", "enable", name)
        if done.returncode != 0:
            raise ReleaseError("preflight_failed", f"{name} cannot be enabled: {done.stderr.strip()[-500:]}")
        self._journal.all_read(self._step)

    def hosts_line(self, address: str, name: str) -> None:
        """/etc/hosts tells where a name is; a line of ours with another address is replaced, other lines stay."""
        line = f"{address} {name}"
        ours = self._journal.find("hosts_line", name).get("line")
        lines = read_hosts()
        if line in lines and ours in (line, None):
            return
        if self._only_promised(f"{name} is {address}"):
            return
        self._journal.note(self._step, "hosts_line", name, line=line)
        write_hosts([one for one in lines if one not in (line, ours)] + [line])

    def sysctl(self, name: str, value: str) -> None:
        """A setting of the kernel has this value now. One that this kernel has not is left out."""
        path = os.path.join("/proc/sys", *name.split("."))
        try:
            with open(path, encoding="utf-8") as file:
                there = file.read().strip()
        except OSError:
            return
        if there == value or self._only_promised(f"{name} = {value}"):
            return
        if not self._journal.find("sysctl", name):
            self._journal.note(self._step, "sysctl", name, before=there, value=value)
        with open(path, "w", encoding="utf-8") as file:
            file.write(value)

    def units(self, contents: Dict[str, str], changed_with: bool, is_reloaded: bool = False) -> None:
        """Units run with these contents, by name; they are started anew when those or what they read changed:
        `changed_with`, or what a run before this one wrote, and was cut before they were.

        One that `is_reloaded` does not stop for it where it runs already.
        """
        changed_with = changed_with or self._journal.is_unread(self._step)
        for name, content in contents.items():
            self._unit(name, content, changed_with, is_reloaded)
        if not self._promise_only:
            self._journal.all_read(self._step)

    def _unit(self, name: str, content: str, changed_with: bool, is_reloaded: bool) -> None:
        written = self.file(os.path.join(SYSTEMD, name), content, "unit", name)
        active = run("systemctl", "is-active", name).stdout.strip() == "active"
        enabled = run("systemctl", "is-enabled", name).stdout.strip() == "enabled"
        if active and enabled and not written and not changed_with:
            return
        if self._only_promised(f"start {name}", also=not written):
            return
        run("systemctl", "daemon-reload")
        run("systemctl", "enable", name)
        done = run("systemctl", "reload" if is_reloaded and active else "restart", name)
        if done.returncode != 0:
            said = run("journalctl", "--unit", name, "--lines", "20", "--no-pager", "--output", "cat").stdout
            raise ReleaseError(
                "preflight_failed", f"{name} does not start: {said[-1500:]}", "Read what it says."
            )

    def group(self, name: str) -> None:
        """A system group is there."""
        try:
            grp.getgrnam(name)
        except KeyError:
            if not self._only_promised(f"make the group {name}"):
                self._journal.note(self._step, "group", name)
                run("groupadd", "--system", name)

    def note(self, kind: str, name: str) -> None:
        """Something that a program will make, which is to be taken away with the rest."""
        if not self._promise_only:
            self._journal.note(self._step, kind, name)

    def _only_promised(self, change: str, also: bool = True) -> bool:
        if also:
            self.changes.append(change)
        return self._promise_only


def _text(path: str) -> str:
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def _verified_copy(artifact: Dict[str, Any], goal: str) -> None:
    """Copy an artifact out of the store, hashing what is copied. Raises ReleaseError artifact_checksum_mismatch."""
    running = hashlib.sha256()
    try:
        with open(artifact["path"], "rb") as given, open(goal, "wb") as kept:
            for piece in iter(lambda: given.read(_PIECE), b""):
                running.update(piece)
                kept.write(piece)
    except FileNotFoundError:
        raise ReleaseError(
            "artifact_missing", f"{artifact['path']} is not there", "Deliver the bundle."
        ) from None
    if running.hexdigest() != artifact["sha256"]:
        raise ReleaseError(
            "artifact_checksum_mismatch", f"{artifact['path']} was altered", "Deliver the bundle again."
        )


def _unpack(name: str, path: str, goal: str) -> None:
    """Unpack plain files, by their base names only."""
    with tarfile.open(path) as archive:
        for member in archive:
            base = os.path.basename(member.name)
            if member.isdir():
                continue
            if not member.isfile() or base in ("", ".", ".."):
                raise ReleaseError("artifact_missing", f"{name}'s archive holds {member.name}, no plain file")
            content = archive.extractfile(member)
            assert content is not None
            with open(os.path.join(goal, base), "wb") as out:
                shutil.copyfileobj(content, out, _PIECE)
            os.chmod(os.path.join(goal, base), 0o755 if member.mode & 0o100 else 0o644)
