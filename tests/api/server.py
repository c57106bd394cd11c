# SPDX-License-Identifier: Apache-2.0
"""A served process for tests: `python -m tests.api.server` answers with the settings of its environment."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx


@contextmanager
def served(home: Path) -> Iterator[str]:
    """Serve an installation (made already) from a process of its own; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "TIDEGATE_HOME": str(home),
        "TIDEGATE_LISTEN": f"127.0.0.1:{port}",
    }
    log_path = home / "server.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "tests.api.server"], env=environment, stderr=log)
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}", process, log_path)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"the server did not become ready: {log.read_text()[-2000:]}")


if __name__ == "__main__":
    from controlplane import settings as configuration
    from controlplane.api.serve import serve

    serve(configuration.load(os.environ))
