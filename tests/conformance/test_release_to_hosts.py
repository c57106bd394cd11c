# SPDX-License-Identifier: Apache-2.0
"""What only a release to hosts can meet: logins, jump hosts, hosts that are dead, images that are nowhere."""

from __future__ import annotations

import pytest

from tests.conformance.site import ComposeHosts, Refused, Site, compose
from tests.lab import LabHost

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.xdist_group("lab-conformance")]


def test_an_image_that_is_nowhere_stands_against_the_preview(site: Site, shared: tuple[LabHost, str]) -> None:
    service, target = site.service(), site.target(shared[1])
    service.add("1", compose("web", port=False).replace("shop:{{ tag }}", "127.0.0.1:9/none:{{ tag }}"))
    preview = service.preview(target, "1")
    assert preview["preview_ref"] is None
    assert "image_missing" in {check["code"] for check in preview["preview"]["checks"]}
    with pytest.raises(Refused, match="preview_required"):
        site.admin.post("/deploy/releases/apply", {"preview_ref": ""})


def test_a_user_who_needs_a_sudo_password(site: Site, hosts: ComposeHosts) -> None:
    host, host_id = site.host("sudo", user="operator", become=True, become_password="tide-and-time")
    service, target = site.service(), site.target(host_id)
    service.add("1", compose("web", port=False), ["1"])
    assert service.release(target, "1")["lifecycle_state"] == "applied"
    assert set(hosts.running(host, service)) == {"web"}


def test_a_host_behind_a_jump_host(site: Site, hosts: ComposeHosts) -> None:
    jump = site.lab.jump_host()
    jump_id = site.register(jump)
    host, host_id = site.host("behind", behind=jump, jump_host_id=jump_id)
    service, target = site.service(), site.target(host_id)
    service.add("1", compose("web", port=False), ["1"])
    assert service.release(target, "1")["lifecycle_state"] == "applied"
    assert set(hosts.running(host, service)) == {"web"}


def test_of_two_hosts_one_is_dead(site: Site, hosts: ComposeHosts) -> None:
    alive, alive_id = site.host("alive")
    dead, dead_id = site.host("dead")
    service, target = site.service(), site.target(alive_id, dead_id)
    service.add("1", compose("web", port=False), ["1", "2"])
    assert service.release(target, "1")["lifecycle_state"] == "applied"
    preview = service.preview(target, "1", variables={"tag": "2"})
    before = hosts.running(alive, service)
    dead.kill()
    failed = service.apply(preview)
    assert (failed["lifecycle_state"], failed["diagnostics_json"]["error_key"]) == (
        "failed",
        "ssh_unreachable",
    )
    assert "cf-dead" in failed["diagnostics_json"]["summary"]
    assert hosts.running(alive, service) == before
    looked = service.preview(target, "1", variables={"tag": "2"})
    assert looked["preview_ref"] is None
    assert [check["code"] for check in looked["preview"]["checks"]] == ["ssh_unreachable"]


@pytest.mark.parametrize(
    ("fault", "error_key"),
    [
        ("another-key", "ssh_host_key_mismatch"),
        ("wrong-key", "ssh_auth_failed"),
        ("no-docker", "preflight_failed"),
    ],
)
def test_what_is_wrong_with_a_host_is_told_by_its_key(site: Site, fault: str, error_key: str) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    host, host_id = site.host(fault)
    service, target = site.service(), site.target(host_id)
    service.add("1", compose("web", port=False), ["1"])
    if fault == "another-key":
        host.change_host_key()
    elif fault == "wrong-key":
        key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        site.admin.patch(f"/hosts/{host_id}", {"private_key": key.decode()})
    else:
        host.run(["systemctl", "stop", "docker.socket", "docker"], check=False)
    preview = service.preview(target, "1")
    assert preview["preview_ref"] is None
    check = preview["preview"]["checks"][0]
    assert (check["code"], bool(check["hint"])) == (error_key, True), preview["preview"]["checks"]
