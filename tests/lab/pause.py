# SPDX-License-Identifier: Apache-2.0
"""The image of the process that holds a pod's network open: busybox asleep."""

from __future__ import annotations

from . import app, packages

REFERENCE = "docker.io/lab/pause:1"


def archive() -> bytes:
    """A Docker archive with that image."""
    busybox = (packages.unpacked() / "bin/busybox").read_bytes()
    layer = app.tar_of([("bin/busybox", busybox, 0o755)])
    return app.image_archive(
        REFERENCE, layer, {"Entrypoint": ["/bin/busybox", "sleep", "2147483647"], "Env": ["PATH=/bin"]}
    )
