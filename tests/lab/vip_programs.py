# SPDX-License-Identifier: Apache-2.0
"""keepalived and ipvsadm as a bundle has them: out of Debian's packages, with the libraries that hosts lack."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

from . import packages

# What the programs need beside what the hosts have.
PACKAGES = {
    "bookworm": (
        "keepalived", "ipvsadm", "libnl-3-200", "libnl-genl-3-200", "libsnmp40", "libsensors5", "libpci3",
        "libperl5.36", "libipset13", "libmnl0", "libnftnl11", "libnftables1", "libpopt0", "libglib2.0-0",
        "libpcre2-8-0", "libwrap0", "libnsl2", "libffi8",
    )
}  # fmt: skip
PROGRAMS = {"keepalived": "usr/sbin/keepalived", "ipvsadm": "sbin/ipvsadm"}


def write(folder: Path) -> dict[str, Path]:
    """Write `keepalived.tar.gz` and `ipvsadm.tar.gz` into a folder; return each program's archive."""
    unpacked = packages._unpack(PACKAGES)
    made = {}
    for name, program in PROGRAMS.items():
        made[name] = folder / f"{name}.tar.gz"
        with tarfile.open(made[name], "w:gz", compresslevel=1) as archive:
            archive.add(unpacked / program, program)
            for library in _libraries(unpacked, unpacked / program):
                archive.add(library.resolve(), f"lib/{library.name}")
    return made


def _libraries(unpacked: Path, program: Path) -> list[Path]:
    places = [unpacked / "usr/lib/x86_64-linux-gnu", unpacked / "lib/x86_64-linux-gnu"]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, places))}
    said = subprocess.run(
        ["ldd", str(program)], env=environment, capture_output=True, text=True, check=True
    ).stdout
    found = [Path(line.split("=>")[1].split()[0]) for line in said.splitlines() if "=> /" in line]
    return [one for one in found if one.is_relative_to(unpacked)]
