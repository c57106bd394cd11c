# SPDX-License-Identifier: Apache-2.0
"""A bundle to hosts, beside `scp` of the same file, and looking at eight hosts beside one; on cold connections."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.bench.figure import Figure, seconds, side_by_side
from tests.lab import Lab, LabHost
from tests.lab import bundle as lab_bundle

ROOT = Path(__file__).resolve().parents[2]
BINARIES = Path(sys.executable).parent
PLAYBOOKS = ROOT / "playbooks"
ARTIFACT = "bin/linux-amd64/payload"
BYTES = 1 << 30
STORE = "/var/lib/tidegate/bundle"
COPY = "/var/lib/tidegate/copy"
AT_ONCE = 4
LOOKED_AT = 8
# A turn moves gigabytes: more of them tell no more than these.
MOST_ROUNDS = 3
ROLE = "tidegate.deploy.bundle_delivery"
# What `ansible.cfg` prefers; OpenSSH's own first choice is ChaCha20-Poly1305, which scp takes unless told.
CIPHER = "aes128-gcm@openssh.com"
DELIVERY = [
    {
        "hosts": "environment_hosts",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.import_role": {"name": ROLE}}],
    }
]
NOTHING = [{"hosts": "environment_hosts", "gather_facts": False, "tasks": []}]


def measure(folder: Path, lab: Lab, rounds: int) -> list[Figure]:
    """Return the figures of delivery and preflight."""
    hosts = [lab.host(f"bench-{number}", docker=False) for number in range(LOOKED_AT)]
    try:
        site = _Site(lab, folder)
        turns = min(rounds, MOST_ROUNDS)
        return [
            *_delivery(site, _bundle(folder / "bundle"), hosts[:1], turns),
            *_delivery(site, folder / "bundle", hosts[:AT_ONCE], turns),
            _unchanged(site, folder / "bundle", hosts[0], turns),
            _preflight(site, hosts, turns),
        ]
    finally:
        for host in hosts:
            host.remove()


class _Site:
    """What runs against hosts of the lab, and where its papers are."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.folder = folder
        self._lab = lab

    def play(self, playbook: Path, hosts: Sequence[LabHost], spec: dict[str, Any]) -> float:
        """Run a playbook as an operator does; return the seconds from its start to its end."""
        document = {"api": "tidegate.environment/v1", "result_dir": str(self.folder), **spec}
        (self.folder / "environment.json").write_text(json.dumps(document))
        (self.folder / "inventory.json").write_text(json.dumps(self._inventory(hosts)))
        argv = [str(BINARIES / "ansible-playbook"), "-i", str(self.folder / "inventory.json"), str(playbook)]
        argv += ["-e", f"environment_spec_file={self.folder / 'environment.json'}"]
        with tempfile.TemporaryDirectory(prefix="tg-") as sockets:
            environment = {
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
            }
            return seconds(lambda: _quietly(argv, environment))

    def scp(self, file: Path, hosts: Sequence[LabHost], *options: str) -> float:
        """Copy a file to all hosts at once; return the seconds until the last one has it."""

        def copy(host: LabHost) -> None:
            argv = ["scp", "-q", "-F", "/dev/null", *options, *host.ssh_options()]
            _quietly([*argv, str(file), f"root@{host.address}:{COPY}"], dict(os.environ))

        with ThreadPoolExecutor(len(hosts)) as pool:
            return seconds(lambda: list(pool.map(copy, hosts)))

    def steps(self, host: LabHost) -> list[dict[str, Any]]:
        """Return what the last delivery told of a host."""
        return list(json.loads((self.folder / f"{host.name}.delivery.json").read_text())["steps"])

    def _inventory(self, hosts: Sequence[LabHost]) -> dict[str, Any]:
        options = f"-o UserKnownHostsFile={self._lab.known_hosts} -o GlobalKnownHostsFile=/dev/null"
        login = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self._lab.key_path),
            "ansible_ssh_common_args": options,
        }
        reached = {host.name: {"ansible_host": host.address, **login} for host in hosts}
        return {"environment_hosts": {"hosts": reached}}


def _bundle(folder: Path) -> Path:
    """Make a bundle with one file of `BYTES` that nothing can make smaller."""
    index = {
        "apiVersion": "tidegate.bundle/v1", "kind": "BundleIndex", "version": "1",
        "platforms": [{"os": "linux", "arch": "amd64"}],
        "runtimes": {"compose": {"versions": [{"version": "1", "status": "supported", "artifacts": ["payload"]}]}},
        "artifacts": [{"id": "payload", "type": "binary", "path": ARTIFACT, "mode": "0755"}],
        "steps": [{"name": "none", "runtime": ["compose"], "hook": "hooks/none.sh", "runs_on": ["all"], "timeout": 5}],
        "checks": [],
    }  # fmt: skip
    (folder / "hooks").mkdir(parents=True)
    (folder / "hooks" / "none.sh").write_text("#!/bin/sh\n")
    (folder / "manifests").mkdir(parents=True)
    (folder / "manifests" / "index.yaml").write_text(json.dumps(index))
    (folder / ARTIFACT).parent.mkdir(parents=True)
    with (folder / ARTIFACT).open("wb") as file:
        for number in range(BYTES >> 20):
            file.write(random.Random(number).randbytes(1 << 20))
    _quietly([str(BINARIES / "tidegate"), "bundle", "lock", str(folder)], dict(os.environ))
    return folder


def _delivery(site: _Site, bundle: Path, hosts: Sequence[LabHost], rounds: int) -> list[Figure]:
    def ours() -> float:
        _clear(hosts)
        taken = site.play(_playbook(site, "delivery", DELIVERY), hosts, {"bundle_dir": str(bundle)})
        for host in hosts:
            assert site.steps(host)[0]["detail"]["sent_bytes"] >= BYTES
        return taken

    def theirs(*options: str) -> float:
        _clear(hosts)
        return site.scp(bundle / ARTIFACT, hosts, *options)

    nothing = _playbook(site, "nothing", NOTHING)
    taken, (beside, same_cipher, start) = side_by_side(
        ours, [theirs, lambda: theirs("-c", CIPHER), lambda: site.play(nothing, hosts, {})], rounds
    )
    many = len(hosts) > 1
    what = f"delivery of 1 GiB to {f'{len(hosts)} hosts at once' if many else 'one host'}"
    other = f"{len(hosts)} scp side by side" if many else "scp of the same file"
    alone = f"{what}, less one Ansible start of {start:.2f} s"
    return [
        Figure(what, taken, "s", 1.1, other, beside),
        Figure(alone, taken - start, "s", None, other, beside),
        Figure(what, taken, "s", None, f"{other}, with Ansible's cipher", same_cipher),
        Figure(alone, taken - start, "s", None, f"{other}, with Ansible's cipher", same_cipher),
    ]


def _clear(hosts: Sequence[LabHost]) -> None:
    for host in hosts:
        host.exec(["rm", "-rf", STORE, COPY])
    # What an earlier turn left to be written would be paid for by this one.
    os.sync()


def _unchanged(site: _Site, bundle: Path, host: LabHost, rounds: int) -> Figure:
    delivery = _playbook(site, "delivery", DELIVERY)
    site.play(delivery, [host], {"bundle_dir": str(bundle)})

    def ours() -> float:
        taken = site.play(delivery, [host], {"bundle_dir": str(bundle)})
        assert site.steps(host)[0]["status"] == "unchanged"
        return taken

    taken, _none = side_by_side(ours, [], rounds)
    return Figure("delivery of 1 GiB that is there already", taken, "s", 2.0)


def _playbook(site: _Site, name: str, plays: list[dict[str, Any]]) -> Path:
    path = site.folder / f"{name}.json"
    path.write_text(json.dumps(plays))
    return path


def _preflight(site: _Site, hosts: Sequence[LabHost], rounds: int) -> Figure:
    spec = {
        "runtime_type": "compose", "runtime_version": "2.40", "bundle_dir": str(lab_bundle.make()),
        "bundle_trusted_keys": [str(lab_bundle.public_key())],
    }  # fmt: skip

    def of(some: Sequence[LabHost]) -> float:
        return site.play(PLAYBOOKS / "environment_preflight.yml", some, spec)

    taken, (one,) = side_by_side(lambda: of(hosts), [lambda: of(hosts[:1])], rounds)
    return Figure(f"preflight of {len(hosts)} hosts", taken, "s", 3.0, "preflight of one host", one)


def _quietly(argv: Sequence[str], environment: dict[str, str]) -> None:
    done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
