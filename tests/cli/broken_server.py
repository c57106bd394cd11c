# SPDX-License-Identifier: Apache-2.0
"""An HTTP server on loopback that answers what a test wrote down, and breaks off where it says so."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Script:
    """Answers in order, and the requests that they were given for. An answer of None breaks the connection."""

    answers: list[tuple[int, str, bytes] | None]
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    url: str = ""


def document(status: int, content: Any) -> tuple[int, str, bytes]:
    """An answer with a JSON document."""
    return status, "application/json", json.dumps(content).encode()


def stream(*events: tuple[str, dict[str, Any]]) -> tuple[int, str, bytes]:
    """An event stream that breaks off after these events."""
    text = "retry: 1000\n\n: still here\n\n"
    for name, data in events:
        head = "" if name == "message" else f"event: {name}\n"
        text += f"{head}id: {data.get('seq', '')}\ndata: {json.dumps(data)}\n\n"
    return 200, "text/event-stream", text.encode()


@contextmanager
def answering(*answers: tuple[int, str, bytes] | None) -> Iterator[Script]:
    """Serve these answers, one a request."""
    script = Script(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def _next(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            script.bodies.append(self.rfile.read(length))
            script.requests.append((self.command, self.path, dict(self.headers.items())))
            answer = script.answers.pop(0)
            if answer is None:
                self.close_connection = True
                return
            status, media, body = answer
            self.send_response(status)
            self.send_header("Content-Type", media)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _next

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
