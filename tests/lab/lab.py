# SPDX-License-Identifier: Apache-2.0
"""A lab: named, brought up and taken down as one, and what it holds remembered in its folder."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import app, disk, image, network, packages, paths, ssh
from .command import LabError
from .engine import LAB_LABEL, Engine, unmount_below
from .host import LabHost
from .network import Network
from .registry import Registry

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
JUMP = "jump"


class Lab:
    """Hosts with SSH and Docker, made in seconds, with faults to order. Needs root.

    Every method may be called from several processes at once.
    """

    def __init__(self, name: str = "lab") -> None:
        if not NAME.fullmatch(name) or name == "cache":
            raise ValueError(f"{name!r} is no name for a lab (small letters, digits, dashes; not 'cache')")
        self.name = name
        self.folder = paths.home() / name
        self.engine = Engine()

    @property
    def key_path(self) -> Path:
        """The private key for all hosts of the lab."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """A known_hosts file with the keys of all hosts of the lab, pinned when they were made."""
        return self.folder / "known_hosts"

    @property
    def gateway(self) -> str:
        """This machine's address in the lab's network, which hosts reach it at. Raises KeyError before `up`."""
        with self._state(write=False) as state:
            return Network(**state["networks"]["front"]).gateway

    def up(self) -> None:
        """Bring up engine, image, network and key; boot hosts that a crash or a reboot left down.

        Quick when all is there. The first time on a machine it downloads Debian packages.
        """
        if os.geteuid() != 0:
            raise LabError("the lab needs root: it runs an engine, mounts disks and makes bridges")
        packages.install_missing()
        with self._locked():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            with paths.locked(paths.home() / "image.lock"):
                packages.base_system()
                packages.unpacked()
            was_down = self.engine.ensure_running()
            image.ensure(self.engine, docker=True)
            ssh.key_pair(self.key_path, f"tidegate-lab-{self.name}")
            if not self.known_hosts.exists():
                self.known_hosts.touch()
            with self._state() as state:
                self._ensure_network(state, behind_jump=False)
                if state["networks"].get("behind"):
                    self._ensure_network(state, behind_jump=True)
        # While the engine runs, a host that is down is down because a test wants it so.
        for host in self.hosts() if was_down else []:
            if host.state() == "absent":
                self.forget(host.name)
            elif host.state() in ("exited", "created", "dead"):
                host.start()

    def down(self) -> None:
        """Delete everything the lab made; the last lab takes the engine with it. Downloads stay cached."""
        with self._locked():
            if self.folder.exists() or self.engine.answers():
                self._remove_from_engine()
            unmount_below(self.folder)
            shutil.rmtree(self.folder, ignore_errors=True)
            if self.engine.answers() and not self.engine.in_use():
                self.engine.stop()
        for lock in (self._lock_path, *self._lock_path.parent.glob(f"{self.name}.*")):
            lock.unlink(missing_ok=True)

    def is_up(self) -> bool:
        """Whether the lab is there and its engine answers."""
        return (self.folder / "lab.json").exists() and self.engine.answers()

    def hosts(self) -> list[LabHost]:
        """The lab's hosts, whatever state they are in."""
        with self._state(write=False) as state:
            return [self._host(name, facts) for name, facts in sorted(state["hosts"].items())]

    def known_host(self, name: str) -> LabHost:
        """The host of that name, untouched. Raises KeyError."""
        with self._state(write=False) as state:
            return self._host(name, state["hosts"][name])

    def host(
        self, name: str, docker: bool = True, sudo_password: str | None = None, behind: LabHost | None = None
    ) -> LabHost:
        """Make a host, or return the one there is in good order: started, connected, its key pinned.

        `behind` puts it into the network that only this jump host reaches. A host of that name made
        differently is a ValueError. `sudo_password` None leaves `operator` without sudo, or with the password
        set before.
        """
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for a host (small letters, digits, dashes)")
        with paths.locked(paths.home() / "locks" / f"{self.name}.{name}"):
            host, is_new = self._known_or_planned(name, docker, behind.name if behind else None)
            if is_new or host.state() == "absent":
                try:
                    host.create()
                except BaseException:
                    host.remove()
                    raise
                host.set_sudo_password(sudo_password)
            else:
                host.restore()
                if sudo_password is not None:
                    host.set_sudo_password(sudo_password)
        return host

    def jump_host(self) -> LabHost:
        """A host without Docker, in both networks; `host(..., behind=jump)` puts one behind it."""
        with self._locked(), self._state() as state:
            self._ensure_network(state, behind_jump=True)
        return self.host(JUMP, docker=False)

    def registry(self) -> Registry:
        """The lab's image registry, started when it is not there. Hosts accept it as an insecure one."""
        return Registry.ensure(self)

    def app_archive(self, version: str, healthy: bool = True, name: str = "shop", size_mb: int = 0) -> Path:
        """A Docker archive with one image `name:version`: see app.py."""
        return app.archive(self.folder / "apps", version, healthy=healthy, name=name, size_mb=size_mb)

    def inventory(self) -> dict[str, Any]:
        """The lab's Docker hosts as an Ansible inventory (the JSON that inventory scripts print)."""
        variables = {}
        for host in self.hosts():
            variables[host.name] = {
                "ansible_host": host.address,
                "ansible_port": host.port,
                "ansible_user": host.user,
                "ansible_ssh_private_key_file": str(self.key_path),
                "ansible_python_interpreter": "/usr/bin/python3",
                "ansible_ssh_common_args": " ".join(
                    f"'{word}'" if " " in word else word for word in host.ssh_options()
                ),
            }
        docker = [host.name for host in self.hosts() if host.docker]
        return {
            "release_hosts": {"hosts": docker},
            "all": {"hosts": list(variables)},
            "_meta": {"hostvars": variables},
        }

    # Kept by hosts

    def pin(self, name: str, public_key: str) -> None:
        """Write a host's key into known_hosts."""
        with self._state() as state:
            state["hosts"][name]["pinned_key"] = public_key
            self._write_known_hosts(state)

    def forget(self, name: str) -> None:
        """Drop a host from the lab's memory and known_hosts."""
        with self._state() as state:
            state["hosts"].pop(name, None)
            self._write_known_hosts(state)

    def _write_known_hosts(self, state: dict[str, Any]) -> None:
        pinned = [
            (facts["address"], facts["pinned_key"])
            for facts in state["hosts"].values()
            if facts["pinned_key"]
        ]
        ssh.write_known_hosts(self.known_hosts, pinned)

    def _known_or_planned(self, name: str, docker: bool, behind: str | None) -> tuple[LabHost, bool]:
        with self._state() as state:
            known = state["hosts"].get(name)
            if known:
                if (known["docker"], known["behind"]) != (docker, behind):
                    raise ValueError(
                        f"host {name} exists with docker={known['docker']}, behind={known['behind']}"
                    )
                return self._host(name, known), False
            numbers = {facts["number"] for facts in state["hosts"].values()}
            number = next(free for free in range(240) if free not in numbers)
            nets = {key: Network(**facts) for key, facts in state["networks"].items()}
            chosen = [nets["behind"]] if behind else [nets["front"]]
            if name == JUMP:
                chosen.append(nets["behind"])
            facts = {
                "number": number,
                "address": chosen[0].address(number),
                "docker": docker,
                "behind": behind,
                "networks": {net.name: net.address(number) for net in chosen},
                "pinned_key": "",
            }
            state["hosts"][name] = facts
            return self._host(name, facts), True

    def _host(self, name: str, facts: dict[str, Any]) -> LabHost:
        return LabHost(lab=self, name=name, **{key: value for key, value in facts.items() if key != "number"})

    def _ensure_network(self, state: dict[str, Any], *, behind_jump: bool) -> None:
        key = "behind" if behind_jump else "front"
        known = Network(**state["networks"][key]) if key in state["networks"] else None
        state["networks"][key] = dataclasses.asdict(
            network.ensure(self.engine, self.name, known, behind_jump=behind_jump)
        )

    def _remove_from_engine(self) -> None:
        """Remove by label, not from memory: a crash may have left what was never written down."""
        self.engine.ensure_running()
        label = ["--filter", f"label={LAB_LABEL}={self.name}"]
        containers = self.engine.docker("ps", "-aq", *label).stdout.split()
        paused = self.engine.docker("ps", "-q", *label, "--filter", "status=paused").stdout.split()
        if paused:
            self.engine.docker("unpause", *paused)
        if containers:
            self.engine.docker("rm", "-fv", *containers)
        with self._state(write=False) as state:
            for facts in state["networks"].values():
                network.remove(self.engine, Network(**facts))
        for left in self.engine.docker("network", "ls", "-q", *label).stdout.split():
            self.engine.docker("network", "rm", left)
        for image_file in (self.folder / "disks").glob("*.img"):
            disk.remove(image_file, image_file.with_suffix(""))

    @property
    def _lock_path(self) -> Path:
        return paths.home() / "locks" / self.name

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with paths.locked(self._lock_path):
            yield

    @contextlib.contextmanager
    def _state(self, write: bool = True) -> Iterator[dict[str, Any]]:
        """The lab's memory, read and (unless told otherwise) written back under a lock."""
        with paths.locked(paths.home() / "locks" / f"{self.name}.state"):
            file = self.folder / "lab.json"
            state = json.loads(file.read_text()) if file.exists() else {"networks": {}, "hosts": {}}
            yield state
            if write and self.folder.exists():
                making = file.with_suffix(".making")
                making.write_text(json.dumps(state, indent=1))
                making.rename(file)
