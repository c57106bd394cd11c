# SPDX-License-Identifier: Apache-2.0
"""The network goes in the middle of a transfer: nothing half there is used, and the next release goes on with it."""

from __future__ import annotations

import time
from pathlib import PurePosixPath
from typing import Any

import pytest

from tests.conformance.site import ComposeHosts, Site, compose
from tests.lab import LabHost

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.xdist_group("lab-conformance")]

SIZE_MB = 200
INCOMING = PurePosixPath("/var/lib/tidegate/incoming")
# The dead connection is noticed after half a minute; then it is tried again, each time with more patience.
NOTICED_WITHIN = 120


def test_a_transfer_that_is_cut_fails_and_is_gone_on_with(site: Site, hosts: ComposeHosts) -> None:
    host = site.lab.host("bi-cut")
    site.hosts.append(host)
    service, target = site.service(), site.target(site.register(host))
    service.add("1", compose("web", port=False), ["bi-cut"], size_mb=SIZE_MB)
    variables = {"tag": "bi-cut"}
    preview = service.preview(target, "1", variables=variables)
    service.start(preview)
    came = wait_for_half(host)
    host.cut()
    failed = service.ended(preview["release_id"], seconds=NOTICED_WITHIN)
    told = failed["diagnostics_json"]
    assert failed["lifecycle_state"] == "failed", told
    assert (told["error_key"], told["failure_domain"]) == ("ssh_unreachable", "connection"), told
    assert "bi-cut" in told["summary"]
    assert told["hints"]

    host.mend()
    host.wait()
    assert hosts.running(host, service) == {}
    assert host.exec(["docker", "image", "inspect", "shop:bi-cut"], check=False).returncode != 0
    assert came <= partial_bytes(host) < SIZE_MB << 20, "what came is kept, and is not all of it"

    again = service.release(target, "1", variables=variables)
    assert again["lifecycle_state"] == "applied", again["diagnostics_json"]
    assert set(hosts.running(host, service)) == {"web"}
    (sent,) = [one["detail"] for one in steps(site, again) if "sent_bytes" in one.get("detail", {})]
    assert sent["resumed_at_byte"] >= came
    assert sent["sent_bytes"] + sent["resumed_at_byte"] == sent["bytes"]
    assert host.exec(["ls", str(INCOMING)]).stdout == ""


def wait_for_half(host: LabHost) -> int:
    """Wait until a part of the archive is on the host, and return how many bytes."""
    until = time.monotonic() + 60
    while (came := partial_bytes(host)) < 1 << 20:
        assert time.monotonic() < until, "nothing is sent"
        time.sleep(0.05)
    assert came < SIZE_MB << 20, "it was all there before it could be cut"
    return came


def partial_bytes(host: LabHost) -> int:
    """Return how much of an archive lies on the host."""
    found = host.exec(["find", str(INCOMING), "-name", "*.part", "-printf", "%s"], check=False).stdout
    return int(found or 0)


def steps(site: Site, release: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the steps that a release has told of."""
    path = f"/deploy/releases/{release['release_id']}/timeline"
    items = site.admin.get(path, limit=500)["items"]
    return [event["detail"] for event in items if event["action"] == "release.step_succeeded"]
