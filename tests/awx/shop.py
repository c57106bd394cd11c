# SPDX-License-Identifier: Apache-2.0
"""A served installation with a real host, for the clients that ask it from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.awx.command import Awx
from tests.demo import server, walk
from tests.demo.rest import Person
from tests.demo.test_walk import Silent, free_address
from tests.demo.walk import Walked
from tests.lab import Lab

DEVELOPMENT, PRODUCTION = "shop / shop / shop-development", "shop / shop / shop-production"
PASSWORD = "a password for the session"


@dataclass
class Shop:
    """A served installation with a host, and `awx` as those who release and administer there."""

    walked: Walked
    awx: Awx
    admin: Awx

    def launch(self, name: str, version: str, *more: str, port: int = 8081) -> list[str]:
        """Return the command that launches a version."""
        values = json.dumps({"version": version, "port": port})
        return ["job_templates", "launch", name, "--scm_branch", version, "--extra_vars", values, *more]

    def newest(self) -> Any:
        """Return the newest job."""
        return self.awx("jobs", "list", "--order_by=-id").json["results"][0]

    def stdout(self, number: int) -> list[str]:
        """Return the lines of a job."""
        ran = self.awx("jobs", "stdout", str(number))
        assert ran.code == 0, ran.err
        return ran.out.rstrip("\n").split("\n")


@pytest.fixture(scope="package")
def shop(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The shop of the demo, made once."""
    home: Path = tmp_path_factory.mktemp("awx") / "home"
    address = free_address()
    host = lab.host("awx")
    admin = Person(f"http://{address}", "admin", server.initialise(home))
    process = server.start(home, address)
    try:
        walked = walk._prepare(
            admin.url,
            admin,
            host,
            lambda version, healthy: lab.app_archive(version, healthy=healthy),
            Silent(),
        )
        users = admin.get("/users", name="requester")["items"]
        admin.patch(f"/users/{users[0]['id']}", {"password": PASSWORD})
        yield Shop(walked, Awx(admin.url, walked.requester.token), Awx(admin.url, admin.token))
    finally:
        server.stop(process.pid)
        host.remove()
