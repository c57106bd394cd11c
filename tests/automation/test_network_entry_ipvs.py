# SPDX-License-Identifier: Apache-2.0
"""Real IPVS with direct routing, on two guests that are director and real server both: nothing goes round."""

from __future__ import annotations

import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.automation.entry import PORT, Entries, bundle, floor_ms, likeness
from tests.automation.wire import Wire
from tests.lab import uml
from tests.lab.uml import Guest

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.xdist_group("lab-uml"), pytest.mark.timeout(900)]
CONNECTIONS = 2000
AT_ONCE = 8
# It tells who answered; a connection that nobody answers is lost.
SERVER = """
import socket, socketserver
class Tell(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(socket.gethostname().encode())
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, request_queue_size, daemon_threads = True, 256, True
Server(("0.0.0.0", 6443), Tell).serve_forever()
"""
UNIT = """
[Unit]
Description=What the VIP stands before
[Service]
ExecStart=/usr/bin/python3 /srv/tell.py
Restart=always
[Install]
WantedBy=multi-user.target
"""
VRRP = "tidegate-network-entry-vrrp.service"


@pytest.fixture(scope="module")
def two() -> Iterator[uml.Guests]:
    """Two guests that serve, each telling its name."""
    missing = uml.why_not()
    if missing:
        pytest.skip(missing)
    with uml.guests("network-entry") as made:
        for name in ("uml-a", "uml-b"):
            made.boot(name)
        made.wait()
        for guest in made.guests:
            guest.exec(["sh", "-c", "cat > /srv/tell.py"], input=SERVER)
            guest.exec(["sh", "-c", "cat > /etc/systemd/system/behind.service"], input=UNIT)
            guest.exec(["systemctl", "enable", "--now", "--quiet", "behind.service"])
        yield made


@pytest.fixture(scope="module")
def entries(two: uml.Guests, tmp_path_factory: pytest.TempPathFactory) -> Entries:
    folder = tmp_path_factory.mktemp("ipvs")
    return Entries(two, folder, bundle(folder / "bundle"), *two.guests)


def asked(entries: Entries, **more: Any) -> dict[str, Any]:
    return entries.spec(balancer="ipvs", lb_kind="DR", **more)


def ask(address: str) -> str:
    """Return who answered; empty for a connection that was lost."""
    try:
        with socket.create_connection((address, PORT), timeout=3) as line:
            line.settimeout(3)
            return line.recv(100).decode()
    except OSError:
        return ""


def holders(entries: Entries) -> list[str]:
    """Who answers for the VIP; a real server has it, too, but as /32 on a device that does not."""
    return [
        guest.name
        for guest in entries.hosts
        if f" {entries.vip}/24 " in guest.exec(["ip", "-4", "address"]).stdout
    ]


def mac_of(interface: str) -> str:
    """The hardware address of an interface of this machine."""
    return Path(f"/sys/class/net/{interface}/address").read_text().strip()


def mac_of_guest(guest: Guest) -> str:
    """The hardware address at which a guest is."""
    return guest.exec(["cat", "/sys/class/net/vec0/address"]).stdout.strip()


def services(guest: Guest) -> list[str]:
    """The virtual services that the guest's kernel has."""
    lines = guest.exec(["cat", "/proc/net/ip_vs"], check=False).stdout.splitlines()
    return [line.split()[1] for line in lines if line.startswith("TCP")]


def test_connections_are_spread_and_none_goes_round(entries: Entries, two: uml.Guests) -> None:
    active, standby = two.guests
    # The first run makes folders of Ansible's own on a host, and reading loads modules; neither is the entry's.
    for guest in two.guests:
        guest.exec(["modprobe", "ip_vs"])
        guest.exec(["modprobe", "ip_vs_rr"])
    assert entries.run("preview", asked(entries)), entries.said
    before = [likeness(guest) for guest in two.guests]
    assert entries.run("apply", entries.previewed(asked(entries))), entries.said
    assert holders(entries) == ["uml-a"]
    assert len(services(active)) == 1 and services(standby) == []

    with Wire(two.lines, entries.vip, PORT) as wire, ThreadPoolExecutor(AT_ONCE) as pool:
        answered = Counter(pool.map(lambda _number: ask(entries.vip), range(CONNECTIONS)))
    here, own = mac_of(two.bridge), wire.to(active.name)
    print(f"answered {dict(answered)}; first packets {dict(wire.taken)}; handed on {dict(wire.sent)}")
    assert answered["uml-a"] + answered["uml-b"] == CONNECTIONS, answered
    # In turn: a port that this machine takes again is a new connection, too.
    assert answered["uml-b"] == pytest.approx(CONNECTIONS / 2, rel=0.02), "both back ends were used in turn"
    # All of them came to the active director and to nobody else; the other got its half from there.
    assert wire.taken[active.name, here] == own >= CONNECTIONS
    assert wire.taken.keys() == {(active.name, here), (standby.name, mac_of_guest(active))}
    assert wire.sent[active.name] > 0 and wire.sent[standby.name] == 0, "nothing goes round"

    assert entries.run("rollback", asked(entries), "-e", '{"network_entry_remove": true}'), entries.said
    for guest, old in zip(two.guests, before, strict=True):
        found = likeness(guest)
        for what, lines in old.items():
            assert found[what] == lines, f"{what} of {guest.name}"
        assert services(guest) == []


def test_a_failover_loses_only_what_is_in_flight(entries: Entries, two: uml.Guests) -> None:
    active, standby = two.guests
    spec = asked(entries)
    assert entries.run("apply", entries.previewed(spec)), entries.said
    answers: list[tuple[float, str]] = []
    with ThreadPoolExecutor(1) as pool:
        until = time.monotonic() + 14

        def keep_asking() -> None:
            while time.monotonic() < until:
                started = time.monotonic()
                answers.append((started, ask(entries.vip)))
                time.sleep(0.02)

        asking = pool.submit(keep_asking)
        time.sleep(2)
        active.exec(["systemctl", "stop", VRRP])
        asking.result()
    lost = [started for started, who in answers if not who]
    window = (lost[-1] - lost[0] + 3.0 if lost else 0.0) * 1000
    print(
        f"{len(lost)} of {len(answers)} lost, within {window:.0f} ms, floor {floor_ms(spec, 'uml-b'):.0f} ms"
    )
    assert holders(entries) == ["uml-b"]
    assert services(active) == [] and len(services(standby)) == 1
    assert window <= floor_ms(spec, "uml-b") * 1.1 + 200 + 3000
    after = Counter(who for started, who in answers if not lost or started > lost[-1])
    assert "" not in after and set(after) == {"uml-a", "uml-b"}, "both serve on after it"
    active.exec(["systemctl", "start", VRRP])
    assert entries.run("check", spec), entries.said
    assert entries.run("rollback", spec, "-e", '{"network_entry_remove": true}'), entries.said


def test_a_back_end_that_dies_leaves_the_table_and_comes_back(entries: Entries, two: uml.Guests) -> None:
    active, other = two.guests
    spec = asked(entries, health_check={"interval": 1, "timeout": 1, "retries": 0})
    assert entries.run("apply", entries.previewed(spec)), entries.said

    def in_table() -> int:
        return active.exec(["cat", "/proc/net/ip_vs"]).stdout.count("  -> ") - 1

    other.exec(["systemctl", "stop", "behind.service"])
    _until(lambda: in_table() == 1)
    # A port that is taken again does not lead to it, either.
    _until(lambda: {ask(entries.vip) for _ in range(20)} == {"uml-a"})
    other.exec(["systemctl", "start", "behind.service"])
    _until(lambda: in_table() == 2)
    _until(lambda: {ask(entries.vip) for _ in range(20)} == {"uml-a", "uml-b"})
    assert entries.run("rollback", spec, "-e", '{"network_entry_remove": true}'), entries.said


@pytest.mark.parametrize("lb_kind", ["NAT", "TUN"])
def test_the_other_ways_to_a_real_server(entries: Entries, two: uml.Guests, lb_kind: str) -> None:
    """The director serves itself, and the other is reached by its own address, or through a tunnel."""
    active, other = two.guests
    spec = entries.spec(balancer="ipvs", lb_kind=lb_kind, directors=[active.name])
    if lb_kind == "NAT":
        _answer_through(other, entries.vip, address_of(two.bridge))
    assert entries.run("apply", entries.previewed(spec)), entries.said
    assert holders(entries) == [active.name] and services(other) == []
    with Wire(two.lines, other.address, PORT) as wire, ThreadPoolExecutor(AT_ONCE) as pool:
        answered = Counter(pool.map(lambda _number: ask(entries.vip), range(CONNECTIONS // 4)))
    print(f"{lb_kind}: answered {dict(answered)}; first packets to the other's address {dict(wire.taken)}")
    assert answered[active.name] + answered[other.name] == CONNECTIONS // 4, answered
    assert answered[other.name] == pytest.approx(CONNECTIONS / 8, rel=0.1)
    # Only where addresses are translated does the other see a packet to its own.
    assert (wire.to(other.name) >= answered[other.name]) == (lb_kind == "NAT")
    assert entries.run("rollback", spec, "-e", '{"network_entry_remove": true}'), entries.said
    if lb_kind == "NAT":
        other.exec(["sh", "-c", "ip rule del table 100; ip route flush table 100"])


def address_of(interface: str) -> str:
    """This machine's address on an interface."""
    said = subprocess.run(
        ["ip", "-4", "-o", "address", "show", "dev", interface], capture_output=True, text=True, check=True
    ).stdout
    return said.split()[3].split("/")[0]


def _answer_through(guest: Guest, vip: str, client: str) -> None:
    """Let what a real server answers go back by the director, as NAT needs it; ssh goes its own way."""
    for words in (
        f"ip rule add ipproto tcp sport {PORT} table 100",
        f"ip route add {client}/32 via {vip} dev vec0 onlink table 100",
    ):
        guest.exec(words.split())


def _until(is_so: Any) -> None:
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.2)
