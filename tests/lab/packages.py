# SPDX-License-Identifier: Apache-2.0
"""What the lab takes from Debian: programs for this machine, the base system, and single packages to unpack.

Single packages come through an apt configuration of the lab's own (own lists, sources and cache), so the
machine's apt is not touched and no service of theirs is started. All of it is cached; a second `up` needs no
network.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
from pathlib import Path

from . import paths
from .command import LabError, run

# program or file that must be there -> Debian package that brings it
MACHINE_PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "ip": "iproute2",
    "mkfs.ext4": "e2fsprogs",
    "mount": "mount",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}
BASE_SUITE = "bookworm"
BASE_PACKAGES = (
    "systemd,systemd-sysv,dbus,openssh-server,openssh-client,python3,sudo,iproute2,iptables,nftables,kmod,procps,"
    "conntrack,socat,curl,ca-certificates,tar,gzip,zstd,xz-utils,containerd,runc,docker.io"
)
UNPACKED = {
    "bookworm": (
        "docker.io", "containerd", "runc", "libdevmapper1.02.1", "libseccomp2", "busybox-static",
        "docker-registry",
    ),
    # bookworm has only the retired Compose 1.
    "trixie": ("docker-compose",),
}  # fmt: skip
# What a Kubernetes node needs beside Kubernetes itself; kubelet 1.36 asks for containerd 2. runc of newer suites
# needs a newer libc than the hosts have.
UNPACKED_FOR_NODES = {
    "bookworm": ("runc",),
    "forky": ("containerd", "containernetworking-plugins"),
}


def install_missing() -> list[str]:
    """Install what this machine lacks for the lab, naming it first; answers the packages installed.

    Raises LabError when something is missing and the user is not root.
    """
    missing = sorted(
        {
            package
            for program, package in MACHINE_PROGRAMS.items()
            if not (Path(program).exists() if program.startswith("/") else shutil.which(program))
        }
    )
    if not missing:
        return []
    if os.geteuid() != 0:
        raise LabError(
            f"missing packages: {' '.join(missing)} (apt-get install as root, or run the lab as root)"
        )
    print(f"lab: installing with apt: {' '.join(missing)}", file=sys.stderr, flush=True)
    argv = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if run(argv, check=False, env=env, timeout=900).returncode != 0:
        run(["apt-get", "update", "-q"], timeout=300)
        run(argv, env=env, timeout=900)
    return missing


def base_system() -> Path:
    """A tarball of a minimal Debian with systemd, sshd, Python and Docker's engine; made once."""
    tarball = paths.cache() / f"base-{paths.digest(BASE_SUITE, BASE_PACKAGES)}.tar"
    if not tarball.exists():
        print("lab: making the base system (once, about a minute)", file=sys.stderr, flush=True)
        making = tarball.with_suffix(".making.tar")
        making.unlink(missing_ok=True)
        tarball.parent.mkdir(parents=True, exist_ok=True)
        run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                f"--include={BASE_PACKAGES}",
                BASE_SUITE,
                str(making),
            ],
            timeout=1200,
        )
        making.rename(tarball)
    return tarball


def unpacked() -> Path:
    """A folder with the files of UNPACKED's packages, as `dpkg -x` lays them out; made once."""
    return _unpack(UNPACKED)


def unpacked_for_nodes() -> Path:
    """The same of UNPACKED_FOR_NODES's packages."""
    return _unpack(UNPACKED_FOR_NODES)


def files(suites: dict[str, tuple[str, ...]]) -> list[Path]:
    """The packages themselves (`.deb`), of each suite; fetched once."""
    wanted = " ".join(f"{suite}:{','.join(names)}" for suite, names in suites.items())
    folder = paths.cache() / f"debs-{paths.digest(wanted)}"
    if not folder.exists():
        making = folder.with_suffix(".making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        for suite, names in suites.items():
            for package in _download(suite, names, making / "apt" / suite):
                package.rename(making / f"{suite}-{package.name}")
        shutil.rmtree(making / "apt")
        making.rename(folder)
    return sorted(folder.glob("*.deb"))


def _unpack(suites: dict[str, tuple[str, ...]]) -> Path:
    wanted = " ".join(f"{suite}:{','.join(names)}" for suite, names in suites.items())
    folder = paths.cache() / f"packages-{paths.digest(wanted)}"
    if not folder.exists():
        making = folder.with_suffix(".making")
        shutil.rmtree(making, ignore_errors=True)
        for suite, names in suites.items():
            for package in _download(suite, names, making / "apt" / suite):
                run(["dpkg", "-x", str(package), str(making)])
        shutil.rmtree(making / "apt")
        making.rename(folder)
    return folder


def _download(suite: str, names: tuple[str, ...], folder: Path) -> list[Path]:
    """Fetch packages of one suite from the mirror that made the base system."""
    for part in ("lists/partial", "cache/archives/partial", "debs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (folder / "sources.list").write_text(f"deb [signed-by={keyring}] {_mirror()} {suite} main\n")
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
    }
    options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
    run(["apt-get", *options, "update"], timeout=300)
    run(
        ["sh", "-c", 'cd "$0" && exec "$@"', str(folder / "debs"), "apt-get", *options, "download", *names],
        timeout=900,
    )
    return sorted((folder / "debs").glob("*.deb"))


def _mirror() -> str:
    """The archive's address, as mmdebstrap chose it for this machine."""
    with tarfile.open(base_system()) as tarball:
        for member in ("./etc/apt/sources.list", "etc/apt/sources.list"):
            try:
                source = tarball.extractfile(member)
            except KeyError:
                continue
            if source is not None:
                for line in source.read().decode().splitlines():
                    if line.startswith("deb "):
                        return next(word for word in line.split() if "://" in word)
    raise LabError("the base system names no Debian archive")
