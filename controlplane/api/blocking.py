# SPDX-License-Identifier: Apache-2.0
"""What waits inside a C library is moved to a real thread: in a green one it would stop every other request."""

from __future__ import annotations

from dataclasses import replace

from gevent import get_hub

from controlplane.ports.probe import HostKey, HostProbe, SshAccess
from controlplane.services.core import Core


class ThreadedProbe:
    """Asks another probe from a thread of gevent's pool. libssh waits for the network in C."""

    def __init__(self, probe: HostProbe) -> None:
        self._probe = probe

    def host_key(self, access: SshAccess, timeout: float = 10.0) -> HostKey:
        """Return the key that the host shows."""
        return get_hub().threadpool.apply(self._probe.host_key, (access, timeout))  # type: ignore[no-any-return]

    def check(self, access: SshAccess, timeout: float = 10.0) -> None:
        """Connect and authenticate, then disconnect."""
        get_hub().threadpool.apply(self._probe.check, (access, timeout))


def without_blocking(core: Core) -> Core:
    """Return an installation whose ports let other green threads go on."""
    return replace(core, probe=ThreadedProbe(core.probe))
