# SPDX-License-Identifier: Apache-2.0
"""A VIP before three hosts: it moves when its holder dies, in the time that VRRP needs, and it leaves nothing.

This machine's kernel may have no IPVS; here the active director itself serves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.automation.entry import PORT, SERVICE, Entries, bundle, floor_ms, likeness, outside
from tests.lab.host import LabHost
from tests.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.xdist_group("lab-network-entry")]
CONFIG = "/etc/tidegate/network-entry/keepalived.conf"
VRRP = "tidegate-network-entry-vrrp.service"
# A Python to which it is an hour ago: hosts of the lab share one clock.
LATE = "/srv/late-python"
LATE_PYTHON = """\
#!/bin/sh
mkdir -p /tmp/late
echo 'import time; now = time.time; time.time = lambda: now() - 3600' > /tmp/late/sitecustomize.py
PYTHONPATH=/tmp/late exec /usr/bin/python3 "$@"
"""


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory, lab: Lab) -> Path:
    return bundle(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.fixture(scope="module")
def three(lab: Lab) -> Iterator[list[LabHost]]:
    hosts = [lab.host(f"vip-{name}", docker=False) for name in "abc"]
    for host in hosts:
        host.exec(["sh", "-c", "cat > /etc/systemd/system/behind.service"], input=SERVICE)
        host.exec(["systemctl", "enable", "--now", "--quiet", "behind.service"])
    yield hosts
    for host in hosts:
        host.remove()


@pytest.fixture
def entries(lab: Lab, three: list[LabHost], bundle_dir: Path, tmp_path: Path) -> Iterator[Entries]:
    made = Entries(lab, tmp_path, bundle_dir, *three)
    yield made
    for host in three:
        lab.host(host.name, docker=False)
    made.run("rollback", made.spec(), "-e", '{"network_entry_remove": true}')
    assert made.holders() == []


def test_comes_changes_goes_back_and_leaves_nothing(entries: Entries) -> None:
    before = [likeness(host) for host in entries.hosts]
    # The first run makes folders of Ansible's own on a host; they are no part of what is compared.
    assert entries.run("apply", entries.previewed(entries.spec())), entries.said
    first = entries.hosts[0].exec(["cat", CONFIG]).stdout
    assert [one["step"] for one in entries.result(entries.hosts[0], "apply")["steps"]] == [
        "preflight", "install", "configure", "activate"
    ]  # fmt: skip
    assert entries.holders() == ["vip-a"]
    assert entries.result(entries.hosts[1], "verify")["entry"]["status"] == "ready"

    assert entries.run("apply", entries.spec()), entries.said
    steps = entries.result(entries.hosts[1], "apply")["steps"]
    assert {one["status"] for one in steps} == {"unchanged"}

    changed = entries.spec(advert_interval=2, nopreempt=True)
    assert entries.run("apply", entries.previewed(changed)), entries.said
    assert "advert_int 2" in entries.hosts[0].exec(["cat", CONFIG]).stdout
    assert entries.hosts[0].exec(["cat", CONFIG + ".previous"]).stdout == first

    assert entries.run("rollback", changed), entries.said
    assert entries.hosts[0].exec(["cat", CONFIG]).stdout == first
    assert entries.run("check", entries.spec()), entries.said
    assert entries.run("rollback", entries.spec()), entries.said
    for host, was in zip(entries.hosts, before, strict=True):
        now = likeness(host)
        for what, lines in was.items():
            assert now[what] == lines, f"{what} of {host.name}"


def test_the_password_is_in_its_file_only(entries: Entries) -> None:
    spec = entries.spec()
    assert entries.run("apply", spec, "-vvv", "--diff"), entries.said
    (entries.folder / "apply.spec.json").unlink()
    for file in entries.folder.iterdir():
        assert "canary8x" not in file.read_text(), file.name
    host = entries.hosts[0]
    assert host.exec(["stat", "-c", "%a %U", CONFIG]).stdout == "600 root\n"
    assert "canary8x" not in host.exec(["sh", "-c", "journalctl --no-pager; ps axww"]).stdout
    assert entries.run("preview", spec), entries.said
    shown = entries.result(host, "preview")
    assert "auth_pass hmac:" in shown["shown"]
    assert shown["files"][0]["action"] == "none"
    assert entries.run("preview", entries.spec(auth_pass="another1")), entries.said
    assert entries.result(host, "preview")["files"][0]["action"] == "change"


def _pull_cable(host: LabHost) -> None:
    # The lab's own cut takes the interface away, and it comes back with another name.
    host.exec(["ip", "link", "set", "eth0", "down"])


def _plug_in(host: LabHost) -> None:
    host.exec(["ip", "link", "set", "eth0", "up"])


FAULTS: list[tuple[Callable[[LabHost], None], Callable[[LabHost], None]]] = [
    (LabHost.pause, LabHost.unpause),
    (_pull_cable, _plug_in),
    (LabHost.kill, LabHost.start),
    (LabHost.pause, LabHost.unpause),
]


def test_the_outage_is_what_vrrp_needs(entries: Entries) -> None:
    spec = entries.spec()
    assert entries.run("apply", spec), entries.said
    floor = floor_ms(spec, "vip-b")
    active = entries.hosts[0]
    outages = []
    for break_it, mend_it in FAULTS:
        with ThreadPoolExecutor(1) as pool:
            watched = pool.submit(outside.watch, entries.vip, PORT, 9.0)
            time.sleep(1.5)
            break_it(active)
            outage = watched.result()
        assert outage["answers_again"]
        assert "vip-b" in entries.holders()
        outages.append(outage["outage_ms"])
        mend_it(active)
        _until(lambda: entries.holders() == ["vip-a"], 15)
    print(f"outages {outages} ms, floor {floor:.0f} ms")
    assert max(outages) <= floor * 1.1 + 200, outages
    assert min(outages) > 2000


def test_a_failover_test_measures_and_puts_back(entries: Entries) -> None:
    spec = entries.spec()
    assert entries.run("apply", spec), entries.said
    assert entries.run("failover_test", spec), entries.said
    seen = entries.result(entries.hosts[2], "failover")["failover"]
    assert (seen["from"], seen["to"], seen["after"]) == ("vip-a", "vip-b", "vip-a")
    # In order, it may go over between two connections.
    assert seen["connections"]["asked"] > 50
    assert 0 <= seen["outage_ms"] <= seen["floor_ms"] * 1.1 + 200


def test_a_check_tells_of_two_holders_none_and_a_dead_back_end(entries: Entries) -> None:
    spec = entries.spec()
    assert entries.run("apply", spec), entries.said
    first, second, _third = entries.hosts

    def reasons() -> set[str]:
        assert entries.run("check", spec), entries.said
        return {one["reason"] for one in entries.result(first, "status")["entry"]["problems"]}

    second.exec(["ip", "address", "add", f"{entries.vip}/24", "dev", "eth0"])
    assert "two_holders" in reasons()
    second.exec(["ip", "address", "del", f"{entries.vip}/24", "dev", "eth0"])
    second.exec(["systemctl", "stop", "behind.service"])
    assert reasons() == {"backend_dead"}
    second.exec(["systemctl", "start", "behind.service"])
    for host in entries.hosts:
        host.exec(["systemctl", "stop", VRRP])
    assert reasons() >= {"no_holder", "vip_does_not_answer", "vrrp_stopped"}


def _foreign(entries: Entries, host: LabHost) -> None:
    """Run a keepalived of another owner with our virtual router's number."""
    host.exec(["sh", "-c", "cp -r /usr/local/lib/tidegate/network-entry /opt/other; cat > /opt/other.conf"],
              input="vrrp_instance x {\n state MASTER\n interface eth0\n virtual_router_id 77\n priority 9\n"
                    " advert_int 1\n virtual_ipaddress {\n 10.99.99.9/32\n }\n}\n")  # fmt: skip
    host.exec(["sh", "-c", "export LD_LIBRARY_PATH=$(echo /opt/other/*/lib | tr ' ' :);"
               " systemd-run --quiet --unit=other -E LD_LIBRARY_PATH=$LD_LIBRARY_PATH"
               " $(ls /opt/other/*/usr/sbin/keepalived)"
               " -n -l -P -p /tmp/o.pid -r /tmp/or.pid -f /opt/other.conf"])  # fmt: skip
    time.sleep(5)


def test_refusals(entries: Entries, lab: Lab) -> None:
    """Each thing that goes wrong in practice, made to happen; no host is changed by any of it."""
    director, other, last = entries.hosts
    for host in entries.hosts:
        host.exec(["sh", "-c", f"cat > {LATE}; chmod +x {LATE}"], input=LATE_PYTHON)
    assert entries.run("apply", entries.spec()), entries.said
    _foreign(entries, last)
    assert entries.run("rollback", entries.spec()), entries.said
    only = {"directors": [director.name, other.name]}
    before = [likeness(host)["files"] for host in entries.hosts]

    spec = entries.spec(**only)
    assert entries.blocking(spec, director) == [("vip_conflict", "virtual_router_id_heard")]
    assert entries.blocking(spec, last) == [("conflict", "keepalived_foreign")]
    last.exec(["systemctl", "stop", "other"])
    time.sleep(1)
    assert entries.blocking(spec, director) == []

    last.exec(["ip", "address", "add", f"{entries.vip}/32", "dev", "eth0"])
    assert entries.blocking(spec, director) == [("vip_conflict", "vip_answers")]
    assert ("vip_conflict", "vip_on_host") in entries.blocking(spec, last)
    assert not entries.run("apply", spec)
    assert entries.result(director, "apply")["error_key"] == "vip_conflict"
    last.exec(["ip", "address", "del", f"{entries.vip}/32", "dev", "eth0"])

    kinds: list[tuple[dict[str, Any], tuple[str, str]]] = [
        ({"interface": "eth9"}, ("vip_unreachable", "interface_missing")),
        ({"interface": "lo"}, ("vip_unreachable", "interface_other_subnet")),
        ({"vip_address": "192.0.2.9/24"}, ("vip_unreachable", "interface_missing")),
        ({"certificate_check": "required"}, ("certificate_invalid", "certificate_without_vip")),
    ]
    director.exec(["ip", "link", "add", "kube-ipvs0", "type", "bridge"])
    assert ("preflight_failed", "kube_proxy_ipvs") in entries.blocking(
        entries.spec(**only, balancer="ipvs"), director
    )
    director.exec(["ip", "link", "del", "kube-ipvs0"])
    inside = {"cluster_networks": {"service": f"{entries.vip}/32"}}
    assert not entries.run("preview", {**entries.spec(**only), **inside})
    assert entries.result(director, "preview")["error_key"] == "vip_conflict"
    assert ("preflight_failed", "not_root") in entries.blocking(
        spec, director, "-e", "ansible_user=deploy", "-e", "ansible_remote_tmp=/tmp/deploy"
    )
    late = entries.blocking(spec, director, "-e", f"ansible_python_interpreter={LATE}")
    assert ("preflight_failed", "clock_skew") in late
    if not Path("/proc/net/ip_vs").exists():
        kinds.append(({"balancer": "ipvs"}, ("kernel_module_missing", "modules_not_loadable")))
    for wrong, expected in kinds:
        assert expected in entries.blocking(entries.spec(**only, **wrong), director), wrong
    for wrong, key in (
        ({"vip_address": f"{other.address}/24"}, "vip_conflict"),
        ({"backend_nodes": [director.name]}, "backend_nodes_invalid"),
        ({"auth_pass": "longer-than-8"}, "validation_error"),
        ({"interface": "eth0 {"}, "validation_error"),
    ):
        assert not entries.run("preview", entries.spec(**{**only, **wrong}))
        assert entries.result(director, "preview")["error_key"] == key
    assert [likeness(host)["files"] for host in entries.hosts] == before


def test_a_host_that_moved_since_the_preview_is_left_alone(entries: Entries) -> None:
    bound = entries.previewed(entries.spec())
    entries.hosts[1].exec(["ip", "address", "add", "10.98.0.1/24", "dev", "eth0"])
    try:
        assert not entries.run("apply", bound)
        found = entries.result(entries.hosts[1], "apply")
        assert (found["error_key"], found["detail"]["moved"]) == ("preview_stale", ["interface"])
        assert entries.holders() == []
    finally:
        entries.hosts[1].exec(["ip", "address", "del", "10.98.0.1/24", "dev", "eth0"])


def test_a_program_that_does_not_run_replaces_nothing(entries: Entries) -> None:
    assert entries.run("apply", entries.spec()), entries.said
    host = entries.hosts[0]
    was = host.exec(["cat", CONFIG]).stdout
    host.exec(["sh", "-c", "chmod -x $(ls -d /usr/local/lib/tidegate/network-entry/*/usr/sbin/keepalived)"])
    assert not entries.run("apply", entries.spec(advert_interval=3))
    assert host.exec(["cat", CONFIG]).stdout == was
    assert entries.holders() == ["vip-a"]


def _until(what: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def test_a_node_without_a_part_that_hangs_is_gone_on_without_and_a_director_is_not(entries: Entries) -> None:
    first, second, third = entries.hosts
    spec = entries.spec(directors=[first.name, second.name], backend_nodes=[first.name, second.name])
    third.pause()
    try:
        assert entries.run("preview", spec), entries.said
        shown = entries.result(third, "preview")
        assert [(one["level"], one["reason"]) for one in shown["checks"]] == [("warning", "node_unreachable")]
        assert entries.run("apply", spec), entries.said
        assert "is not led to" in " ".join(entries.said.split()) and entries.holders() == [first.name]
        (told,) = entries.result(third, "endpoint")["steps"]
        assert (told["status"], told["detail"]["error_key"]) == ("failed", "ssh_unreachable")
        assert not entries.run("rollback", spec), "it may be led to what goes"
        assert entries.holders() == [first.name]
        moved = {**spec, "lvs_vip": {**spec["lvs_vip"], "directors": [first.name, third.name]}}
        assert not entries.run("apply", moved)
        assert entries.result(third, "apply")["error_key"] == "ssh_unreachable"
    finally:
        third.unpause()
    assert entries.run("apply", spec), entries.said
    assert entries.result(second, "verify")["entry"]["status"] == "ready"
