# SPDX-License-Identifier: Apache-2.0
"""The lab's own Docker engine, which runs the hosts; it never meets one that the machine has.

One engine serves all labs of one `$TIDEGATE_LAB_HOME`. It writes no firewall rule, sets no sysctl and makes
no bridge but those of the labs' networks. Its images stay in the cache when it is stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from . import packages, paths
from .command import LabError, run

LAB_LABEL = "dev.tidegate.lab"


class Engine:
    """A containerd and a dockerd with folders, sockets and a cgroup of their own."""

    def __init__(self) -> None:
        key = paths.digest(str(paths.home()), length=8)
        self.data = paths.cache() / "engine"
        # Socket names are limited to 107 bytes, so they cannot live under an arbitrarily deep home.
        self.sockets = paths.SOCKETS / f"tidegate-lab-{key}"
        self.cgroup = f"tidegate-lab-{key}"
        self.lock = paths.home() / "engine.lock"

    @property
    def url(self) -> str:
        """The address of the engine's API."""
        return f"unix://{self.sockets}/docker.sock"

    def docker(
        self, *args: str, check: bool = True, text: str | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run the engine's own command-line client."""
        return run(self.argv(*args), check=check, text=text, timeout=timeout)

    def argv(self, *args: str) -> list[str]:
        """The words of a client command, for callers that must stream."""
        client = packages.unpacked() / "usr/bin/docker"
        return [str(client), "--config", str(self.sockets / "client"), "--host", self.url, *args]

    def answers(self) -> bool:
        """Whether the engine is up; never waits long, and needs no download to say no."""
        if not (self.sockets / "docker.sock").exists():
            return False
        with contextlib.suppress(LabError):
            return self.docker("version", check=False, timeout=10).returncode == 0
        return False

    def ensure_running(self) -> bool:
        """Start the engine unless it answers; tells whether it had to. Raises LabError with the log's end."""
        with paths.locked(self.lock):
            if self.answers():
                return False
            self._start()
            return True

    def stop(self) -> None:
        """Stop the engine and undo its mounts, sockets and cgroups. Images stay cached."""
        with paths.locked(self.lock):
            for program in ("dockerd", "containerd"):
                self._end(program)
            unmount_below(self.data, self.sockets)
            _remove_tree(self.sockets)
            self._remove_cgroups()
            for folder in ("/run/containerd/s", "/run/containerd"):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()

    def in_use(self) -> bool:
        """Whether any lab still has a host or a network in the engine."""
        label = ["--filter", f"label={LAB_LABEL}", "-q"]
        return bool(
            self.docker("ps", "-a", *label).stdout.strip()
            or self.docker("network", "ls", *label).stdout.strip()
        )

    def _start(self) -> None:
        for folder in (self.data, self.sockets / "client"):
            folder.mkdir(parents=True, exist_ok=True)
        # A dockerd that was killed leaves a containerd behind that may not answer any more.
        for program in ("dockerd", "containerd"):
            self._end(program)
        (self.sockets / "docker.sock").unlink(missing_ok=True)
        binaries = packages.unpacked()
        containerd = self.sockets / "containerd.sock"
        (self.sockets / "containerd.toml").write_text(
            "version = 2\n"
            f'root = "{self.data}/containerd"\nstate = "{self.sockets}/containerd"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{containerd}"\n'
        )
        (self.sockets / "daemon.json").write_text(json.dumps({"log-opts": {"max-size": "10m"}}))
        supervisor = [str(binaries / "usr/bin/containerd"), "-c", str(self.sockets / "containerd.toml")]
        self._spawn("containerd", supervisor, containerd.exists)
        self._spawn("dockerd", [
            str(binaries / "usr/sbin/dockerd"),
            "--config-file", str(self.sockets / "daemon.json"), "--containerd", str(containerd),
            "--data-root", str(self.data / "docker"), "--exec-root", str(self.sockets / "exec"),
            "--host", self.url, "--pidfile", str(self.sockets / "docker.pid"), "--bridge", "none",
            "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
            "--userland-proxy=false", "--cgroup-parent", f"/{self.cgroup}",
            "--exec-opt", "native.cgroupdriver=cgroupfs", "--oom-score-adjust", "0", "--log-level", "warn",
        ], self.answers)  # fmt: skip

    def _spawn(self, program: str, argv: list[str], ready: Callable[[], bool], seconds: float = 60) -> None:
        """Start a program that outlives this process, and wait until it is ready."""
        binaries = packages.unpacked()
        env = {
            "PATH": f"{binaries}/usr/bin:{binaries}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LD_LIBRARY_PATH": ":".join(str(path) for path in sorted(binaries.glob("**/*-linux-gnu"))),
            "HOME": str(self.sockets),
        }
        with (self.sockets / f"{program}.log").open("ab") as log:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                cwd="/",
                start_new_session=True,
            )
        (self.sockets / f"{program}.process").write_text(str(child.pid))
        end = time.monotonic() + seconds
        while not ready():
            if child.poll() is not None or time.monotonic() > end:
                tail = (self.sockets / f"{program}.log").read_text(errors="replace")[-2000:]
                raise LabError(f"the lab's {program} did not start\n{tail}")
            time.sleep(0.1)

    def _pid(self, program: str) -> int | None:
        """The process of one of the engine's programs, made sure of by its name and arguments."""
        try:
            pid = int((self.sockets / f"{program}.process").read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            return None
        ours = words[0].endswith(program.encode()) and any(
            str(self.sockets).encode() in word for word in words
        )
        return pid if ours and state != "Z" else None

    def _end(self, program: str) -> None:
        for sent, patience in ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0)):
            end = time.monotonic() + patience
            while (pid := self._pid(program)) and time.monotonic() < end:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sent)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                time.sleep(0.1)

    def _remove_cgroups(self) -> None:
        # runc removes the hosts' cgroups; the parent it made for them is left.
        for parent in [
            *Path("/sys/fs/cgroup").glob(f"*/{self.cgroup}"),
            Path("/sys/fs/cgroup") / self.cgroup,
        ]:
            for folder, _, _ in os.walk(parent, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)


def unmount_below(*folders: Path) -> None:
    """Unmount everything mounted in these folders, the deepest first."""
    points = [
        line.split()[1].encode().decode("unicode_escape")
        for line in Path("/proc/mounts").read_text().splitlines()
    ]
    for point in reversed(points):
        if any(Path(point).is_relative_to(folder) for folder in folders):
            run(["umount", "--lazy", point], check=False)


def _remove_tree(folder: Path) -> None:
    run(["rm", "-rf", "--one-file-system", str(folder)])
