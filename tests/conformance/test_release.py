# SPDX-License-Identifier: Apache-2.0
"""What every runtime has to do with a release, seen on the real thing through the REST API."""

from __future__ import annotations

import time

import pytest

from tests.conformance.site import ComposeHosts, Refused, Site, compose
from tests.lab import LabHost

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.xdist_group("lab-conformance")]


def test_first_release_then_nothing_new_then_an_update(
    site: Site, shared: tuple[LabHost, str], runtime: ComposeHosts
) -> None:
    host, host_id = shared
    service, target = site.service(), site.target(host_id)
    service.add("1", compose("web"), ["1", "2"])
    first = service.release(target, "1", variables={"tag": "1", "port": 8101})
    assert first["lifecycle_state"] == "applied", first["diagnostics_json"]
    assert runtime.answer(host, 8101) == "shop 1"
    before = runtime.running(host, service)

    same = service.preview(target, "1", variables={"tag": "1", "port": 8101})
    assert same["preview"]["summary"] == {"add": 0, "change": 0, "remove": 0, "none": 1}
    again = service.apply(same)
    assert again["lifecycle_state"] == "applied"
    assert runtime.running(host, service) == before
    applied = site.admin.get(f"/deploy/releases/{again['release_id']}/timeline", limit=500)["items"][-1]
    assert applied["detail"]["changed"] is False

    update = service.release(target, "1", variables={"tag": "2", "port": 8101})
    assert update["lifecycle_state"] == "applied"
    assert runtime.answer(host, 8101) == "shop 2"
    assert runtime.running(host, service) != before


def test_a_service_that_is_no_longer_named_is_removed(
    site: Site, shared: tuple[LabHost, str], runtime: ComposeHosts
) -> None:
    host, host_id = shared
    service, target = site.service(), site.target(host_id)
    service.add("1", compose("web", "side", port=False), ["1"])
    service.add("2", compose("web", port=False), ["1"])
    assert service.release(target, "1")["lifecycle_state"] == "applied"
    kept = runtime.running(host, service)["web"]
    preview = service.preview(target, "2")
    assert preview["preview"]["summary"] == {"add": 0, "change": 0, "remove": 1, "none": 1}
    assert "something that runs would be deleted" in preview["preview"]["risk_reasons"]
    assert service.apply(preview)["lifecycle_state"] == "applied"
    assert runtime.running(host, service) == {"web": kept}


def test_failing_health_says_why_and_a_rollback_restores_and_can_be_rolled_back(
    site: Site, shared: tuple[LabHost, str], runtime: ComposeHosts
) -> None:
    host, host_id = shared
    service, target = site.service(), site.target(host_id)
    service.add("1", compose("web"), ["1", "2", "3-bad"])
    for tag in ("1", "2"):
        good = service.release(target, "1", variables={"tag": tag, "port": 8102})
        assert good["lifecycle_state"] == "applied", good["diagnostics_json"]
    bad = service.release(target, "1", variables={"tag": "3-bad", "port": 8102})
    told = bad["diagnostics_json"]
    assert (bad["lifecycle_state"], told["error_key"], told["failure_domain"]) == (
        "failed",
        "compose_unhealthy",
        "health",
    )
    assert told["objects"][0]["service"] == "web"
    assert "healthz" in str(told["objects"][0])
    assert "step_failed" in service.told(bad)

    back = service.rollback(bad)
    assert back["lifecycle_state"] == "applied", back["diagnostics_json"]
    assert runtime.answer(host, 8102) == "shop 2"
    assert site.admin.get(f"/deploy/releases/{bad['release_id']}")["lifecycle_state"] == "rollback"

    earlier = service.rollback(good)
    assert earlier["lifecycle_state"] == "applied", earlier["diagnostics_json"]
    assert runtime.answer(host, 8102) == "shop 1"
    undone = service.rollback(earlier)
    assert undone["lifecycle_state"] == "applied", undone["diagnostics_json"]
    assert runtime.answer(host, 8102) == "shop 2"


def test_an_image_that_is_nowhere_stands_against_the_preview(site: Site, shared: tuple[LabHost, str]) -> None:
    service, target = site.service(), site.target(shared[1])
    service.add("1", compose("web", port=False).replace("shop:{{ tag }}", "127.0.0.1:9/none:{{ tag }}"))
    preview = service.preview(target, "1")
    assert preview["preview_ref"] is None
    assert "image_missing" in {check["code"] for check in preview["preview"]["checks"]}
    with pytest.raises(Refused, match="preview_required"):
        site.admin.post("/deploy/releases/apply", {"preview_ref": ""})


def test_a_host_that_moved_since_the_preview_is_not_touched(
    site: Site, shared: tuple[LabHost, str], runtime: ComposeHosts
) -> None:
    host, host_id = shared
    service, target = site.service(), site.target(host_id)
    service.add("1", compose("web", port=False), ["1", "2"])
    service.release(target, "1", variables={"tag": "1"})
    preview = service.preview(target, "1", variables={"tag": "2"})
    container = runtime.running(host, service)["web"]
    host.run(["docker", "rm", "-f", container])
    stale = service.apply(preview)
    assert (stale["lifecycle_state"], stale["diagnostics_json"]["error_key"]) == ("expired", "preview_stale")
    assert "web" in stale["diagnostics_json"]["summary"]
    assert runtime.running(host, service) == {}


def test_two_releases_to_one_host_take_turns(site: Site, shared: tuple[LabHost, str]) -> None:
    services = [site.service(), site.service()]
    targets = [site.target(shared[1]), site.target(shared[1])]
    previews = []
    for service, target in zip(services, targets, strict=True):
        service.add("1", compose("web", port=False), ["1"])
        previews.append(service.preview(target, "1"))
    for service, preview in zip(services, previews, strict=True):
        service.start(preview)
    ends = [service.ended(preview["release_id"]) for service, preview in zip(services, previews, strict=True)]
    assert [end["lifecycle_state"] for end in ends] == ["applied", "applied"]
    assert ends[1]["started_at"] >= ends[0]["finished_at"]
    assert "waiting_lock" in services[1].told(ends[1])


def test_cancelled_in_the_middle_the_remote_work_ends(site: Site, shared: tuple[LabHost, str]) -> None:
    host, host_id = shared
    service, target = site.service(), site.target(host_id)
    template = compose("web", port=False, retries=100, interval="2s")
    service.add("1", template, ["9-bad"], health_timeout=120)
    preview = service.preview(target, "1", variables={"tag": "9-bad"})
    service.start(preview)
    service.when(preview["release_id"], lambda release: release["lifecycle_state"] == "applying")
    time.sleep(5)
    site.admin.post(f"/deploy/releases/{preview['release_id']}/cancel")
    ended = service.ended(preview["release_id"], seconds=40)
    assert (ended["lifecycle_state"], ended["diagnostics_json"]["failure_domain"]) == ("failed", "cancelled")
    assert "every host has ended" in ended["diagnostics_json"]["summary"]
    assert "compose_release" not in host.run(["ps", "-eo", "args"]).stdout


def test_a_user_who_needs_a_sudo_password(site: Site, runtime: ComposeHosts) -> None:
    host, host_id = site.host("sudo", user="operator", become=True, become_password="tide-and-time")
    service, target = site.service(), site.target(host_id)
    service.add("1", compose("web", port=False), ["1"])
    assert service.release(target, "1")["lifecycle_state"] == "applied"
    assert set(runtime.running(host, service)) == {"web"}


def test_a_host_behind_a_jump_host(site: Site, runtime: ComposeHosts) -> None:
    jump = site.lab.jump_host()
    jump_id = site.register(jump)
    host, host_id = site.host("behind", behind=jump, jump_host_id=jump_id)
    service, target = site.service(), site.target(host_id)
    service.add("1", compose("web", port=False), ["1"])
    assert service.release(target, "1")["lifecycle_state"] == "applied"
    assert set(runtime.running(host, service)) == {"web"}


def test_of_two_hosts_one_is_dead(site: Site, runtime: ComposeHosts) -> None:
    alive, alive_id = site.host("alive")
    dead, dead_id = site.host("dead")
    service, target = site.service(), site.target(alive_id, dead_id)
    service.add("1", compose("web", port=False), ["1", "2"])
    assert service.release(target, "1")["lifecycle_state"] == "applied"
    preview = service.preview(target, "1", variables={"tag": "2"})
    before = runtime.running(alive, service)
    dead.kill()
    failed = service.apply(preview)
    assert (failed["lifecycle_state"], failed["diagnostics_json"]["error_key"]) == (
        "failed",
        "ssh_unreachable",
    )
    assert "cf-dead" in failed["diagnostics_json"]["summary"]
    assert runtime.running(alive, service) == before
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
