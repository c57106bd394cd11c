# SPDX-License-Identifier: Apache-2.0
"""The lab's SSH side: its key pair, the hosts' keys, the pinned known_hosts and a client configuration."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from .command import run

if TYPE_CHECKING:
    from .host import LabHost


def key_pair(path: Path, comment: str) -> None:
    """Make an ed25519 key pair at `path` unless it is there."""
    if not path.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])


def new_key_pair(comment: str) -> tuple[str, str]:
    """A fresh ed25519 key pair: private and public part as text."""
    with tempfile.TemporaryDirectory() as folder:
        key_pair(Path(folder) / "key", comment)
        return (Path(folder) / "key").read_text(), (Path(folder) / "key.pub").read_text()


def options(known_hosts: Path, key: Path, via: LabHost | None) -> list[str]:
    """What a client must be told to reach a host: this key, these host keys, the way through a jump host."""
    words = [
        "-o", f"UserKnownHostsFile={known_hosts}", "-o", "GlobalKnownHostsFile=/dev/null",
        "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", f"IdentityFile={key}",
        "-o", "BatchMode=yes", "-o", "ConnectTimeout=10",
    ]  # fmt: skip
    if via is not None:
        hop = options(known_hosts, key, None)
        # OpenSSH hands this to a shell; every word of it is the lab's own and has no blank in it.
        words += ["-o", f"ProxyCommand=ssh {' '.join(hop)} -W %h:%p root@{via.address}"]
    return words


def write_known_hosts(path: Path, keys: Iterable[tuple[str, str]]) -> None:
    """Replace the file by these (address, public key) pairs in one step."""
    making = path.with_suffix(".making")
    making.write_text("".join(f"{address} {key}\n" for address, key in sorted(keys)))
    making.rename(path)
