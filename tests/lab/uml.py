# SPDX-License-Identifier: Apache-2.0
"""Guests with a kernel of their own, user-mode Linux, for what this machine's kernel may not have: real IPVS.

A guest is an ordinary process with a disk (the cached image, with a copy-on-write file over it) and a tap device in a
bridge of the lab's own. It has systemd and sshd, as the hosts have.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import shlex
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import packages, paths, ssh
from .command import LabError, run

PACKAGES = {"bookworm": ("user-mode-linux",)}
POOL = ipaddress.ip_network("10.214.0.0/16")
FIRST_HOST = 10
MEMORY = "384M"
IMAGE_SIZE = "1500M"
BOOT_SECONDS = 90.0
# What a guest needs nothing of, and what is large.
LEFT_OUT = re.compile(
    r"\./(dev/.+|usr/share/(doc|man)/.+|var/cache/apt/.+|usr/s?bin/(docker|containerd|runc).*)"
)
MASKED = (
    "systemd-udevd.service", "systemd-udev-trigger.service", "systemd-logind.service",
    "systemd-timesyncd.service", "systemd-sysctl.service", "getty.target", "console-getty.service",
    "dev-hugepages.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
    "sys-fs-fuse-connections.mount", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer",
    "fstrim.timer", "dpkg-db-backup.timer", "docker.service", "docker.socket", "containerd.service",
)  # fmt: skip
# There is no kernel ip autoconfiguration: a guest reads who it is from its kernel's command line.
IDENTIFY = r"""
of() { tr ' ' '\n' < /proc/cmdline | sed -n "s/^lab$1=//p"; }
hostname "$(of name)"
echo "ssh-ed25519 $(of key)" > /etc/ssh/authorized_keys/root
ip link set lo up
ip address add "$(of address)" dev vec0
ip link set vec0 up
"""
IDENTIFIED = """\
[Unit]
Description=Who this guest is
DefaultDependencies=no
Before=network.target ssh.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh /etc/lab-identify
[Install]
WantedBy=multi-user.target
"""
SSHD = """\
AuthorizedKeysFile /etc/ssh/authorized_keys/%u
PermitRootLogin prohibit-password
HostKey /etc/ssh/ssh_host_ed25519_key
UseDNS no
MaxStartups 200
"""


def why_not() -> str:
    """One line that says why guests cannot run here, or nothing where they can."""
    if os.geteuid() != 0:
        return "user-mode Linux guests need root, for their bridge"
    if os.uname().machine != "x86_64":
        return f"the lab's user-mode Linux guests are x86_64, and this machine is {os.uname().machine}"
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return f"no tap devices here: {error}"
    try:
        packages.install_missing()
        packages._unpack(PACKAGES)
    except LabError as error:
        return f"user-mode-linux cannot be fetched: {str(error).splitlines()[0]}"
    return ""


@dataclass
class Guest:
    """One guest, reached over SSH."""

    name: str
    address: str
    process: subprocess.Popen[bytes]
    options: list[str]

    def exec(
        self, argv: Sequence[str], check: bool = True, input: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root."""
        words = ["ssh", *self.options, f"root@{self.address}", "--", shlex.join(argv)]
        return run(words, check=check, text=input, timeout=timeout)

    def state(self) -> str:
        """`running` or `exited`."""
        return "running" if self.process.poll() is None else "exited"

    def end(self) -> None:
        """End it as by a power cut."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Guests:
    """Guests beside each other on one bridge, and where this machine is in it."""

    folder: Path
    bridge: str
    subnet: str
    guests: list[Guest] = field(default_factory=list)

    @property
    def key_path(self) -> Path:
        """The private key for all of them."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """A known_hosts file with the key that they all show: it is the image's."""
        return self.folder / "known_hosts"

    @property
    def lines(self) -> dict[str, str]:
        """The interface of this machine at which each guest is."""
        return {guest.name: f"{self.bridge}-{number}" for number, guest in enumerate(self.guests)}

    def boot(self, name: str) -> Guest:
        """Make a guest and start it; it may take some seconds until it answers."""
        number = len(self.guests)
        network = ipaddress.ip_network(self.subnet)
        address, tap = str(network[FIRST_HOST + number]), f"{self.bridge}-{number}"
        run(["ip", "tuntap", "add", tap, "mode", "tap"])
        run(["ip", "link", "set", tap, "master", self.bridge, "up"])
        key = self.key_path.with_suffix(".pub").read_text().split()[1]
        argv = [
            str(packages._unpack(PACKAGES) / "usr/bin/linux.uml"), f"mem={MEMORY}",
            f"ubd0={self.folder / name}.cow,{_image()}", "root=/dev/ubda", "rw", "quiet",
            f"vec0:transport=tap,ifname={tap},depth=64,gro=1", "con=null", "con0=null,fd:1", "ssl=null",
            f"umid={self.bridge}-{number}", f"uml_dir={self.folder}/",
            f"labname={name}", f"labaddress={address}/24", f"labkey={key}",
        ]  # fmt: skip
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        options = ssh.options(self.known_hosts, self.key_path, None)
        guest = Guest(name, address, process, options)
        self.guests.append(guest)
        keys = [(one.address, _host_key()) for one in self.guests]
        ssh.write_known_hosts(self.known_hosts, keys)
        return guest

    def wait(self) -> None:
        """Wait until all of them answer. Raises LabError when one does not."""
        end = time.monotonic() + BOOT_SECONDS
        for guest in self.guests:
            while guest.exec(["true"], check=False).returncode != 0:
                if time.monotonic() > end or guest.state() != "running":
                    said = (self.folder / f"{guest.name}.log").read_text(errors="replace")
                    raise LabError(f"guest {guest.name} did not come up\n{said[-2000:]}")
                time.sleep(0.3)


@contextlib.contextmanager
def guests(name: str) -> Iterator[Guests]:
    """Yield a bridge for guests of the lab of this name; all of it is gone afterwards.

    A second process that asks for the same name waits until the first is done; what one that was killed left
    behind is taken away first.
    """
    bridge = "tgu" + paths.digest(str(paths.home()), name, length=7)
    with paths.locked(paths.home() / f"{bridge}.lock"):
        _sweep(bridge)
        folder = Path(tempfile.mkdtemp(prefix=f"tidegate-{bridge}-"))
        made = Guests(folder, bridge, _free_subnet(bridge))
        try:
            ssh.key_pair(made.key_path, f"tidegate-lab-{name}")
            gateway = ipaddress.ip_network(made.subnet)[1]
            run(["ip", "link", "add", bridge, "type", "bridge"])
            run(["ip", "address", "add", f"{gateway}/24", "dev", bridge])
            run(["ip", "link", "set", bridge, "up"])
            yield made
        finally:
            for guest in made.guests:
                guest.end()
            _sweep(bridge)
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(bridge: str) -> None:
    """End what runs on this bridge and take its interfaces away: they outlive who made them."""
    run(["pkill", "-KILL", "-f", f"umid={bridge}-[0-9]"], check=False)
    for line in run(["ip", "-o", "link"]).stdout.splitlines():
        interface = line.split(":")[1].strip().partition("@")[0]
        if re.fullmatch(rf"{bridge}(-\d+)?", interface):
            # The kernel takes a tap away a moment after the process that held it.
            run(["ip", "link", "delete", interface], check=False)


def _free_subnet(bridge: str) -> str:
    used = run(["ip", "-o", "-4", "address"]).stdout
    start = int(paths.digest(bridge, length=4), 16)
    for offset in range(256):
        network = ipaddress.ip_network((int(POOL[0]) + ((start + offset) % 256) * 256, 24))
        if f" {str(network[0]).rsplit('.', 1)[0]}." not in used:
            return str(network)
    raise LabError(f"every network of {POOL} is in use")


def _image() -> Path:
    """The disk that guests start from; made once."""
    wanted = (IDENTIFY, IDENTIFIED, SSHD, " ".join(MASKED), LEFT_OUT.pattern, IMAGE_SIZE)
    base, kernel = packages.base_system(), packages._unpack(PACKAGES)
    image = paths.cache() / f"uml-{paths.digest(base.name, kernel.name, *wanted)}.ext4"
    with paths.locked(paths.home() / "image.lock"):
        if not image.exists():
            with tempfile.TemporaryDirectory(prefix="tidegate-uml-", dir=paths.cache()) as folder:
                making = Path(folder) / "image"
                _fill(Path(folder) / "root", base, kernel)
                run(["mkfs.ext4", "-q", "-F", "-d", f"{folder}/root", "-L", "root", str(making), IMAGE_SIZE])
                shutil.copy2(
                    Path(folder) / "root/etc/ssh/ssh_host_ed25519_key.pub", image.with_suffix(".pub")
                )
                making.rename(image)
    return image


def _host_key() -> str:
    return " ".join(_image().with_suffix(".pub").read_text().split()[:2])


def _fill(root: Path, base: Path, kernel: Path) -> None:
    """Lay out a guest's files: the base system, the kernel's modules, and what tells a guest who it is."""
    root.mkdir()
    with tarfile.open(base) as archive:
        members = (one for one in archive if not LEFT_OUT.fullmatch(one.name))
        archive.extractall(root, members, numeric_owner=True, filter="fully_trusted")
    shutil.copytree(kernel / "usr/lib/uml/modules", root / "usr/lib/modules", dirs_exist_ok=True)
    for one in (root / "etc/ssh").glob("ssh_host_*"):
        one.unlink()
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "guest", "-f",
         str(root / "etc/ssh/ssh_host_ed25519_key")])  # fmt: skip
    (root / "etc/ssh/authorized_keys").mkdir()
    (root / "var/lib/tidegate").mkdir(parents=True, exist_ok=True)
    (root / "etc/machine-id").write_text("")
    (root / "etc/ssh/sshd_config.d/lab.conf").write_text(SSHD)
    (root / "etc/lab-identify").write_text(IDENTIFY)
    units = root / "etc/systemd/system"
    (units / "lab-identify.service").write_text(IDENTIFIED)
    wants = units / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    for name, target in (("lab-identify", "/etc/systemd/system"), ("ssh", "/lib/systemd/system")):
        (wants / f"{name}.service").unlink(missing_ok=True)
        (wants / f"{name}.service").symlink_to(f"{target}/{name}.service")
    for name in MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
