# SPDX-License-Identifier: Apache-2.0
"""Read-only looks at a host: its SSH key, and why a connection fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class SshAccess:
    """How a host is reached. `host_key` is the pinned public key line (`ssh-ed25519 AAAA...`), or None."""

    address: str
    port: int
    user: str
    private_key: str | None = None
    password: str | None = None
    host_key: str | None = None
    jump: SshAccess | None = None


@dataclass(frozen=True)
class HostKey:
    """A host key as the host shows it, and its SHA-256 fingerprint as OpenSSH prints it."""

    line: str
    fingerprint: str


class HostProbe(Protocol):
    """Never changes a host and never trusts one."""

    def host_key(self, access: SshAccess, timeout: float = 10.0) -> HostKey:
        """Return the key that the host shows. Raises Problem `ssh_unreachable` (or `ssh_auth_failed` at the jump)."""
        ...

    def check(self, access: SshAccess, timeout: float = 10.0) -> None:
        """Connect and authenticate, then disconnect.

        Raises:
            Problem: `ssh_unreachable`, `ssh_auth_failed` or `ssh_host_key_mismatch`.
        """
        ...
