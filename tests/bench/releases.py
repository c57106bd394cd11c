# SPDX-License-Identifier: Apache-2.0
"""An unchanged release to one host, and its preview: through the API, and as a person would do it by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controlplane.services import release_spec
from controlplane.services.core import Core
from controlplane.store.tables import Release
from tests.bench.figure import Figure, seconds, side_by_side
from tests.bench.installation import core_of, served
from tests.conformance.site import Service, Site, compose
from tests.demo.rest import Person
from tests.lab import Lab, LabHost

ROOT = Path(__file__).resolve().parents[2]
BINARIES = Path(sys.executable).parent
VERSION = "1"


def measure(folder: Path, lab: Lab, rounds: int) -> list[Figure]:
    """Return the figures of apply and preview."""
    host = lab.host("bench")
    with served(folder / "releases") as (admin, _process):
        site = Site(admin, str(admin.post("/projects", {"name": "bench"})["id"]), lab)
        service = site.service()
        service.add(VERSION, compose("web"), [VERSION])
        target = site.target(site.register(host))
        first = service.release(target, VERSION)
        assert first["lifecycle_state"] == "applied", first
        core = core_of(folder / "releases")
        hand = ByHand(folder, lab, host, core, service)
        figures = _apply(admin, service, target, hand, rounds) + _preview(service, target, hand, rounds)
        core.database.engine.dispose()
    host.remove()
    return figures


class ByHand:
    """The same on a workstation: the playbook with the same spec, and what one would type without Tidegate."""

    def __init__(self, folder: Path, lab: Lab, host: LabHost, core: Core, service: Service) -> None:
        self._folder, self._lab, self._host, self._core = folder, lab, host, core
        self._project = ""
        self._service = service
        self._options = [
            "-o",
            f"UserKnownHostsFile={lab.known_hosts}",
            "-o",
            "GlobalKnownHostsFile=/dev/null",
        ]
        self._inventory = folder / "inventory.json"
        login = {
            "ansible_host": host.address,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(lab.key_path),
            "ansible_ssh_common_args": " ".join(self._options),
        }
        self._inventory.write_text(json.dumps({"release_hosts": {"hosts": {host.name: login}}}))

    def playbook(self, release_id: str) -> float:
        """Run the playbook with the very spec of a release that was applied, on a cold connection."""
        with self._core.database.read() as session:
            release = session.get_one(Release, release_id)
            token = 2**62
            spec = release_spec.apply_spec(self._core, session, release, token)
        with self._run_folder() as (folder, environment):
            path = folder / "spec.json"
            path.write_text(json.dumps({**spec, "result_dir": str(folder), "fencing_token": None}))
            argv = [str(BINARIES / "ansible-playbook"), "-i", str(self._inventory)]
            argv += [str(ROOT / "playbooks" / "release_apply.yml"), "-e", f"release_spec_file={path}"]
            return seconds(lambda: _quietly(argv, environment))

    def compose_up(self) -> float:
        """Time `docker compose up -d --wait` over ssh and one start of Ansible."""

        def work() -> None:
            self._ssh(["docker", "compose", *self._where(), "up", "-d", "--wait"])
            self._ansible()

        self._where()
        return seconds(work)

    def look(self) -> float:
        """Time `docker compose config` and `docker inspect` over ssh and one start of Ansible."""

        def work() -> None:
            self._ssh(["docker", "compose", *self._where(), "config"])
            self._ssh(["docker", "inspect", *self._containers()])
            self._ansible()

        self._containers()
        return seconds(work)

    def _where(self) -> Sequence[str]:
        if not self._project:
            listed = self._host.run(["docker", "compose", "ls", "--format", "json"]).stdout
            found = next(
                one for one in json.loads(listed) if one["Name"].startswith(f"{self._service.name}-")
            )
            self._project = found["Name"]
            self._file = found["ConfigFiles"]
        return ["-p", self._project, "-f", self._file]

    def _containers(self) -> Sequence[str]:
        if not hasattr(self, "_ids"):
            filters = ["--filter", f"label=com.docker.compose.project={self._where()[1]}"]
            self._ids = self._host.run(["docker", "ps", "-q", *filters]).stdout.split()
        return self._ids

    def _ssh(self, argv: Sequence[str]) -> None:
        way = ["ssh", "-F", "/dev/null", "-i", str(self._lab.key_path), *self._options, "-o", "BatchMode=yes"]
        _quietly([*way, f"root@{self._host.address}", "--", *argv], dict(os.environ))

    def _ansible(self) -> None:
        with self._run_folder() as (_folder, environment):
            _quietly([str(BINARIES / "ansible-playbook"), "--version"], environment)

    @contextmanager
    def _run_folder(self) -> Iterator[tuple[Path, dict[str, str]]]:
        """Make a folder in which ssh finds no connection of an earlier run."""
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            with tempfile.TemporaryDirectory(prefix="tg-") as sockets:
                yield (
                    Path(name),
                    {
                        **os.environ,
                        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                        "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
                        "TIDEGATE_HMAC_KEY": self._core.vault.hmac_key().hex(),
                    },
                )


def _apply(admin: Person, service: Service, target: str, hand: ByHand, rounds: int) -> list[Figure]:
    latest: dict[str, Any] = {}

    def through_the_api() -> float:
        preview = service.preview(target, VERSION)
        latest.update(preview)
        return seconds(lambda: _applied(admin, preview))

    through_the_api()
    ours, (playbook, typed) = side_by_side(
        through_the_api, [lambda: hand.playbook(latest["release_id"]), hand.compose_up], rounds
    )
    what = "apply through the API, nothing changed"
    return [
        Figure(what, ours, "s", 1.15, "the same ansible-playbook by hand", playbook),
        Figure(
            what, ours, "s", 2.0, "docker compose up -d --wait over ssh, ansible-playbook --version", typed
        ),
    ]


def _applied(admin: Person, preview: dict[str, Any]) -> None:
    """Apply, and follow the stream to the end, as the command line does."""
    admin.post("/deploy/releases/apply", {"preview_ref": preview["preview_ref"]})
    told = [event["action"] for event in admin.follow(preview["release_id"])]
    assert told[-1] == "release.applied", told


def _preview(service: Service, target: str, hand: ByHand, rounds: int) -> list[Figure]:
    def through_the_api() -> float:
        return seconds(lambda: _previewed(service, target))

    ours, (typed,) = side_by_side(through_the_api, [hand.look], rounds)
    beside = "docker compose config and docker inspect over ssh, ansible-playbook --version"
    return [Figure("preview through the API", ours, "s", 2.0, beside, typed)]


def _previewed(service: Service, target: str) -> None:
    preview = service.preview(target, VERSION)
    assert preview["preview_ref"], preview


def _quietly(argv: Sequence[str], environment: dict[str, str]) -> None:
    done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
