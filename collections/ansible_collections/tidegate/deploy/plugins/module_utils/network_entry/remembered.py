# SPDX-License-Identifier: Apache-2.0
"""What a host remembers of its network entry: enough to go back, and to take everything away again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from typing import Any, Dict, Iterator, Mapping, Optional

from ..environment import host_lock
from ..host import state_folder
from ..release.errors import ReleaseError

CONFIG_FOLDER = "/etc/tidegate/network-entry"
CONFIG = CONFIG_FOLDER + "/keepalived.conf"
PREVIOUS_CONFIG = CONFIG + ".previous"
PROGRAMS = "/usr/local/lib/tidegate/network-entry"
UNITS = "/etc/systemd/system"


def folder() -> str:
    """The entry's own folder of state."""
    return state_folder.path("network_entry")


def read() -> Dict[str, Any]:
    """The state: `current` and `previous` generation, and what was there before the first one; empty when
    there is no entry."""
    try:
        with open(os.path.join(folder(), "state.json"), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}
    except ValueError:
        raise ReleaseError(
            "internal_error", "the host's state of the network entry cannot be read", f"See {folder()}."
        ) from None


def write(state: Mapping[str, Any]) -> None:
    """Replace the state as a whole."""
    write_file(os.path.join(folder(), "state.json"), json.dumps(state, indent=1), 0o600)


def write_file(path: str, text: str, mode: int) -> None:
    """Replace a file as a whole: a reader sees the old one or the new one, also after a power cut."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    making = path + ".making"
    with open(making, "w", opener=lambda name, flags: os.open(name, flags, mode), encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    os.chmod(making, mode)
    os.rename(making, path)


def text_of(path: str) -> Optional[str]:
    """A file's text; None when it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def held(holder: str, token: Optional[int]) -> Iterator[None]:
    """Work on the host alone: whoever else installs here is refused, naming the holder.

    Raises ReleaseError resource_locked; conflict for a token older than one that worked here before. The lock
    is the host's, whatever is installed, and goes with its last user.
    """
    path = state_folder.path("environment.lock")
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with _open_locked(path) as lock:
        # An install that is between two steps has the host as well.
        host_lock.require_free(_written(lock), holder, token)
        known = read().get("fencing_token")
        if token is not None and known is not None and token < known:
            raise ReleaseError(
                "conflict",
                f"a newer operation (token {known}) has worked on this host's network entry",
                "Look at the entry's tasks; start a new one.",
            )
        lock.truncate(0)
        lock.write(json.dumps({"holder": holder, "token": token, "pid": os.getpid(), "since": time.time()}))
        lock.flush()
        try:
            yield
        finally:
            os.unlink(path)


@contextlib.contextmanager
def _open_locked(path: str) -> Iterator[Any]:
    while True:
        with open(path, "a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.seek(0)
                raise ReleaseError(
                    "resource_locked",
                    f"the host is held by {_holder(lock.read())}",
                    "Wait until it is done, or cancel it.",
                ) from None
            # The one before deletes the file at its end; a lock on a deleted file holds nobody off.
            if os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(lock.fileno())):
                yield lock
                return


def _written(lock: Any) -> Dict[str, Any]:
    lock.seek(0)
    try:
        found = json.load(lock)
        return found if isinstance(found, dict) else {}
    except ValueError:
        return {}


def _holder(text: str) -> str:
    try:
        return str(json.loads(text)["holder"])
    except (ValueError, KeyError, TypeError):
        return "another installation"
