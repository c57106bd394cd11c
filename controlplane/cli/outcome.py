# SPDX-License-Identifier: Apache-2.0
"""What the exit code of each command says. README shows this table."""

from __future__ import annotations

from enum import IntEnum


class Outcome(IntEnum):
    """An exit code. The numbers never change; scripts rely on them."""

    OK = 0
    """It was done; for a release: it is applied, or was rolled back as asked; for an install or a network entry: it
    succeeded."""
    RELEASE_FAILED = 1
    """The release or install ended otherwise: failed, rejected, expired, cancelled. Also: the event chain is
    broken, a target has drifted, an environment is not healthy, or a network entry has failed."""
    USAGE = 2
    """The command, or the request it made, is not valid; the fields are named."""
    REFUSED = 3
    """Policy or permission says no, or the token is not known."""
    NOT_FOUND = 4
    """There is no such thing, or it is outside your scope."""
    CONNECTION = 5
    """The server does not answer."""
    WAITING = 6
    """The release or install waits for an approval."""
    CONFLICT = 7
    """It conflicts with what is there: the preview is old or used, the state is another, the ticket is decided."""
    BLOCKED = 8
    """The preview has a check that blocks, or could not be made; nothing can be applied."""
    SERVER = 9
    """The server failed, or something behind it did (a host, a registry)."""
    INTERRUPTED = 130
    """Ctrl-C. What was begun on the server goes on there."""


def of_problem(status: int) -> Outcome:
    """Return the exit code for a problem document's HTTP status."""
    if status in (401, 403):
        return Outcome.REFUSED
    if status == 404:
        return Outcome.NOT_FOUND
    if status == 409:
        return Outcome.CONFLICT
    if status >= 500 or status == 429:
        return Outcome.SERVER
    return Outcome.USAGE


def of_state(lifecycle_state: str) -> Outcome | None:
    """Return the exit code of a release, or an install, that ended in a state; None while it has not ended."""
    if lifecycle_state in ("applied", "rollback", "succeeded", "rolled_back"):
        return Outcome.OK
    if lifecycle_state in ("failed", "rejected", "expired", "cancelled"):
        return Outcome.RELEASE_FAILED
    return None


def of_end(lifecycle_state: str) -> Outcome:
    """Return the exit code of a release whose stream has ended; a state that is no end is the server's fault."""
    found = of_state(lifecycle_state)
    return Outcome.SERVER if found is None else found
