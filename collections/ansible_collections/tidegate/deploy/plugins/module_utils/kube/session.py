# SPDX-License-Identifier: Apache-2.0
"""Requests to one API server, several at a time over connections that are kept."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlencode

from ..release.errors import ReleaseError
from . import address_guard
from .kubeconfig import Access

PARALLEL = 8
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
_BUSY_SECONDS = 20.0
_MOST_BYTES = 64 * 1024 * 1024
_JSON = "application/json"
Item = TypeVar("Item")
Result = TypeVar("Result")


class ApiError(Exception):
    """What the server refused: the HTTP status and its Status object."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(str(document.get("message") or f"HTTP status {status}"))
        self.status = status
        self.reason = str(document.get("reason") or "")
        self.document = document


class _Connection(http.client.HTTPSConnection):
    def __init__(self, access: Access) -> None:
        super().__init__(access.host, access.port, timeout=_CONNECT_SECONDS, context=access.tls)
        self._access = access

    def connect(self) -> None:
        plain = self._reach()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.settimeout(_ANSWER_SECONDS)
        self.sock = self._access.tls.wrap_socket(plain, server_hostname=self._access.server_name)

    def _reach(self) -> socket.socket:
        """Connect to the first address that answers, each judged before: no name leads where none may lead."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses if self._access.address_allow is not None else []:
            kind = address_guard.why_forbidden(address, self._access.address_allow or [])
            if kind:
                raise ReleaseError(
                    "endpoint_invalid", f"the cluster's endpoint leads to {kind}, which no cluster may have here",
                    "An administrator can allow its network with the setting cluster_address_allow.",
                )  # fmt: skip
        last: OSError = OSError(f"{self.host} has no address")
        for address in addresses:
            try:
                return socket.create_connection((address, self.port), _CONNECT_SECONDS)
            except OSError as error:
                last = error
        raise last


class Session:
    """Close it, or use it in a `with`. Requests may come from several threads; each keeps a connection."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._own = threading.local()
        self._open: list[_Connection] = []
        self._pool: ThreadPoolExecutor | None = None

    @property
    def is_verified(self) -> bool:
        """Is the server's certificate checked?"""
        return self._access.is_verified

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        for connection in self._open:
            connection.close()

    def each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """What `work` answers for each, in their order, several at a time; raises what the first to fail raised."""
        found = list(items)
        if len(found) < 2:
            return [work(one) for one in found]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(PARALLEL)
        return list(self._pool.map(work, found))

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Read one thing; raises ApiError, or ReleaseError cluster_unreachable."""
        return self.send("GET", path, query)

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = _JSON,
    ) -> dict[str, Any]:
        """Ask once more when a kept connection was closed meanwhile, and wait while the server is busy.

        Everything that is asked here may be asked twice. Raises ApiError, or ReleaseError cluster_unreachable.
        """
        data = self._ask(method, path, query, body, content_type)
        try:
            return dict(json.loads(data))
        except ValueError as error:
            raise _unreachable("what answers is no Kubernetes API") from error

    def text(self, path: str, query: Mapping[str, Any] | None = None) -> str:
        """Read text, such as a log; raises as `send`."""
        return self._ask("GET", path, query, None, _JSON).decode("utf-8", "replace")

    def _ask(
        self, method: str, path: str, query: Mapping[str, Any] | None, body: Any, content_type: str
    ) -> bytes:
        target = self._access.prefix + path + ("?" + urlencode(query) if query else "")
        headers = {"Accept": f"{_JSON}, */*;q=0.5", "User-Agent": "tidegate", **self._access.headers}
        data = (
            None if body is None else json.dumps(body, separators=(",", ":")).encode("utf-8", "surrogatepass")
        )
        if data is not None:
            headers["Content-Type"] = content_type
        until = time.monotonic() + _BUSY_SECONDS
        while True:
            status, answer, wait = self._exchange(method, target, data, headers)
            if status < 400:
                return answer
            if status != 429 or time.monotonic() + wait > until:
                raise ApiError(status, _status(answer))
            time.sleep(wait)

    def _exchange(
        self, method: str, target: str, data: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, float]:
        for is_last in (False, True):
            connection = self._connection()
            was_open = connection.sock is not None
            try:
                connection.request(method, target, data, dict(headers))
                answer = connection.getresponse()
                content = answer.read(_MOST_BYTES + 1)
                if len(content) > _MOST_BYTES:
                    connection.close()
                    raise _unreachable(f"an answer is larger than {_MOST_BYTES} bytes")
                wait = answer.headers.get("Retry-After") or "1"
                return answer.status, content, float(wait) if wait.isdigit() else 1.0
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if is_last or not was_open or isinstance(error, TimeoutError):
                    raise _unreachable(str(error) or type(error).__name__) from error
        raise AssertionError("the second time is the last")

    def _connection(self) -> _Connection:
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = _Connection(self._access)
            self._open.append(connection)
        return connection


def _status(answer: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(answer)
    except ValueError:
        return {"message": answer.decode("utf-8", "replace").strip()[:500]}
    return document if isinstance(document, dict) else {}


def _unreachable(why: str) -> ReleaseError:
    return ReleaseError(
        "cluster_unreachable", f"the cluster cannot be reached: {why}", "See that its API answers from here."
    )
