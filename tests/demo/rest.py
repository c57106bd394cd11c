# SPDX-License-Identifier: Apache-2.0
"""One person's way to the REST API, as a script of theirs would use it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx


class Refused(Exception):
    """The API's problem document, as `document`."""

    def __init__(self, asked: str, document: dict[str, Any]) -> None:
        super().__init__(f"{asked}: {json.dumps(document)}")
        self.document = document


class Person:
    """Asks with a token of their own."""

    def __init__(self, url: str, name: str, token: str) -> None:
        self.url = url
        self.name = name
        self.token = token
        self._http = httpx.Client(
            base_url=f"{url}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(90.0),
        )

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port of the server."""
        return self._http.base_url.host, self._http.base_url.port or 80

    def get(self, path: str, **query: Any) -> Any:
        """Read. Raises Refused."""
        return self._answer(self._http.get(path, params=query))

    def post(self, path: str, body: dict[str, Any] | None = None, prefer: str | None = None) -> Any:
        """Create or decide. Raises Refused."""
        headers = {"Idempotency-Key": str(uuid.uuid4()), **({"Prefer": prefer} if prefer else {})}
        return self._answer(self._http.post(path, json=body or {}, headers=headers))

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        """Change. Raises Refused."""
        return self._answer(self._http.patch(path, json=body))

    def put(self, path: str, body: dict[str, Any] | list[Any]) -> Any:
        """Replace. Raises Refused."""
        return self._answer(self._http.put(path, json=body))

    def delete(self, path: str) -> None:
        """Delete. Raises Refused."""
        self._answer(self._http.delete(path))

    def push(self, archive: Path, project_id: str) -> Any:
        """Send an image archive. Raises Refused."""
        with archive.open("rb") as content:
            answer = self._http.post(
                "/artifacts",
                params={"project_id": project_id},
                content=iter(lambda: content.read(1 << 20), b""),
                headers={"Content-Type": "application/octet-stream"},
            )
        return self._answer(answer)

    def follow(self, release_id: str) -> Iterator[dict[str, Any]]:
        """Yield a release's events as they happen, until it has ended."""
        seen = 0
        until = time.monotonic() + 300
        while time.monotonic() < until:
            headers = {"Last-Event-ID": str(seen)}
            name = ""
            try:
                with self._http.stream(
                    "GET", f"/deploy/releases/{release_id}/timeline/stream", headers=headers
                ) as stream:
                    for line in stream.iter_lines():
                        key, _, value = line.partition(": ")
                        if key == "event":
                            name = value
                        elif key == "data" and name == "end":
                            return
                        elif key == "data":
                            event = json.loads(value)
                            seen = event["seq"]
                            yield event
                        elif not line:
                            name = ""
            except httpx.TransportError:
                time.sleep(0.5)
        raise TimeoutError(f"{release_id} did not end within five minutes")

    @staticmethod
    def _answer(response: httpx.Response) -> Any:
        if response.status_code >= 400:
            raise Refused(f"{response.request.method} {response.request.url.path}", response.json())
        return response.json() if response.content else None
