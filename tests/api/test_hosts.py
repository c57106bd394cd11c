# SPDX-License-Identifier: Apache-2.0
"""Hosts: what is taken, what is never answered, and the way of a key from seen to pinned."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from flask import Flask
from sqlalchemy import select, text

from controlplane.adapters.probe import fingerprint_of
from controlplane.domain.errors import Problem
from controlplane.ports.probe import HostKey, SshAccess
from controlplane.services import hosts
from controlplane.services.core import Core
from controlplane.store.tables import Event, Host
from tests.api.application import application
from tests.api.people import Caller, People

CANARY = "canary-5b1f-password"


def private_key() -> str:
    """Make a private key as OpenSSH writes it."""
    made = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return made.decode()


def locked_key() -> str:
    """Make a private key with a passphrase."""
    protection = BestAvailableEncryption(b"passphrase")
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection).decode()


def public_key() -> HostKey:
    """Make a host key."""
    made = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return HostKey(made.decode(), fingerprint_of(made.decode()))


class Machine:
    """A host that shows a key and remembers how it was asked: a rebuilt one is nothing the lab can give here."""

    def __init__(self) -> None:
        self.key = public_key()
        self.asked: list[SshAccess] = []

    def host_key(self, access: SshAccess, timeout: float = 10.0) -> HostKey:
        """Show the key."""
        self.asked.append(access)
        return self.key

    def check(self, access: SshAccess, timeout: float = 10.0) -> None:
        """Compare the pinned key, as ssh does."""
        self.asked.append(access)
        if access.host_key != self.key.line:
            raise Problem("ssh_host_key_mismatch")


@pytest.fixture
def machine() -> Machine:
    """The machine behind every address."""
    return Machine()


@pytest.fixture
def core(core: Core, machine: Machine) -> Iterator[Core]:
    """The installation, with that machine in place of the network."""
    yield replace(core, probe=machine)


@pytest.fixture
def app(core: Core) -> Flask:
    """Its application."""
    return application(core)


@pytest.fixture
def shop(people: People) -> str:
    """A project."""
    return people.project("shop")


def body(project: str, **other: Any) -> dict[str, Any]:
    """Return what a host is made from."""
    return {
        "project_id": project, "name": "web-1", "address": "192.0.2.10", "user": "deploy", "password": CANARY, **other
    }  # fmt: skip


def test_secrets_go_in_and_never_come_out(core: Core, admin: Caller, shop: str) -> None:
    key = private_key()
    made = admin.post("/hosts", body(shop, private_key=key, become=True, become_password=CANARY + "-2"))
    assert made.status_code == 201, made.json
    host_id = made.json["id"]
    changed = admin.patch(f"/hosts/{host_id}", {"password": CANARY + "-3"})
    answers = [made, changed, admin.get(f"/hosts/{host_id}"), admin.get("/hosts"), admin.get("/events")]
    secret_line = key.splitlines()[1]
    for answer in answers:
        assert answer.status_code in (200, 201), answer.json
        assert CANARY not in answer.text and secret_line not in answer.text
    assert (changed.json["has_private_key"], changed.json["has_password"], changed.json["has_become_password"]) == (
        True, True, True
    )  # fmt: skip
    with core.database.read() as session:
        rows = [
            str(row)
            for table in ("hosts", "events")
            for row in session.execute(text(f"SELECT * FROM {table}"))
        ]
        assert CANARY not in "".join(rows) and secret_line not in "".join(rows)
        cipher = session.get_one(Host, host_id).password_cipher
    assert cipher and core.vault.decrypt(cipher).decode() == CANARY + "-3"


WRONG = [
    ("name", "Web_1"), ("name", "-web"), ("name", "a" * 64), ("name", ""), ("name", "web\n"),
    ("address", "-oProxyCommand=x"), ("address", "a b"), ("address", "web;id"), ("address", "$(id)"),
    ("address", "user@web"), ("address", "fe80::1%eth0"), ("address", "web,other"), ("address", "999.1.1.1"),
    ("address", "web\n"), ("address", ""), ("address", "a" * 254), ("address", "{{ x }}"), ("address", "[::1]"),
    ("port", 0), ("port", 65536), ("port", "22"), ("port", 22.5), ("port", True), ("port", None),
    ("user", "-l"), ("user", "a b"), ("user", "a;b"), ("user", "root@x"), ("user", ""), ("user", "a\n"),
    ("user", "{{x}}"), ("user", "a" * 33),
    ("private_key", "no key"), ("private_key", locked_key()), ("private_key", 7),
    ("password", "two\nlines"), ("password", ""), ("become_password", "nul\0"),
    ("jump_host_id", "hst_unknown"), ("become", "perhaps"), ("host_key", "ssh-ed25519 AAAA"), ("nonsense", 1),
]  # fmt: skip


# Numbered: one of the values is another in each process that collects the tests.
@pytest.mark.parametrize(
    ("field", "value"), WRONG, ids=[f"{field}-{at}" for at, (field, _) in enumerate(WRONG)]
)
def test_what_is_wrong_is_refused_and_named(admin: Caller, shop: str, field: str, value: Any) -> None:
    answer = admin.post("/hosts", body(shop, **{field: value}))
    assert (answer.status_code, answer.json["error_key"]) == (422, "validation_error"), answer.json
    assert field in str(answer.json["errors"])
    assert admin.get("/hosts").json["items"] == []


def test_a_key_that_asks_for_a_passphrase_is_refused(admin: Caller, shop: str, tmp_path: Path) -> None:
    for passphrase, status in (("", 201), ("secret-words", 422)):
        file = tmp_path / f"key{status}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(file)], check=True)
        made = admin.post("/hosts", body(shop, private_key=file.read_text()))
        assert made.status_code == status, made.json


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "web", "web-1.example.org", "10.0.0.1"])
def test_names_and_both_kinds_of_addresses_are_taken(admin: Caller, shop: str, address: str) -> None:
    assert admin.post("/hosts", body(shop, address=address)).json["address"] == address


def test_a_host_needs_a_way_to_log_in(admin: Caller, shop: str) -> None:
    without = {name: value for name, value in body(shop).items() if name != "password"}
    assert admin.post("/hosts", without).status_code == 422
    host_id = admin.post("/hosts", body(shop)).json["id"]
    assert admin.patch(f"/hosts/{host_id}", {"password": None}).status_code == 422
    changed = admin.patch(f"/hosts/{host_id}", {"password": None, "private_key": private_key()})
    assert (changed.json["has_password"], changed.json["has_private_key"]) == (False, True)


def test_a_key_is_used_only_once_its_fingerprint_was_confirmed(
    core: Core, admin: Caller, shop: str, machine: Machine
) -> None:
    host_id = admin.post("/hosts", body(shop)).json["id"]
    assert admin.post(f"/hosts/{host_id}/check").json["error_key"] == "host_key_unconfirmed"
    nothing = admin.post(f"/hosts/{host_id}/host-key/confirm", {"fingerprint": machine.key.fingerprint})
    assert nothing.json["error_key"] == "host_key_unconfirmed"

    seen = admin.post(f"/hosts/{host_id}/host-key/fetch").json
    assert (seen["fingerprint"], seen["host_key"], seen["host_key_status"], seen["key_type"]) == (
        machine.key.fingerprint, machine.key.line, "fetched", "ssh-ed25519"
    )  # fmt: skip
    assert machine.asked[-1].password is None and machine.asked[-1].private_key is None
    assert admin.post(f"/hosts/{host_id}/check").json["error_key"] == "host_key_unconfirmed"

    other = admin.post(f"/hosts/{host_id}/host-key/confirm", {"fingerprint": public_key().fingerprint})
    assert other.json["error_key"] == "ssh_host_key_mismatch"
    assert admin.get(f"/hosts/{host_id}").json["host_key_status"] == "fetched"

    pinned = admin.post(f"/hosts/{host_id}/host-key/confirm", {"fingerprint": seen["fingerprint"]})
    assert pinned.json["host_key_status"] == "pinned"
    assert admin.post(f"/hosts/{host_id}/check").json == {"host_id": host_id, "reachable": True}
    assert (machine.asked[-1].host_key, machine.asked[-1].password) == (machine.key.line, CANARY)
    with core.database.read() as session:
        told = session.scalars(select(Event).where(Event.action == "resource.host_key_pinned")).all()
    assert [(event.resource_id, event.detail["fingerprint"]) for event in told] == [
        (host_id, seen["fingerprint"])
    ]


def pin(admin: Caller, host_id: str) -> None:
    """Fetch and confirm."""
    seen = admin.post(f"/hosts/{host_id}/host-key/fetch").json
    assert (
        admin.post(f"/hosts/{host_id}/host-key/confirm", {"fingerprint": seen["fingerprint"]}).status_code
        == 200
    )


@pytest.mark.parametrize("change", [{"address": "192.0.2.11"}, {"port": 2222}])
def test_another_address_or_port_loses_the_pin(admin: Caller, shop: str, change: dict[str, Any]) -> None:
    host_id = admin.post("/hosts", body(shop)).json["id"]
    pin(admin, host_id)
    assert admin.patch(f"/hosts/{host_id}", {"user": "other"}).json["host_key_status"] == "pinned"
    changed = admin.patch(f"/hosts/{host_id}", change).json
    assert (changed["host_key_status"], changed["host_key"], changed["host_key_fingerprint"]) == (
        "unknown", None, None
    )  # fmt: skip


def test_another_key_on_a_pinned_host_is_not_trusted(admin: Caller, shop: str, machine: Machine) -> None:
    host_id = admin.post("/hosts", body(shop)).json["id"]
    pin(admin, host_id)
    assert admin.post(f"/hosts/{host_id}/host-key/fetch").json["host_key_status"] == "pinned"
    machine.key = public_key()
    assert admin.post(f"/hosts/{host_id}/check").json["error_key"] == "ssh_host_key_mismatch"
    assert admin.post(f"/hosts/{host_id}/host-key/fetch").json["host_key_status"] == "fetched"
    assert admin.post(f"/hosts/{host_id}/check").json["error_key"] == "host_key_unconfirmed"


def test_a_host_behind_another_is_reached_through_its_pinned_key(
    core: Core, admin: Caller, shop: str
) -> None:
    gate = admin.post("/hosts", body(shop, name="gate", address="192.0.2.1", private_key=private_key())).json[
        "id"
    ]
    inner = admin.post("/hosts", body(shop, jump_host_id=gate)).json["id"]
    assert admin.post(f"/hosts/{inner}/host-key/fetch").json["error_key"] == "host_key_unconfirmed"
    pin(admin, gate)
    pin(admin, inner)
    with core.database.read() as session:
        way = hosts.run_access(core, session, session.get_one(Host, inner))
    assert way.jump is not None and (way.jump.address, way.jump.private_key is not None) == (
        "192.0.2.1",
        True,
    )
    assert admin.delete(f"/hosts/{gate}").json["error_key"] == "resource_in_use"
    assert admin.patch(f"/hosts/{gate}", {"private_key": None}).status_code == 422


def test_ways_that_cannot_be_gone_are_refused(admin: Caller, people: People, shop: str) -> None:
    key = private_key()
    gate = admin.post("/hosts", body(shop, name="gate", private_key=key)).json["id"]
    inner = admin.post("/hosts", body(shop, name="inner", private_key=key, jump_host_id=gate)).json["id"]
    plain = admin.post("/hosts", body(shop, name="plain")).json["id"]
    foreign = admin.post("/hosts", body(people.project("bank"), private_key=key)).json["id"]
    wrong = [(gate, gate), (gate, inner), (plain, inner), (inner, plain), (plain, foreign), (gate, foreign)]
    for host_id, jump in wrong:
        answer = admin.patch(f"/hosts/{host_id}", {"jump_host_id": jump})
        assert (answer.status_code, list(answer.json["errors"])) == (422, ["jump_host_id"])


def test_another_projects_hosts_do_not_exist(admin: Caller, people: People, shop: str) -> None:
    host_id = admin.post("/hosts", body(shop)).json["id"]
    stranger = people.add("stranger", "operator", project=people.project("bank"))
    path = f"/hosts/{host_id}"
    asked = [
        stranger.get(path), stranger.patch(path, {"port": 23}), stranger.delete(path),
        stranger.post(f"{path}/host-key/fetch"), stranger.post(f"{path}/check"),
        stranger.post(f"{path}/host-key/confirm", {"fingerprint": "SHA256:x"}), stranger.post("/hosts", body(shop)),
    ]  # fmt: skip
    assert [answer.status_code for answer in asked] == [404] * len(asked)
    assert stranger.get("/hosts").json["items"] == []


def test_a_viewer_reads_and_changes_nothing(admin: Caller, people: People, shop: str) -> None:
    host_id = admin.post("/hosts", body(shop)).json["id"]
    viewer = people.add("viewer", "viewer", project=shop)
    assert viewer.get(f"/hosts/{host_id}").status_code == 200
    refused = [
        viewer.post("/hosts", body(shop, name="x")), viewer.patch(f"/hosts/{host_id}", {"port": 1}),
        viewer.delete(f"/hosts/{host_id}"), viewer.post(f"/hosts/{host_id}/check"),
    ]  # fmt: skip
    assert [answer.status_code for answer in refused] == [403] * 4


def test_where_a_secret_is_sent_is_changed_only_by_those_who_may_set_it(
    admin: Caller, people: People, shop: str
) -> None:
    host_id = admin.post("/hosts", body(shop)).json["id"]
    narrow = people.add(
        "narrow", "operator", project=shop, scopes=["deploy:environment:write", "deploy:environment:read"]
    )
    for change in (
        {"password": "another-one"},
        {"address": "192.0.2.66"},
        {"user": "x"},
        {"jump_host_id": None},
    ):
        answer = narrow.patch(f"/hosts/{host_id}", change)
        assert (answer.status_code, answer.json["permission"]) == (403, "deploy:credential:write")
    assert narrow.patch(f"/hosts/{host_id}", {"name": "web-2"}).status_code == 200


def test_a_name_is_taken_once_in_a_project(admin: Caller, people: People, shop: str) -> None:
    first = admin.post("/hosts", body(shop)).json["id"]
    assert admin.post("/hosts", body(shop)).json["error_key"] == "conflict"
    assert admin.post("/hosts", body(people.project("bank"))).status_code == 201
    second = admin.post("/hosts", body("shop", name="web-2")).json["id"]
    assert admin.patch(f"/hosts/{second}", {"name": "web-1"}).json["error_key"] == "conflict"
    assert [host["id"] for host in admin.get("/hosts", project_id="shop").json["items"]] == [first, second]
    assert admin.delete(f"/hosts/{first}").status_code == 204
    assert admin.get(f"/hosts/{first}").status_code == 404
