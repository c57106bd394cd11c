# SPDX-License-Identifier: Apache-2.0
"""Questions to the engine over its own socket: a hundred times cheaper than to start a command for each."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ..release.errors import ReleaseError

_SOCKET = "/var/run/docker.sock"


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def socket_path() -> str | None:
    """The socket that the docker command would use; None when it would use something else than a socket."""
    named = os.environ.get("DOCKER_HOST")
    if named:
        return named[len("unix://") :] if named.startswith("unix://") else None
    context = os.environ.get("DOCKER_CONTEXT") or _current_context()
    return _SOCKET if context in (None, "", "default") else None


def _current_context() -> str | None:
    try:
        config = json.loads((Path.home() / ".docker" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        return None
    return config.get("currentContext") if isinstance(config, dict) else None


def get(
    path: str,
    query: Mapping[str, str] | None = None,
    timeout: float = 60,
    credential: Mapping[str, Any] | None = None,
) -> tuple[int, Any]:
    """Ask; `timeout` is seconds. Answers the HTTP status and the document.

    `credential` is {server, username, password} of a registry that the engine is to ask.
    Raises ReleaseError preflight_failed when the engine does not answer.
    """
    headers = {}
    if credential:
        known = {"username": credential["username"], "password": credential["password"],
                 "serveraddress": credential["server"]}  # fmt: skip
        headers["X-Registry-Auth"] = base64.urlsafe_b64encode(json.dumps(known).encode()).decode()
    connection = _Connection(socket_path() or _SOCKET, timeout)
    try:
        connection.request("GET", path + ("?" + urlencode(query) if query else ""), headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    except (OSError, http.client.HTTPException, ValueError) as error:
        if shutil.which("docker", path=os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/bin") is None:
            raise ReleaseError(
                "preflight_failed", "there is no docker command on the host", "Install Docker and Compose 2."
            ) from error
        raise ReleaseError(
            "preflight_failed", f"the engine does not answer: {error}",
            "Start Docker, and let the user reach its socket (group docker, or become).",
        ) from error  # fmt: skip
    finally:
        connection.close()
