# SPDX-License-Identifier: Apache-2.0
"""Wake-ups between machines, through Procrastinate's tables in PostgreSQL. They carry job ids and nothing else."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Status
from psycopg_pool import PoolTimeout

_QUEUE = "tidegate"
_TASK = "run_job"
_SCHEMA_LOCK = 0x7469646567617465  # "tidegate": two processes that start at once make the tables once
_HEARTBEAT_SECONDS = 10.0
_STALLED_SECONDS = 30.0

_log = logging.getLogger(__name__)


class ProcrastinateQueue:
    """A wake-up is a Procrastinate job that the first idle worker takes and that is gone when it was taken.

    It stays in the database until some worker waits, so a busy worker takes nothing from an idle one.
    `poll_seconds` is how late a wake-up is noticed when its notification was lost with a connection.
    """

    def __init__(self, database_url: str, poll_seconds: float = 1.0) -> None:
        self._url = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._poll_seconds = poll_seconds
        self._lock = threading.Lock()
        self._sender: App | None = None
        self._receiver: _Receiver | None = None
        self._closed = False

    def prepare(self) -> None:
        """Make Procrastinate's tables when they are not there. May be called by many processes at once."""
        with (
            psycopg.connect(self._url, autocommit=True) as guard,
            App(connector=SyncPsycopgConnector(conninfo=self._url, min_size=1, max_size=1)).open() as app,
        ):
            guard.execute("SELECT pg_advisory_lock(%s)", (_SCHEMA_LOCK,))
            # The lock goes with the connection.
            if not app.check_connection():
                app.schema_manager.apply_schema()

    def wake(self, job_id: str) -> None:
        """Tell some worker, on any machine, that this job became due."""
        if not job_id:
            raise ValueError("a job id is not empty")
        app = self._open_sender()
        with contextlib.suppress(AlreadyEnqueued):
            app.configure_task(_TASK, queue=_QUEUE, queueing_lock=job_id, allow_unknown=True).defer(
                job_id=job_id
            )

    def wait(self, timeout: float) -> str | None:
        """Block up to `timeout` seconds for a wake-up; return the job id it named, or None."""
        with self._lock:
            if self._closed:
                return None
            if self._receiver is None:
                self._receiver = _Receiver(self._url, self._poll_seconds)
            receiver = self._receiver
        return receiver.wait(timeout)

    def close(self) -> None:
        """Give back all connections; threads that wait return None."""
        with self._lock:
            self._closed = True
            sender, self._sender = self._sender, None
            receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.close()
        if sender is not None:
            sender.close()

    def _open_sender(self) -> App:
        with self._lock:
            if self._closed:
                raise RuntimeError("the queue is closed")
            if self._sender is None:
                # The first wake-up of an installation may come before its first worker, who prepares as well.
                self.prepare()
                connector = SyncPsycopgConnector(conninfo=self._url, min_size=1, max_size=4)
                self._sender = App(connector=connector).open()
            return self._sender


class _Receiver:
    """Takes wake-ups, in an event loop of its own thread: Procrastinate's fetching is asynchronous."""

    def __init__(self, url: str, poll_seconds: float) -> None:
        self._app = App(connector=PsycopgConnector(conninfo=url, min_size=1, max_size=4))
        self._poll_seconds = poll_seconds
        self._worker_id = 0
        self._waiting: set[asyncio.Event] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._pending: set[concurrent.futures.Future[str | None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="queue", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(30)
        except BaseException:
            self._end_loop()
            raise

    def wait(self, timeout: float) -> str | None:
        """Return the job id of a wake-up, or None after `timeout` seconds or when closed meanwhile."""
        try:
            future = asyncio.run_coroutine_threadsafe(self._take(time.monotonic() + timeout), self._loop)
        except RuntimeError:
            return None
        self._pending.add(future)
        try:
            return future.result()
        except (concurrent.futures.CancelledError, asyncio.CancelledError):
            return None
        finally:
            self._pending.discard(future)

    def close(self) -> None:
        """End the thread and its connections."""
        for future in list(self._pending):
            future.cancel()
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)
        self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()

    async def _open(self) -> None:
        await self._app.open_async()
        self._worker_id = await self._app.job_manager.register_worker()
        self._tasks = [
            asyncio.create_task(self._again(self._listen)),
            asyncio.create_task(self._again(self._keep_alive)),
        ]

    async def _shut(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(Exception):
            await self._app.job_manager.unregister_worker(self._worker_id)
        await self._app.close_async()

    async def _take(self, deadline: float) -> str | None:
        woken = asyncio.Event()
        # Listed before the first look, so that no wake-up falls between the look and the wait.
        self._waiting.add(woken)
        try:
            while True:
                woken.clear()
                job_id = await self._fetch()
                remaining = deadline - time.monotonic()
                if job_id is not None or remaining <= 0:
                    return job_id
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), min(remaining, self._poll_seconds))
        finally:
            self._waiting.discard(woken)

    async def _fetch(self) -> str | None:
        manager = self._app.job_manager
        job = await manager.fetch_job(queues=[_QUEUE], worker_id=self._worker_id)
        if job is None:
            return None
        await manager.finish_job(job, status=Status.SUCCEEDED, delete_job=True)
        return str(job.task_kwargs["job_id"])

    async def _listen(self) -> None:
        await self._app.job_manager.listen_for_jobs(on_notification=self._notified, queues=[_QUEUE])

    async def _notified(self, *, channel: str, notification: Any) -> None:
        for woken in self._waiting:
            woken.set()

    async def _keep_alive(self) -> None:
        manager = self._app.job_manager
        while True:
            await manager.update_heartbeat(self._worker_id)
            await manager.prune_stalled_workers(_STALLED_SECONDS)
            # A process that was killed between taking and finishing: its wake-up goes to another.
            for job in await manager.get_stalled_jobs(queue=_QUEUE, seconds_since_heartbeat=_STALLED_SECONDS):
                await manager.retry_job(job, retry_at=datetime.now(UTC))
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    async def _again(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except (ConnectorException, psycopg.Error, PoolTimeout, OSError) as error:
                _log.warning("the queue lost its database and tries again: %s", type(error).__name__)
            await asyncio.sleep(self._poll_seconds)
