# SPDX-License-Identifier: Apache-2.0
"""Images reach a real host out of archives: once, whole, and on from where a cut transfer stopped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import app
from tests.lab.host import LabHost
from tests.lab.lab import Lab

from .rig import Rig

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

INCOMING = "/var/lib/tidegate/incoming"


@pytest.fixture
def host(lab_host: Callable[..., LabHost]) -> LabHost:
    return lab_host(docker=True)


@pytest.fixture
def deliver(lab: Lab, host: LabHost, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    rig = Rig(lab, tmp_path, host)
    return lambda *images: rig.task("tidegate.deploy.image_archive", {"images": list(images)})[host.name]


def details(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [step["detail"] for step in answer["tidegate"]["steps"]]


def test_an_image_is_sent_once(lab: Lab, host: LabHost, deliver: Callable[..., dict[str, Any]]) -> None:
    archive = lab.app_archive("1")
    wanted = {"reference": "shop:1", "archive": str(archive), "image_id": app.image_id(archive)}
    assert details(deliver(wanted))[0]["sent_bytes"] == archive.stat().st_size
    assert host.run(["ls", INCOMING]).stdout == ""
    again = deliver({**wanted, "archive": "/nowhere.tar"})
    assert not again["changed"]
    assert again["tidegate"]["steps"][0]["status"] == "unchanged"
    host.run(["docker", "rmi", "shop:1"])
    assert deliver(wanted)["changed"]
    assert (
        host.run(["docker", "image", "inspect", "-f", "{{.Id}}", "shop:1"]).stdout.strip()
        == wanted["image_id"]
    )


def test_a_cut_transfer_goes_on_where_it_stopped_and_a_spoilt_one_is_refused(
    lab: Lab, host: LabHost, deliver: Callable[..., dict[str, Any]]
) -> None:
    archive = lab.app_archive("2")
    content = archive.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    wanted = {"reference": "shop:2", "archive": str(archive), "archive_digest": f"sha256:{digest}"}
    host.run(["mkdir", "-p", INCOMING])
    host.run(["dd", f"of={INCOMING}/{digest}.part", "status=none"], input="x" * 1000)
    spoilt = deliver(wanted)
    assert spoilt["tidegate"]["error_key"] == "artifact_checksum_mismatch"
    assert host.run(["ls", INCOMING]).stdout == ""
    half = content[: len(content) // 2]
    host.run(["sh", "-c", f"base64 -d > {INCOMING}/{digest}.part"], input=encoded(half))
    sent = details(deliver(wanted))[0]
    assert sent["resumed_at_byte"] == len(half)
    assert sent["sent_bytes"] == len(content) - len(half)


def test_no_room_is_said_before_anything_is_sent(
    lab: Lab, host: LabHost, deliver: Callable[..., dict[str, Any]]
) -> None:
    host.fill_disk()
    try:
        refused = deliver({"reference": "shop:3", "archive": str(lab.app_archive("3", size_mb=50))})
    finally:
        host.free_disk()
    assert refused["failed"]
    assert refused["tidegate"]["error_key"] == "storage_full"


def test_what_is_not_the_promised_image_is_refused(
    lab: Lab, deliver: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.tar"
    bad.write_bytes(b"no archive")
    assert deliver({"reference": "a:1", "archive": str(bad)})["tidegate"]["error_key"] == "validation_error"
    gone = deliver({"reference": "a:1", "archive": str(tmp_path / "none")})
    assert gone["tidegate"]["error_key"] == "artifact_missing"
    other = deliver(
        {"reference": "a:1", "archive": str(lab.app_archive("1")), "image_id": f"sha256:{'0' * 64}"}
    )
    assert other["tidegate"]["error_key"] == "artifact_checksum_mismatch"
    wrong = deliver(
        {"reference": "a:1", "archive": str(lab.app_archive("1")), "archive_digest": f"sha256:{'0' * 64}"}
    )
    assert wrong["tidegate"]["error_key"] == "artifact_checksum_mismatch"


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
