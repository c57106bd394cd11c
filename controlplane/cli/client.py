# SPDX-License-Identifier: Apache-2.0
"""The REST API as the command line asks it: problem documents, safe repeats, pages, streams."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from controlplane.cli.login_file import Login

PREFIX = "/api/v1"
ATTEMPTS = 4
PAUSE_SECONDS = 0.3
# A preview waits for up to 30 seconds on the server.
READ_SECONDS = 90.0


class ApiProblem(Exception):
    """The server's problem document."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(str(document.get("detail", status)))
        self.status = status
        self.document = dict(document)


class Unreachable(Exception):
    """The server does not answer; the message says why."""


class Client:
    """One command's connection. Each POST carries one `Idempotency-Key`, so that asking again does nothing twice."""

    def __init__(self, login: Login, transport: httpx.BaseTransport | None = None) -> None:
        headers = {"Accept": "application/json", "User-Agent": "tidegate-cli"}
        if login.token:
            headers["Authorization"] = f"Bearer {login.token}"
        self.login = login
        timeout = httpx.Timeout(READ_SECONDS, connect=10.0)
        # A redirect would carry the token to wherever it points.
        self._http = httpx.Client(
            base_url=login.url, headers=headers, timeout=timeout, transport=transport, follow_redirects=False
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """Read a document. Raises ApiProblem, Unreachable."""
        return self._ask(
            "GET", path, params={name: value for name, value in query.items() if value is not None}
        )

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """Create or decide. Raises ApiProblem, Unreachable."""
        keyed = {"Idempotency-Key": str(uuid.uuid4()), **(headers or {})}
        return self._ask("POST", path, json={} if body is None else body, headers=keyed)

    def patch(self, path: str, body: Any) -> Any:
        """Change some fields. Raises ApiProblem, Unreachable."""
        return self._ask("PATCH", path, json=body)

    def put(self, path: str, body: Any) -> Any:
        """Set a document. Raises ApiProblem, Unreachable."""
        return self._ask("PUT", path, json=body)

    def delete(self, path: str) -> Any:
        """Delete. Raises ApiProblem, Unreachable."""
        return self._ask("DELETE", path)

    def upload(self, path: str, content: Iterator[bytes], size: int, query: Mapping[str, str]) -> Any:
        """Stream bytes as the body of a POST. It is not repeated: the file may be gigabytes."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        try:
            response = self._http.post(
                PREFIX + path,
                content=content,
                headers=headers,
                params=dict(query),
                timeout=httpx.Timeout(600.0),
            )
        except httpx.TransportError as error:
            raise Unreachable(_reason(self.login.url, error)) from error
        return _read(response)

    def pages(self, path: str, limit: int | None = None, **query: Any) -> dict[str, Any]:
        """Read a list to its end, or up to `limit` items: `{items, next, total_estimate}` and what else it says."""
        page = self.get(path, limit=min(limit or 100, 100), **query)
        items = list(page["items"])
        while page.get("next") and (limit is None or len(items) < limit):
            page = {**page, **self.get(path, limit=100, cursor=page["next"], **query)}
            items += page["items"]
        return {**page, "items": items[:limit]}

    def lines(self, path: str) -> Iterator[str]:
        """Read a long answer line by line. Raises ApiProblem, Unreachable."""
        try:
            with self._http.stream("GET", PREFIX + path) as response:
                if response.status_code >= 400:
                    response.read()
                    _read(response)
                yield from response.iter_lines()
        except httpx.TransportError as error:
            raise Unreachable(_reason(self.login.url, error)) from error

    def stream(self, path: str, last_event_id: int, silence_seconds: float) -> Iterator[str]:
        """Yield lines of an event stream until it ends or breaks. Raises ApiProblem, Unreachable."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last_event_id)}
        timeout = httpx.Timeout(silence_seconds, connect=10.0)
        try:
            with self._http.stream("GET", PREFIX + path, headers=headers, timeout=timeout) as response:
                if response.status_code >= 400:
                    response.read()
                    _read(response)
                yield from response.iter_lines()
        except httpx.TransportError as error:
            raise Unreachable(_reason(self.login.url, error)) from error

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        """Ask, and ask again where no answer came: GET, PUT and DELETE may be repeated, POST has its key."""
        last: httpx.TransportError | None = None
        attempts = 1 if method == "PATCH" else ATTEMPTS
        for attempt in range(attempts):
            if attempt:
                time.sleep(PAUSE_SECONDS * 2**attempt)
            try:
                return _read(self._http.request(method, PREFIX + path, **request))
            except httpx.TransportError as error:
                last = error
        assert last is not None
        raise Unreachable(_reason(self.login.url, last)) from last


def _read(response: httpx.Response) -> Any:
    if response.status_code < 300:
        return response.json() if response.content else None
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"detail": f"the server answered {response.status_code} without a problem document"}
    raise ApiProblem(response.status_code, document)


def _reason(url: str, error: httpx.TransportError) -> str:
    return f"{url} does not answer: {error or type(error).__name__}"
