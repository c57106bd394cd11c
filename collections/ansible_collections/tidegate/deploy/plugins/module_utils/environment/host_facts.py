# SPDX-License-Identifier: Apache-2.0
"""What a host is, as an install needs to know it. Reading changes nothing, and what cannot be read is None."""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from typing import Any, Dict, List, Optional


def read(state_folder: str) -> Dict[str, Any]:
    """Facts: sizes in MB of 2**20 bytes, `clock` in seconds since the epoch."""
    release = _release()
    return {
        "os": release.get("ID", "unknown"),
        "os_version": release.get("VERSION_ID", ""),
        "arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "kernel": platform.release(),
        "cgroup_version": 2 if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else 1,
        "cgroup_controllers": controllers(),
        "memory_mb": _memory_mb("MemTotal"),
        "swap_mb": _memory_mb("SwapTotal"),
        "disk_mb": free_mb(state_folder),
        "clock": time.time(),
        "user_id": os.geteuid(),
        "systemd": os.path.isdir("/run/systemd/system"),
    }


def controllers() -> List[str]:
    """The cgroup controllers that the kernel offers."""
    listed = _text("/sys/fs/cgroup/cgroup.controllers").split()
    if listed:
        return sorted(listed)
    rows = [line.split() for line in _text("/proc/cgroups").splitlines() if not line.startswith("#")]
    return sorted(row[0] for row in rows if len(row) == 4 and row[3] == "1")


def free_mb(path: str) -> int:
    """What is free on the disk that a path is on, or would be."""
    while not os.path.exists(path):
        path = os.path.dirname(path) or "/"
    return shutil.disk_usage(path).free >> 20


def is_listening(port: int, protocol: str) -> bool:
    """Whether something has the port. TCP: a listener; UDP: any socket."""
    for table in (f"/proc/net/{protocol}", f"/proc/net/{protocol}6"):
        for line in _text(table).splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if int(local.rpartition(":")[2], 16) == port and (protocol == "udp" or state == "0A"):
                return True
    return False


def has_module(name: str) -> bool:
    """Whether the kernel has a module: loaded, built in, or to be loaded."""
    plain = name.replace("-", "_")
    if os.path.isdir(f"/sys/module/{plain}") or plain in [
        line.split()[0] for line in _text("/proc/modules").splitlines()
    ]:
        return True
    if name == "overlay" and re.search(r"\boverlay$", _text("/proc/filesystems"), re.MULTILINE):
        return True
    folder = f"/lib/modules/{platform.release()}"
    pattern = re.compile(rf"/{re.escape(plain)}\.ko(\.\w+)?(:|$)", re.MULTILINE)
    texts = (
        _text(os.path.join(folder, name)).replace("-", "_") for name in ("modules.dep", "modules.builtin")
    )
    return any(pattern.search(text) for text in texts)


def _memory_mb(name: str) -> Optional[int]:
    match = re.search(rf"^{name}:\s+(\d+) kB", _text("/proc/meminfo"), re.MULTILINE)
    return int(match[1]) >> 10 if match else None


def _release() -> Dict[str, str]:
    pairs = [line.partition("=") for line in _text("/etc/os-release").splitlines() if "=" in line]
    return {name: value.strip("\"'") for name, _equals, value in pairs}


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
