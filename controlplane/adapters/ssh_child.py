# SPDX-License-Identifier: Apache-2.0
"""The process that opens one SSH connection for the probe. Reads a request from standard input, answers in JSON.

A process of its own, since libssh holds Python's global lock while it waits for a host, and may crash on what a
host sends. Run by path: it imports nothing of the control plane.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pylibsshext.errors import LibsshSessionException
from pylibsshext.session import RejectPolicy, Session

_RSA = "rsa-sha2-512,rsa-sha2-256"
_KEY_TYPES = f"ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,{_RSA}"
_ADDRESS = re.compile(r"[A-Za-z0-9_.:%][A-Za-z0-9_.:%-]*")


class Refused(Exception):
    """The connection ended here: an error key and what happened."""

    def __init__(self, error_key: str, detail: str) -> None:
        super().__init__(detail)
        self.error_key = error_key
        self.detail = detail


class _KeySeen(Exception):
    """The host showed a key that is not in the known hosts; raised before any login."""


class _Stop(RejectPolicy):  # type: ignore[misc]
    def __init__(self, keep: bool) -> None:
        self._keep = keep

    def missing_host_key(self, session: Session, *_facts: Any) -> None:
        if self._keep:
            session.hostkey_auto_add(None)
        raise _KeySeen


class _Verified(Session):  # type: ignore[misc]
    """Knows whether the host key was compared and found right."""

    verified = False

    def verify_knownhost(self) -> bool:
        super().verify_knownhost()
        self.verified = True
        return True


def host_key(access: dict[str, Any], timeout: float) -> str:
    """Return the key line that the host shows, without logging in there."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidegate-probe-")))
        known = folder / "known_hosts"
        known.touch()
        session = Session()
        session.set_missing_host_key_policy(_Stop(keep=True))
        try:
            _connect(session, access, timeout, folder, known, _KEY_TYPES, stack)
        except _KeySeen:
            return " ".join(known.read_text("ascii").split()[-2:])
        finally:
            session.close()
    raise Refused("ssh_unreachable", "the host showed no key")


def check(access: dict[str, Any], timeout: float) -> None:
    """Compare the host's key with the pinned one, then log in, then leave."""
    pinned = access["host_key"]
    if not pinned:
        raise Refused("host_key_unconfirmed", f"the key of {access['address']} was not confirmed")
    key_type, key = pinned.split()[:2]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidegate-probe-")))
        known, name = folder / "known_hosts", "host-" + secrets.token_hex(8)
        known.write_text(f"{name} {key_type} {key}\n", "ascii")
        first = _RSA if key_type == "ssh-rsa" else key_type
        session = _Verified()
        session.set_missing_host_key_policy(_Stop(keep=False))
        try:
            # The pinned type first and the others too: a host that lost it is a mismatch, not a dead one.
            _connect(session, access, timeout, folder, known, f"{first},{_KEY_TYPES}", stack, name)
        except _KeySeen:
            raise Refused(
                "ssh_host_key_mismatch", f"{access['address']} shows another key than the pinned one"
            ) from None
        except LibsshSessionException:
            if not session.verified:
                raise
            raise Refused(
                "ssh_auth_failed", f"{access['address']} refused the login of {access['user']}"
            ) from None
        finally:
            session.close()


def _connect(
    session: Session,
    access: dict[str, Any],
    timeout: float,
    folder: Path,
    known: Path,
    key_types: str,
    stack: ExitStack,
    name: str = "",
) -> None:
    private_key = access["private_key"]
    session.connect(
        fd=_line(access, timeout, folder, stack).detach(),
        # A made-up name: the machine's own known hosts and ssh configuration have nothing to say about it.
        host=name or "host-" + secrets.token_hex(8),
        ssh_dir=str(folder),
        knownhosts=str(known),
        hostkeys=key_types,
        user=access["user"],
        timeout=max(1, round(timeout)),
        look_for_keys=False,
        private_key=private_key.encode() if private_key else None,
        password=access["password"],
    )


def _line(access: dict[str, Any], timeout: float, folder: Path, stack: ExitStack) -> socket.socket:
    """Return a connected socket to the host's SSH port, straight or through its jump host."""
    address, port = access["address"], int(access["port"])
    if not _ADDRESS.fullmatch(address):
        raise Refused("ssh_unreachable", "the address is no host name and no IP address")
    if access["jump"]:
        return _line_through(access["jump"], address, port, timeout, folder, stack)
    try:
        line = socket.create_connection((address, port), timeout)
    except OSError as error:
        raise Refused("ssh_unreachable", f"{address} port {port}: {error.strerror or 'no answer'}") from None
    line.settimeout(None)
    return line


def _line_through(
    jump: dict[str, Any], address: str, port: int, timeout: float, folder: Path, stack: ExitStack
) -> socket.socket:
    if jump["jump"]:
        raise Refused("ssh_unreachable", "a jump host behind another jump host is not supported")
    try:
        # First by itself, so that what is wrong with the jump host is told as such.
        check(jump, timeout)
    except Refused as refused:
        raise Refused(refused.error_key, f"jump host: {refused.detail}") from None
    known = folder / "known_jump"
    known.write_text(f"jump {' '.join(jump['host_key'].split()[:2])}\n", "ascii")
    target = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    options = {
        "HostKeyAlias": "jump",
        "UserKnownHostsFile": known,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "CheckHostIP": "no",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "ConnectTimeout": max(1, round(timeout)),
        "NumberOfPasswordPrompts": 1,
        "BatchMode": "no" if jump["password"] else "yes",
        "LogLevel": "ERROR",
    }
    words = ["ssh", "-F", "none", "-T", "-W", target, "-p", str(int(jump["port"])), "-l", jump["user"]]
    words += [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(folder), "LC_ALL": "C"}
    if jump["private_key"]:
        words += ["-i", _in_memory(jump["private_key"].encode(), 0o600, stack)]
    if jump["password"]:
        password = _in_memory(jump["password"].encode() + b"\n", 0o600, stack)
        environment["SSH_ASKPASS"] = _in_memory(f"#!/bin/sh\nexec cat {password}\n".encode(), 0o700, stack)
        environment["SSH_ASKPASS_REQUIRE"] = "force"
    ours, theirs = socket.socketpair()
    with theirs:
        child = subprocess.Popen(
            [*words, "--", jump["address"]],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    stack.callback(child.wait)
    stack.callback(child.kill)
    return ours


def _in_memory(content: bytes, mode: int, stack: ExitStack) -> str:
    """Return a path for another program of this user to content that is on no disk, while this process lives."""
    writing = os.memfd_create("tidegate", os.MFD_CLOEXEC)
    os.write(writing, content)
    os.fchmod(writing, mode)
    # Open for reading only: what is open for writing cannot be run.
    reading = os.open(f"/proc/self/fd/{writing}", os.O_RDONLY | os.O_CLOEXEC)
    os.close(writing)
    stack.callback(os.close, reading)
    return f"/proc/{os.getpid()}/fd/{reading}"


def answer(request: dict[str, Any]) -> dict[str, str]:
    """Do what was asked and return `{"line": ...}`, or `{"error_key": ..., "detail": ...}`."""
    access, timeout = request["access"], request["timeout"]
    try:
        if request["verb"] == "host_key":
            return {"line": host_key(access, timeout)}
        check(access, timeout)
    except Refused as refused:
        return {"error_key": refused.error_key, "detail": refused.detail}
    except LibsshSessionException:
        where = " through its jump host" if access["jump"] else ""
        detail = f"{access['address']} port {access['port']}{where}: no SSH connection came about"
        return {"error_key": "ssh_unreachable", "detail": detail}
    return {"line": ""}


if __name__ == "__main__":
    os.environ.pop("SSH_AUTH_SOCK", None)
    print(json.dumps(answer(json.load(sys.stdin))))
