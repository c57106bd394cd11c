# SPDX-License-Identifier: Apache-2.0
"""One installer at a time on a host: a lock that is held while a step works, and a claim that lasts between steps."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from typing import Any, Dict, Iterator, Optional

from ..host import state_folder
from ..release.errors import ReleaseError

# An installer that says nothing for so long is gone: the longest that a play is on its way between two steps.
CLAIM_SECONDS = 300
_POLL_SECONDS = 0.5


def path() -> str:
    """Where the lock is."""
    return state_folder.path("environment.lock")


@contextlib.contextmanager
def held(holder: str, token: Optional[int], seconds: float = 0) -> Iterator[None]:
    """Work on the host as `holder`. Raises ReleaseError resource_locked, naming whoever else is at work.

    A run of the same holder that works still is waited for, for so many seconds: whoever lost its connection, or was
    killed, comes again while it works. Another holder's claim ends when it is released, when nothing was heard of it
    for CLAIM_SECONDS, or when `token` is greater than its own and of the same installation, whose tokens alone can be
    compared: it is what `holder` tells before " task ". A step that runs is never interrupted.
    """
    os.makedirs(os.path.dirname(path()), mode=0o755, exist_ok=True)
    with _opened(holder, time.monotonic() + seconds) as file:
        require_free(_read(file), holder, token)
        _write(file, holder, token, time.time() + CLAIM_SECONDS)
        try:
            yield
        finally:
            _write(file, holder, token, time.time() + CLAIM_SECONDS)


@contextlib.contextmanager
def held_to_the_end(holder: str, token: Optional[int], seconds: float) -> Iterator[None]:
    """As `held`, for work that is done in one go: the claim ends with it, however that ends."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(held(holder, token, seconds))
        try:
            yield
        finally:
            stack.close()
            release(holder)


def release(holder: str) -> bool:
    """End the claim of this holder. Says whether it had one."""
    with contextlib.suppress(FileNotFoundError), open(path(), "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        known = _read(file)
        if known.get("holder") == holder and known.get("until", 0) > 0:
            _write(file, holder, known.get("token"), 0)
            return True
    return False


def other(holder: str) -> str:
    """Whoever else has the host now, or nothing: also one whose step takes longer than a claim lasts. Takes no lock."""
    try:
        with open(path(), encoding="utf-8") as file:
            known = _read(file)
    except OSError:
        return ""
    has_it = known.get("until", 0) > time.time() or _is_at_work(known.get("pid"))
    taken = known.get("holder") not in (None, holder) and has_it
    return str(known["holder"]) if taken else ""


@contextlib.contextmanager
def _opened(holder: str, until: float) -> Iterator[Any]:
    while True:
        with open(path(), "a+", encoding="utf-8") as file:
            _lock(file, holder, until)
            # A network entry deletes the file at its end; a lock on a deleted file holds nobody off.
            if os.path.exists(path()) and os.path.samestat(os.stat(path()), os.fstat(file.fileno())):
                yield file
                return


def _lock(file: Any, holder: str, until: float) -> None:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            known = _read(file)
            if known.get("holder") != holder or time.monotonic() >= until:
                raise _locked(known, "works on it") from None
        time.sleep(_POLL_SECONDS)


def _is_at_work(process: Any) -> bool:
    """Whether a process has the lock's file open: whoever works on the host does so to the end."""
    folder = f"/proc/{process}/fd"
    try:
        return any(
            os.readlink(os.path.join(folder, one)) == os.path.realpath(path()) for one in os.listdir(folder)
        )
    except OSError:
        return False


def require_free(known: Dict[str, Any], holder: str, token: Optional[int]) -> None:
    """Let pass who may take a host of which `known` was written last. Raises ReleaseError resource_locked."""
    before, who = known.get("token"), str(known.get("holder") or "")
    if _installation(who) == _installation(holder) and isinstance(before, int) and isinstance(token, int):
        if token < before:
            raise _locked(known, "came later")
        if token > before:
            return
    if who in ("", holder) or known.get("until", 0) < time.time():
        return
    raise _locked(known, "is not through with it")


def _installation(holder: str) -> str:
    return holder.rpartition(" task ")[0]


def _locked(known: Dict[str, Any], why: str) -> ReleaseError:
    holder = str(known.get("holder") or "another installer")
    return ReleaseError(
        "resource_locked",
        f"the host is taken: {holder} {why}",
        "Wait until it has ended.",
        holder=holder,
    )


def _read(file: Any) -> Dict[str, Any]:
    file.seek(0)
    try:
        known = json.load(file)
        return known if isinstance(known, dict) else {}
    except ValueError:
        return {}


def _write(file: Any, holder: str, token: Optional[int], until: float) -> None:
    file.seek(0)
    file.truncate()
    json.dump({"holder": holder, "token": token, "pid": os.getpid(), "until": until}, file)
    file.flush()
