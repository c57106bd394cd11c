# SPDX-License-Identifier: Apache-2.0
"""Read-only looks at a host over SSH: its host key, and whether a login works."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from controlplane.domain.errors import Problem
from controlplane.ports.probe import HostKey, SshAccess

_CHILD = Path(__file__).with_name("ssh_child.py")
_START_SECONDS = 3.0


class SshProbe:
    """Asks each host from a process of its own, which is ended when the time is over.

    Secrets reach that process through a pipe: they are in no command line, environment or file.
    """

    def host_key(self, access: SshAccess, timeout: float = 10.0) -> HostKey:
        """Return the key that the host shows, an Ed25519 one where it has one. Nothing is trusted or kept.

        Raises:
            Problem: `ssh_unreachable`; what is wrong with the jump host under the keys of `check`.
        """
        line = self._ask("host_key", access, timeout)
        return HostKey(line, fingerprint_of(line))

    def check(self, access: SshAccess, timeout: float = 10.0) -> None:
        """Connect, compare the host key with the pinned one, log in, leave.

        Raises:
            Problem: `ssh_unreachable`, `ssh_host_key_mismatch` (then nothing was sent that proves who we are),
                `ssh_auth_failed`, or `host_key_unconfirmed` when none is pinned.
        """
        self._ask("check", access, timeout)

    def _ask(self, verb: str, access: SshAccess, timeout: float) -> str:
        for one in filter(None, (access, access.jump)):
            _check_access(one)
        request = json.dumps({"verb": verb, "access": _document(access), "timeout": timeout})
        # The child's own folder would stay when the child is killed.
        with tempfile.TemporaryDirectory(prefix="tidegate-probe-") as folder:
            out = _converse(request.encode(), folder, timeout + _START_SECONDS)
        if out is None:
            raise Problem(
                "ssh_unreachable",
                f"{access.address} port {access.port}: no answer within {timeout:g} seconds",
            )
        return _read_answer(out, access)


def fingerprint_of(line: str) -> str:
    """Return the SHA-256 fingerprint of a public key line, as OpenSSH prints it.

    Raises:
        ValueError: the line is no public key.
    """
    words = line.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (IndexError, binascii.Error):
        raise ValueError("not a public key line") from None
    name = words[0].encode()
    if blob[: 4 + len(name)] != len(name).to_bytes(4, "big") + name:
        raise ValueError("not a public key line")
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _check_access(access: SshAccess) -> None:
    if access.host_key is not None:
        try:
            fingerprint_of(access.host_key)
        except ValueError:
            raise Problem("validation_error", "the pinned host key is no public key line") from None
    if access.private_key is None:
        return
    key = access.private_key.encode()
    load = load_ssh_private_key if b"BEGIN OPENSSH" in key else load_pem_private_key
    try:
        load(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Problem("ssh_auth_failed", "the private key cannot be read, or has a passphrase") from None


def _document(access: SshAccess) -> dict[str, Any]:
    document = dataclasses.asdict(access)
    for one in filter(None, (document, document["jump"])):
        if one["private_key"]:
            one["private_key"] = one["private_key"].strip() + "\n"
    return document


def _converse(request: bytes, folder: str, seconds: float) -> bytes | None:
    """Return what the child answered, or None when it took too long."""
    child = subprocess.Popen(
        [sys.executable, "-I", str(_CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "TMPDIR": folder},
    )
    try:
        return child.communicate(request, seconds)[0]
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        # Its whole group, for the ssh that it may have started.
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()


def _read_answer(out: bytes, access: SshAccess) -> str:
    try:
        answer = json.loads(out)
    except ValueError:
        raise Problem("ssh_unreachable", f"{access.address}: the connection broke down") from None
    if "error_key" in answer:
        raise Problem(answer["error_key"], answer["detail"])
    return str(answer["line"])
