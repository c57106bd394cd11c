# SPDX-License-Identifier: Apache-2.0
"""README's tour with curl, command by command, as somebody follows it who has an empty server and a host."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Lab, LabHost

from . import server
from .rest import Person
from .test_walk import free_address

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.xdist_group("demo")]

README = Path(__file__).resolve().parents[2] / "README.md"


def tour() -> list[str]:
    """Return the tour's shell blocks."""
    section = README.read_text().partition("## A tour with curl\n")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def with_own(blocks: list[str], values: dict[str, str]) -> str:
    """Return one script, with what a reader puts in: each of these must stand in the text once."""
    script = "set -euo pipefail\n" + "\n".join(blocks)
    for stands, own in values.items():
        assert script.count(stands) == 1, stands
        script = script.replace(stands, own)
    return script


@pytest.fixture
def host(lab: Lab) -> Iterator[LabHost]:
    made = lab.host("tour")
    yield made
    made.remove()


def test_the_tour_works_as_it_is_written(lab: Lab, host: LabHost, tmp_path: Path) -> None:
    home, folder, address = tmp_path / "home", tmp_path / "tour", free_address()
    folder.mkdir()
    token = server.initialise(home)
    shutil.copy(host.key_path, folder / "key")
    for number in ("1", "2"):
        shutil.copy(lab.app_archive(number), folder / f"shop-{number}.tar")
    script = with_own(
        tour(),
        {"tg_...": token, "127.0.0.1:8080": address, "192.0.2.10": host.address, "user=deploy": "user=root"},
    )
    process = server.start(home, address)
    try:
        told = subprocess.run(
            ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
        assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
        assert re.findall(r"^(applied|failed|rollback)$", told.stdout, re.MULTILINE) == ["applied"] * 3, (
            told.stdout
        )
        assert "error_key" not in re.sub(r'"error_key":\s*null', "", told.stdout), told.stdout
        assert "shop 2" in told.stdout
        admin = Person(f"http://{address}", "admin", token)
        states = [one["lifecycle_state"] for one in admin.get("/deploy/releases")["items"]]
        assert states == ["applied", "rollback", "applied"]
        assert admin.get("/audit/verify")["is_intact"]
    finally:
        server.stop(process.pid)
