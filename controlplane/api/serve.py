# SPDX-License-Identifier: Apache-2.0
"""The server process of `tidegate serve`: green threads, so that hundreds of open streams cost little.

Workers are spawned before gevent is there, from a process that has loaded what both need: memory that neither
changes is shared.
"""

from __future__ import annotations

import gc
import logging
import resource
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from controlplane.services.core import Core
    from controlplane.settings import Settings

log = logging.getLogger(__name__)
STOP_SECONDS = 10.0
QUEUED_CONNECTIONS = 1024


def serve(settings: Settings, spawn_workers: Callable[[], Callable[[], None]] | None = None) -> None:
    """Answer on the settings' address until SIGTERM or SIGINT, then finish what was begun and return.

    Args:
        spawn_workers: starts the workers and returns what stops them. Called before the server is loaded, in a
            process that may fork; what it returns is called after the last request was answered.

    Raises:
        KeyFileUnsafe: the key file is missing, published or readable by others.
        OSError: the address is taken.
    """
    if spawn_workers:
        _load_shared()
    stop_workers = spawn_workers() if spawn_workers else None
    try:
        # Before anything that opens sockets or starts threads is imported for good.
        from gevent import monkey

        monkey.patch_all()
        _serve(settings)
    finally:
        if stop_workers:
            stop_workers()


def _load_shared() -> None:
    """Import what server and workers both use and gevent has nothing to change in.

    The locks that SQLAlchemy makes while it is imported stay native ones: none is held while something waits.
    """
    import sqlalchemy.dialects.sqlite  # noqa: F401
    from sqlalchemy.orm import configure_mappers

    import controlplane.services.job_kinds  # noqa: F401
    from controlplane import bootstrap

    bootstrap.scheduled()
    configure_mappers()
    gc.collect()
    # The collector writes into each object it looks at, which would give every process a copy of its own.
    gc.freeze()


def _serve(settings: Settings) -> None:
    import gevent
    from gevent.event import Event
    from gevent.pool import Pool
    from gevent.pywsgi import WSGIServer

    from controlplane import bootstrap
    from controlplane import logging as json_lines
    from controlplane.api.app import create_app

    json_lines.configure(settings.log_level)
    _allow_many_sockets()
    core = bootstrap.build_core(settings)
    app = create_app(core)
    idle: set[socket.socket] = set()
    server = WSGIServer(
        (settings.listen_host, settings.listen_port),
        app,
        spawn=Pool(),
        backlog=QUEUED_CONNECTIONS,
        log=None,
        error_log=logging.getLogger("tidegate.server"),
        handler_class=_handler(idle),
    )
    server.start()
    log.info("listening on %s:%d", settings.listen_host, server.server_port)
    wanted = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, wanted.set)
    wanted.wait()
    log.info("stopping: requests under way are finished first")
    # No new connection first, so that no client of a closed stream comes back to this process.
    server.close()
    app.extensions["tidegate.hub"].close()
    _finish(server, idle)
    _close(core)


def _finish(server: Any, idle: set[socket.socket]) -> None:
    """Let requests under way end, and close each connection once it only waits for its next request."""
    until = time.monotonic() + STOP_SECONDS
    while server.pool and time.monotonic() < until:
        for connection in list(idle):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        time.sleep(0.05)
    server.stop(timeout=0)


def _close(core: Core) -> None:
    core.queue.close()
    core.database.engine.dispose()


def _handler(idle: set[socket.socket]) -> type[Any]:
    from gevent.pywsgi import WSGIHandler

    from controlplane.api.sse import SOCKET_KEY

    class Handler(WSGIHandler):  # type: ignore[misc]
        """Gives views the connection, so that a stream whose client does not read can be cut off.

        Connections that wait for their next request are kept in `idle`: nothing is lost by closing those.
        """

        def handle(self) -> None:
            # Head and body are written one after the other: held back until the client has acknowledged the head,
            # which clients put off (RFC 1122, 4.2.3.2), each answer would take 40 ms longer.
            with suppress(OSError):
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            super().handle()

        def read_requestline(self) -> Any:
            idle.add(self.socket)
            try:
                return super().read_requestline()
            finally:
                idle.discard(self.socket)

        def get_environ(self) -> dict[str, Any]:
            environ: dict[str, Any] = super().get_environ()
            environ[SOCKET_KEY] = self.socket
            return environ

    return Handler


def _allow_many_sockets() -> None:
    """Raise the soft limit of open files to the hard one: each stream is one."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
