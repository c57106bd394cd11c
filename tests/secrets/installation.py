# SPDX-License-Identifier: Apache-2.0
"""An installation in which every secret is a canary, and all that can be looked at of it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.conformance.site import Site
from tests.demo import server
from tests.demo.rest import Person
from tests.demo.test_walk import free_address
from tests.lab import Lab, LabHost
from tests.secrets.canary import Canaries
from tests.secrets.places import Answers, files, host_files


@dataclass
class Installation:
    """A served Tidegate on SQLite that logs all it can, a host, and the secrets that were planted."""

    home: Path
    url: str
    site: Site
    approver: Person
    approver_password: str
    host: LabHost
    host_password: str
    host_key: str
    canaries: Canaries
    began: float
    unasked: set[str] = field(default_factory=set)

    def everywhere(self) -> dict[str, bytes]:
        """Return all that can be looked at, by place. The project on the host and the key file hold secrets."""
        answers = Answers(self.url, self.site.admin.token)
        seen = dict(answers.all())
        self.unasked = answers.unasked
        seen["tidegate audit export"] = self._exported()
        tops = (self.home, self.run_folder, Path.home() / ".ansible", Path(tempfile.gettempdir()))
        seen |= files(*tops, besides=(self.home / "keys",), since=self.began)
        for path, (mode, content) in host_files(self.host).items():
            if not (path.startswith("/var/lib/tidegate/projects/") and path.endswith("/compose.yaml")):
                seen[f"host {path}"] = path.encode() + content
            else:
                assert mode == 0o600, path
        return seen

    @property
    def run_folder(self) -> Path:
        """Where the files of runs are."""
        return Path(f"/dev/shm/tidegate-{os.geteuid()}-{hashlib.sha256(bytes(self.home)).hexdigest()[:8]}")

    def _exported(self) -> bytes:
        login = {"TIDEGATE_URL": self.url, "TIDEGATE_TOKEN": self.site.admin.token}
        command = [*server.command(), "audit", "export"]
        done = subprocess.run(command, env={**os.environ, **login}, capture_output=True, check=True)
        return done.stdout + done.stderr


@contextmanager
def served(lab: Lab, home: Path) -> Iterator[Installation]:
    """Make an installation, serve it, and give it a host that is its own."""
    began, canaries, address = time.time(), Canaries(), free_address()
    admin = Person(f"http://{address}", "admin", server.initialise(home))
    canaries.watch("administrator's token", admin.token[-24:])
    for number, line in enumerate((home / "keys").read_text().split()):
        canaries.watch(f"key file {number}", line[-24:])
    with open(home / "tidegate.toml", "a") as settings:
        # A lab's API server listens where a real one never would.
        settings.write('log_level = "DEBUG"\ncluster_address_allow = ["127.0.0.0/8"]\n')
    host_password = canaries.plant("password of the host")
    host = lab.host("bi-canary", sudo_password=host_password)
    process = server.start(home, address)
    try:
        site = Site(admin, admin.post("/projects", {"name": "canaries"})["id"], lab)
        approver, password = _approver(f"http://{address}", site, canaries)
        key = _login_key(host, canaries)
        yield Installation(
            home, f"http://{address}", site, approver, password, host, host_password, key, canaries, began
        )
    finally:
        server.stop(process.pid)
        host.remove()


def _approver(url: str, site: Site, canaries: Canaries) -> tuple[Person, str]:
    password = canaries.plant("password of a user")
    user = site.admin.post("/users", {"name": "approver", "password": password})["id"]
    scope = {"scope_type": "project", "scope_id": site.project_id}
    site.admin.post("/bindings", {"subject_type": "user", "subject_id": user, "role": "approver", **scope})
    token = site.admin.post("/tokens", {"user_id": user, "name": "approves"})["token"]
    canaries.watch("approver's token", token[-24:])
    return Person(url, "approver", token), password


def _login_key(host: LabHost, canaries: Canaries) -> str:
    """Make a key that is nobody else's, let `operator` log in with it, and return it."""
    pair = Ed25519PrivateKey.generate()
    private = pair.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = pair.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    host.exec(["tee", "-a", "/etc/ssh/authorized_keys/operator"], input=public + "\n")
    canaries.watch("private key of the host", private.splitlines()[-3])
    return private
