# SPDX-License-Identifier: Apache-2.0
"""A host of the lab: a machine to everyone who meets it, with faults that can be switched on and off."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from . import disk, image, network, ssh
from .command import LabError, run
from .engine import LAB_LABEL

if TYPE_CHECKING:
    from .lab import Lab

# All that systemd and Docker need; `--privileged` fails where the machine itself lacks a capability.
CAPABILITIES = (
    "SYS_ADMIN", "NET_ADMIN", "NET_RAW", "NET_BROADCAST", "SYS_PTRACE", "SYS_NICE", "SYSLOG", "IPC_LOCK",
    "MKNOD", "SYS_CHROOT", "AUDIT_WRITE", "LINUX_IMMUTABLE",
)  # fmt: skip
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
BALLAST = "lab-ballast"


@dataclass
class LabHost:
    """One host. This machine reaches `address`, unless `behind` names the jump host in front of it."""

    lab: Lab = field(repr=False)
    name: str
    address: str
    docker: bool
    behind: str | None
    networks: dict[str, str]
    pinned_key: str
    port: int = 22
    user: str = "root"

    @property
    def key_path(self) -> Path:
        """The private key that root, `deploy` and `operator` accept."""
        return self.lab.key_path

    @property
    def container(self) -> str:
        """The engine's name of the host."""
        return f"tidegate-lab-{self.lab.name}-{self.name}"

    @property
    def via(self) -> LabHost | None:
        """The jump host in front of this one, if any."""
        return self.lab.known_host(self.behind) if self.behind else None

    def ssh_options(self) -> list[str]:
        """Client options (`-o`, `Key=value`, ...) that reach this host with its key pinned."""
        return ssh.options(self.lab.known_hosts, self.key_path, self.via)

    def run(
        self,
        argv: Sequence[str],
        check: bool = True,
        input: str | None = None,
        user: str = "root",
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command over SSH as `user`. With `check`, a failure is a LabError; 255 is SSH's own."""
        remote = shlex.join(argv)
        return run(
            ["ssh", *self.ssh_options(), f"{user}@{self.address}", "--", remote],
            check=check,
            text=input,
            timeout=timeout,
        )

    def exec(
        self, argv: Sequence[str], check: bool = True, input: str | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root through the engine: works without network and without sshd."""
        words = ["exec", *(["-i"] if input is not None else []), self.container, *argv]
        return self.lab.engine.docker(*words, check=check, text=input, timeout=timeout)

    def state(self) -> str:
        """`running`, `paused`, `exited`, `created`, or `absent`."""
        done = self.lab.engine.docker("inspect", "--format", "{{.State.Status}}", self.container, check=False)
        return done.stdout.strip() if done.returncode == 0 else "absent"

    # Faults

    def pause(self) -> None:
        """Freeze every process: connections open, nothing answers."""
        self.lab.engine.docker("pause", self.container)

    def unpause(self) -> None:
        """Let the host run on."""
        self.lab.engine.docker("unpause", self.container)

    def cut(self) -> None:
        """Pull the network cable: connections hang, the host and its containers run on."""
        for name in self._attached():
            self.lab.engine.docker("network", "disconnect", "--force", name, self.container)

    def mend(self) -> None:
        """Put the cable back; the host has the address it had."""
        for name in sorted(set(self.networks) - self._attached()):
            self.lab.engine.docker("network", "connect", "--ip", self.networks[name], name, self.container)

    def kill(self) -> None:
        """Cut the power. Disk and identity stay; `start` boots it again."""
        self.lab.engine.docker("kill", "--signal", "KILL", self.container)

    def start(self) -> None:
        """Boot the host and wait until SSH (and Docker, where it has one) answers."""
        self._mount_disk()
        self.lab.engine.docker("start", self.container)
        self.wait()

    def change_host_key(self) -> str:
        """Give the host a new SSH host key, as a reinstalled or impersonated one has; answers the public key.

        The lab's known_hosts keeps the old one until `pin_host_key`.
        """
        private, public = ssh.new_key_pair(self.name)
        image.put_files(
            self.lab.engine,
            self.container,
            {HOST_KEY[1:]: (private.encode(), 0o600), f"{HOST_KEY[1:]}.pub": (public.encode(), 0o644)},
        )
        self.exec(["systemctl", "restart", "ssh.service"])
        return self.host_public_key()

    def pin_host_key(self) -> None:
        """Make the lab's known_hosts believe the key that the host has now."""
        self.lab.pin(self.name, self.host_public_key())

    def host_public_key(self) -> str:
        """The key that the host has now: type and base64, without a comment."""
        return " ".join(self.exec(["cat", f"{HOST_KEY}.pub"]).stdout.split()[:2])

    def fill_disk(self, mount: str = "/var/lib/tidegate") -> None:
        """Fill the file system that `mount` is on: every further write there fails with ENOSPC.

        `/var/lib/tidegate`, `/var/lib/docker`, `/var/lib/containerd` and `/home` are one disk; the rest of
        the host, `/tmp` and `/root` among it, is another that is not meant to be filled.
        """
        if not any(mount == folder or mount.startswith(folder + "/") for folder in disk.FOLDERS.values()):
            raise ValueError(f"{mount} is not on the host's own disk")
        script = (
            "import os, sys\n"
            "ballast = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)\n"
            "for size in (1 << 26, 1 << 20, 4096):\n"
            "    try:\n"
            "        while True:\n"
            "            end = os.fstat(ballast).st_size\n"
            "            os.posix_fallocate(ballast, end, size)\n"
            "    except OSError:\n"
            "        pass\n"
            "try:\n"
            "    while True:\n"
            "        os.write(ballast, b'x' * 4096)\n"
            "except OSError:\n"
            "    pass\n"
        )
        self.exec(["python3", "-", f"{mount}/{BALLAST}"], input=script)

    def free_disk(self, mount: str = "/var/lib/tidegate") -> None:
        """Undo `fill_disk`."""
        self.exec(["rm", "-f", f"{mount}/{BALLAST}"])

    def set_sudo_password(self, password: str | None) -> None:
        """Set the password `operator` needs for sudo (and may log in with); None locks it."""
        if password is None:
            self.exec(["passwd", "--quiet", "--lock", "operator"])
        else:
            self.exec(["chpasswd"], input=f"operator:{password}\n")

    # Life

    def create(self) -> None:
        """Make the host and boot it. Raises LabError when it does not come up."""
        self._mount_disk()
        engine = self.lab.engine
        first, *further = self.networks
        volumes = [
            word
            for name, folder in disk.FOLDERS.items()
            for word in ("--mount", f"type=bind,source={self._mount_point / name},target={folder}")
        ]
        engine.docker(
            "create", "--name", self.container, "--hostname", self.name,
            "--label", f"{LAB_LABEL}={self.lab.name}",
            "--network", first, "--ip", self.networks[first], "--cgroupns", "private",
            *(word for capability in CAPABILITIES for word in ("--cap-add", capability)),
            "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
            "--security-opt", "systempaths=unconfined", "--stop-signal", "SIGRTMIN+3",
            "--env", "container=docker",
            "--tmpfs", "/run:exec", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec", *volumes,
            image.ensure(engine, docker=self.docker), "/usr/local/sbin/lab-init",
        )  # fmt: skip
        for name in further:
            engine.docker("network", "connect", "--ip", self.networks[name], name, self.container)
        private, public = ssh.new_key_pair(self.name)
        image.put_files(engine, self.container, self._identity(private, public))
        self.lab.pin(self.name, " ".join(public.split()[:2]))
        self.start()

    def restore(self) -> None:
        """Bring the host back into good order: started, connected, its key pinned, room on its disk."""
        state = self.state()
        if state == "absent":
            raise LabError(f"host {self.name} of lab {self.lab.name} is gone")
        if state == "paused":
            self.unpause()
        self.mend()
        if state in ("exited", "created", "dead"):
            self.start()
        for folder in disk.FOLDERS.values():
            self.free_disk(folder)
        self.pin_host_key()
        self.wait()

    def remove(self) -> None:
        """Delete the host and its disk."""
        if self.state() == "paused":
            self.unpause()
        self.lab.engine.docker("rm", "-fv", self.container, check=False)
        disk.remove(self._disk_image, self._mount_point)
        self.lab.forget(self.name)

    def wait(self, seconds: float = 60) -> None:
        """Wait until SSH, and Docker where the host has it, answers. Raises LabError after `seconds`."""
        probe = ["docker", "version", "--format", "ok"] if self.docker else ["true"]
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(LabError):
                self.run(probe, timeout=15)
                return
            if time.monotonic() > end:
                logs = self.exec(["journalctl", "-n", "40", "--no-pager"], check=False)
                raise LabError(f"host {self.name} did not come up in {seconds:g} s\n{logs.stdout}")
            time.sleep(0.2)

    @property
    def _mount_point(self) -> Path:
        return self.lab.folder / "disks" / self.name

    @property
    def _disk_image(self) -> Path:
        return self.lab.folder / "disks" / f"{self.name}.img"

    def _mount_disk(self) -> None:
        users = {"deploy": image.DEPLOY_UID, "operator": image.OPERATOR_UID}
        disk.ensure(self._disk_image, self._mount_point, users)

    def _identity(self, private: str, public: str) -> dict[str, tuple[bytes, int]]:
        """What makes this host this host: its key, who may log in, its engine's settings."""
        files = {
            HOST_KEY[1:]: (private.encode(), 0o600),
            f"{HOST_KEY[1:]}.pub": (public.encode(), 0o644),
        }
        authorized = self.lab.key_path.with_suffix(".pub").read_bytes()
        for user in ("root", "deploy", "operator"):
            files[f"etc/ssh/authorized_keys/{user}"] = (authorized, 0o644)
        if self.docker:
            settings = {"insecure-registries": [str(network.POOL)], "log-level": "warn"}
            files["etc/docker/daemon.json"] = (json.dumps(settings).encode(), 0o644)
        return files

    def _attached(self) -> set[str]:
        settings = "{{json .NetworkSettings.Networks}}"
        found = json.loads(self.lab.engine.docker("inspect", "--format", settings, self.container).stdout)
        return set(found)
