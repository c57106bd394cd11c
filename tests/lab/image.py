# SPDX-License-Identifier: Apache-2.0
"""The images that hosts are made of: a Debian with systemd and sshd, with Docker and Compose 2 or without.

What is here is baked in once; what differs from host to host (keys, engine settings) is put into each host
before it boots.
"""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

from . import packages, paths
from .command import run_bytes
from .engine import Engine

DEPLOY_UID = 1000
OPERATOR_UID = 1001

# The container runtime hands cgroups over read-only; systemd and Docker make their own below ours.
INIT = """\
#!/bin/sh
for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do
  if mountpoint -q "$tree"; then mount -o remount,bind,rw "$tree"; fi
done
exec /lib/systemd/systemd
"""

SSHD = """\
AuthorizedKeysFile /etc/ssh/authorized_keys/%u
PermitRootLogin prohibit-password
PasswordAuthentication yes
HostKey /etc/ssh/ssh_host_ed25519_key
UseDNS no
MaxStartups 200
MaxSessions 200
"""

DOCKER_ONLY_WHERE_WANTED = "[Unit]\nConditionPathExists=/etc/docker/daemon.json\n"

# systemd-sysctl would write settings of the machine's kernel.
SETUP = f"""\
set -e
rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id
: > /etc/machine-id
mkdir -p /etc/ssh/authorized_keys /var/lib/tidegate
useradd --uid {DEPLOY_UID} --create-home --shell /bin/bash deploy
groupadd --gid {OPERATOR_UID} operators
useradd --uid {OPERATOR_UID} --gid operators --create-home --shell /bin/bash operator
echo 'operator ALL=(ALL:ALL) ALL' > /etc/sudoers.d/operator
chmod 0440 /etc/sudoers.d/operator
systemctl mask systemd-sysctl.service systemd-udevd.service systemd-udev-trigger.service \\
  systemd-modules-load.service systemd-logind.service systemd-timesyncd.service systemd-resolved.service \\
  getty.target console-getty.service dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount \\
  sys-kernel-tracing.mount sys-fs-fuse-connections.mount apt-daily.timer apt-daily-upgrade.timer \\
  e2scrub_all.timer fstrim.timer dpkg-db-backup.timer 2>/dev/null
systemctl enable ssh.service
"""
WITH_DOCKER = """\
usermod --append --groups docker deploy
systemctl enable docker.service containerd.service
"""
WITHOUT_DOCKER = "dpkg --purge docker.io containerd runc\nrm -rf /usr/libexec/docker /etc/docker\n"


def ensure(engine: Engine, *, docker: bool) -> str:
    """The name of the image for a host with or without Docker, made when the engine has it not."""
    base = _ensure_base(engine)
    setup = SETUP + (WITH_DOCKER if docker else WITHOUT_DOCKER)
    kind = "docker" if docker else "plain"
    image = f"tidegate-lab/{kind}:{paths.digest(base, setup, INIT, SSHD, DOCKER_ONLY_WHERE_WANTED)}"
    with paths.locked(paths.home() / "image.lock"):
        if engine.docker("image", "inspect", image, check=False).returncode != 0:
            _build(engine, base, image, setup, docker=docker)
    return image


def _ensure_base(engine: Engine) -> str:
    with paths.locked(paths.home() / "image.lock"):
        tarball = packages.base_system()
        image = f"tidegate-lab/base:{tarball.stem.removeprefix('base-')}"
        if engine.docker("image", "inspect", image, check=False).returncode != 0:
            print("lab: importing the base system", file=sys.stderr, flush=True)
            engine.docker("import", str(tarball), image, timeout=900)
    return image


def _build(engine: Engine, base: str, image: str, setup: str, *, docker: bool) -> None:
    """Run the setup in a container of the base image and keep the result."""
    print(f"lab: making the image {image}", file=sys.stderr, flush=True)
    container = "tidegate-lab-" + paths.digest(image)
    engine.docker("rm", "-fv", container, check=False)
    engine.docker("create", "--name", container, "--network", "none", base, "sleep", "600")
    try:
        files = {
            "usr/local/sbin/lab-init": (INIT.encode(), 0o755),
            "etc/ssh/sshd_config.d/lab.conf": (SSHD.encode(), 0o644),
        }
        if docker:
            compose = packages.unpacked() / "usr/libexec/docker/cli-plugins/docker-compose"
            files["usr/libexec/docker/cli-plugins/docker-compose"] = (compose.read_bytes(), 0o755)
            files["etc/systemd/system/docker.service.d/lab.conf"] = (DOCKER_ONLY_WHERE_WANTED.encode(), 0o644)
        put_files(engine, container, files)
        engine.docker("start", container)
        engine.docker("exec", "-i", container, "sh", text=setup)
        engine.docker("commit", "--change", "CMD []", container, image)
    finally:
        engine.docker("rm", "-fv", container, check=False)


def put_files(engine: Engine, container: str, files: dict[str, tuple[bytes, int]]) -> None:
    """Put files (path below / -> content, mode), owned by root, into a container, running or not."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for folder in sorted({str(parent) for path in files for parent in Path(path).parents} - {"."}):
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for path, (content, mode) in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    run_bytes(engine.argv("cp", "-", f"{container}:/"), tar.getvalue())
