# SPDX-License-Identifier: Apache-2.0
"""Notifications: told of what happened, signed, tried again, logged, and never sent inside unless that is allowed."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import select

from controlplane.awx import deliveries, outbound
from controlplane.awx.outbound import NotSent
from controlplane.services.core import Core
from controlplane.store.tables import Event
from tests.awx.conftest import Asker, Door

INSIDE = ("127.0.0.0/8",)


@dataclass
class Receiver:
    """What a receiver was sent, and what it answers."""

    port: int = 0
    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Listen as a webhook's receiver does."""
    seen = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.got.append((dict(self.headers), body))
            status = seen.answers.pop(0) if seen.answers else 200
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"http://127.0.0.1:{seen.port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def mailbox() -> Iterator[tuple[int, list[str]]]:
    """Listen as a mail server does; yield its port and the mails that came."""
    mails: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    text = b""
                    while (part := self.rfile.readline()) not in (b".\r\n", b""):
                        text += part
                    mails.append(text.decode())
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
                if word == b"QUIT":
                    return

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], mails
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def operator(door: Door) -> Asker:
    """Somebody who may say where notifications go."""
    return door.person("awx-operator", "operator")


def within(door: Door) -> Core:
    """Return the installation as one that lets notifications go inside."""
    return replace(door.core, settings=replace(door.core.settings, notification_address_allow=INSIDE))


def make(operator: Asker, kind: str, configuration: Any, name: str = "bell") -> Any:
    project = operator.get("projects/").json["results"][0]["id"]
    answer = operator.post(
        "notification_templates/",
        {
            "name": name,
            "project": project,
            "notification_type": kind,
            "notification_configuration": configuration,
        },
    )
    assert answer.status_code == 201, answer.text
    return answer.json


def link(door: Door, operator: Asker, notifier: Any, *events: str, stage: str = "development") -> None:
    for event in events:
        path = f"job_templates/{door.template[stage]}/notification_templates_{event}/"
        assert operator.post(path, {"id": notifier["id"], "associate": True}).status_code == 204


def log_of(operator: Asker, notifier: Any) -> Any:
    return operator.get(f"notification_templates/{notifier['id']}/notifications/?order_by=id").json["results"]


def run(door: Door, status: str = "successful") -> Any:
    job = door.previewed()
    deliveries.note_changes(door.core)
    door.made.work_apply(status)
    deliveries.note_changes(door.core)
    deliveries.note_changes(door.core)
    return job


def test_a_job_that_starts_and_ends_well_is_told_of_and_signed(door: Door, operator: Asker) -> None:
    with receiver() as seen:
        notifier = make(
            operator, "webhook", {"url": f"http://127.0.0.1:{seen.port}/hook?x=1", "secret": "canary-key"}
        )
        link(door, operator, notifier, "started", "success", "error")
        job = run(door)
        deliveries.deliver_due(within(door))
        deliveries.deliver_due(within(door))
        assert [json.loads(body)["event"] for _, body in seen.got] == ["started", "success"]
        headers, body = seen.got[1]
        told = json.loads(body)
        assert (told["id"], told["status"], told["release_id"][:4]) == (job["id"], "successful", "rel_")
        signed = hmac.new(
            b"canary-key", f"{headers['X-Tidegate-Timestamp']}.".encode() + body, hashlib.sha256
        )
        assert headers["X-Tidegate-Signature"] == f"sha256={signed.hexdigest()}"
    log = log_of(operator, notifier)
    assert [(each["event"], each["status"], each["attempts"]) for each in log] == [
        ("started", "successful", 1), ("success", "successful", 1),
    ]  # fmt: skip
    assert (
        "canary-key" not in operator.get("notification_templates/").text + operator.get("notifications/").text
    )


def test_a_failed_job_is_told_of_as_one(door: Door, operator: Asker) -> None:
    with receiver() as seen:
        notifier = make(operator, "slack", {"url": f"http://127.0.0.1:{seen.port}/T0/secret-path"})
        link(door, operator, notifier, "error")
        run(door, "failed")
        deliveries.deliver_due(within(door))
        (told,) = [json.loads(body) for _, body in seen.got]
        assert set(told) == {"text"}
        # No domain was told of the failure: it counts as one of Tidegate's own.
        assert told["text"].endswith(": error")
    assert "secret-path" not in operator.get(f"notification_templates/{notifier['id']}/").text


def test_a_mail_is_sent(door: Door, operator: Asker) -> None:
    with mailbox() as (port, mails):
        configuration = {
            "host": "127.0.0.1", "port": port, "sender": "tidegate@example.org", "recipients": ["ops@example.org"],
            "use_tls": False,
        }  # fmt: skip
        link(door, operator, make(operator, "email", configuration), "success")
        run(door)
        deliveries.deliver_due(within(door))
        (mail,) = mails
    assert "To: ops@example.org" in mail
    assert "Subject: Tidegate: job" in mail
    assert "status: successful" in mail


def test_what_is_not_linked_is_not_told(door: Door, operator: Asker) -> None:
    notifier = make(operator, "webhook", {"url": "http://127.0.0.1:9/"})
    link(door, operator, notifier, "success", stage="staging")
    run(door)
    assert log_of(operator, notifier) == []


def test_one_that_fails_is_tried_again_ever_later_and_then_given_up(door: Door, operator: Asker) -> None:
    with receiver() as seen:
        seen.answers = [500, 302, 404, 500, 500, 500, 200]
        notifier = make(operator, "webhook", {"url": f"http://127.0.0.1:{seen.port}/"})
        assert operator.post(f"notification_templates/{notifier['id']}/test/").status_code == 202
        pauses = (10, 20, 40, 80, 160)
        for number, pause in enumerate(pauses, 1):
            assert deliveries.deliver_due(within(door)) == 1
            assert len(seen.got) == number
            (log,) = log_of(operator, notifier)
            assert (log["status"], log["attempts"]) == ("pending", number)
            assert log["error"]
            door.made.clock.pass_(seconds=pause - 1)
            assert deliveries.deliver_due(within(door)) == 0
            door.made.clock.pass_(seconds=1)
        deliveries.deliver_due(within(door))
        assert len(seen.got) == 6
    (log,) = log_of(operator, notifier)
    assert (log["status"], log["attempts"], log["error"]) == ("failed", 6, "127.0.0.1 answered 500")
    door.made.clock.pass_(days=1)
    assert deliveries.deliver_due(within(door)) == 0


def test_one_that_fails_once_arrives_the_second_time(door: Door, operator: Asker) -> None:
    with receiver() as seen:
        seen.answers = [503]
        notifier = make(operator, "webhook", {"url": f"http://127.0.0.1:{seen.port}/"})
        operator.post(f"notification_templates/{notifier['id']}/test/")
        deliveries.deliver_due(within(door))
        door.made.clock.pass_(seconds=10)
        deliveries.deliver_due(within(door))
        assert [json.loads(body)["event"] for _, body in seen.got] == ["test", "test"]
    (log,) = log_of(operator, notifier)
    assert (log["status"], log["attempts"], log["error"]) == ("successful", 2, "")


def test_nothing_is_sent_inside_unless_that_is_allowed(door: Door, operator: Asker) -> None:
    with receiver() as seen, mailbox() as (port, mails):
        hook = make(operator, "webhook", {"url": f"http://localhost:{seen.port}/"})
        mail = {
            "host": "localhost",
            "port": port,
            "sender": "a@b.example",
            "recipients": ["c@d.example"],
            "use_tls": False,
        }
        notifiers = [hook, make(operator, "email", mail, "mail")]
        for notifier in notifiers:
            operator.post(f"notification_templates/{notifier['id']}/test/")
        deliveries.deliver_due(door.core)
        assert seen.got == []
        assert mails == []
        assert all("internal" in log_of(operator, notifier)[0]["error"] for notifier in notifiers)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "::",
    ],
)  # fmt: skip
def test_addresses_that_are_inside(address: str) -> None:
    with pytest.raises(NotSent):
        outbound.address_of(address, 80, ())


def test_a_name_with_one_address_inside_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(*_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, 1, 6, "", (address, 80)) for address in ("127.0.0.1", "10.1.1.1")]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with pytest.raises(NotSent):
        outbound.address_of("rebind.example", 80, ())
    assert outbound.address_of("rebind.example", 80, ("10.0.0.0/8",)) == "10.1.1.1"


def test_a_secret_stays_until_it_is_changed(door: Door, operator: Asker) -> None:
    with receiver() as seen:
        notifier = make(operator, "webhook", {"url": f"http://127.0.0.1:{seen.port}/", "secret": "first"})
        path = f"notification_templates/{notifier['id']}/"
        changed = operator.send("PATCH", path, json={"name": "renamed"})
        assert (changed.status_code, changed.json["name"]) == (200, "renamed")
        operator.post(f"{path}test/")
        deliveries.deliver_due(within(door))
        headers, body = seen.got[0]
        signed = hmac.new(b"first", f"{headers['X-Tidegate-Timestamp']}.".encode() + body, hashlib.sha256)
        assert headers["X-Tidegate-Signature"].endswith(signed.hexdigest())


def test_a_deleted_one_is_gone_with_its_log(door: Door, operator: Asker) -> None:
    notifier = make(operator, "webhook", {"url": "http://127.0.0.1:9/"})
    link(door, operator, notifier, "success")
    operator.post(f"notification_templates/{notifier['id']}/test/")
    assert operator.send("DELETE", f"notification_templates/{notifier['id']}/").status_code == 204
    assert operator.get("notifications/").json["count"] == 0
    path = f"job_templates/{door.template['development']}/notification_templates_success/"
    assert operator.get(path).json["count"] == 0


def test_links_are_shown_and_taken_away(door: Door, operator: Asker) -> None:
    notifier = make(operator, "webhook", {"url": "http://127.0.0.1:9/"})
    path = f"job_templates/{door.template['development']}/notification_templates_success/"
    link(door, operator, notifier, "success")
    link(door, operator, notifier, "success")
    assert [each["id"] for each in operator.get(path).json["results"]] == [notifier["id"]]
    assert operator.post(path, {"id": notifier["id"], "disassociate": True}).status_code == 204
    assert operator.get(path).json["count"] == 0


def test_who_may_not_set_up_targets_says_nothing_of_where_notifications_go(
    door: Door, operator: Asker
) -> None:
    notifier = make(operator, "webhook", {"url": "http://127.0.0.1:9/"})
    path = f"notification_templates/{notifier['id']}/"
    project = operator.get("projects/").json["results"][0]["id"]
    body = {
        "name": "x", "project": project, "notification_type": "webhook",
        "notification_configuration": {"url": "http://example.org/"},
    }  # fmt: skip
    assert door.releaser.post("notification_templates/", body).status_code == 403
    assert door.releaser.post(f"{path}test/").status_code == 403
    assert door.releaser.send("DELETE", path).status_code == 403
    elsewhere = door.person("elsewhere", "operator", project=door.people.project("other"))
    assert elsewhere.post("notification_templates/", body).status_code == 404
    assert elsewhere.get(path).status_code == 404
    assert elsewhere.get("notifications/").json["count"] == 0


@pytest.mark.parametrize(
    ("kind", "configuration"),
    [
        ("pigeon", {}),
        ("webhook", {}),
        ("webhook", {"url": "ftp://example.org/"}),
        ("webhook", {"url": "http://user:secret@example.org/"}),
        ("webhook", {"url": "http://example.org:99999/"}),
        ("webhook", {"url": "http://example.org/\r\nX: y"}),
        ("webhook", {"url": "http://example.org/", "colour": 1}),
        ("webhook", "http://example.org/"),
        ("slack", {"url": 7}),
        ("email", {"host": "x", "sender": "a@b.c", "recipients": []}),
        ("email", {"host": "x", "sender": "a@b.c\r\nBcc: d@e.f", "recipients": ["a@b.c"]}),
        ("email", {"host": "x", "sender": "a@b.c", "recipients": ["a@b.c"], "port": 0}),
        (
            "email",
            {"host": "x", "sender": "a@b.c", "recipients": ["a@b.c"], "username": "u", "use_tls": False},
        ),
    ],
)
def test_what_is_wrong_is_refused(door: Door, operator: Asker, kind: str, configuration: Any) -> None:
    project = operator.get("projects/").json["results"][0]["id"]
    body = {
        "name": "x",
        "project": project,
        "notification_type": kind,
        "notification_configuration": configuration,
    }
    answer = operator.post("notification_templates/", body)
    assert answer.status_code == 400, answer.text
    assert "secret" not in answer.text


def test_deliveries_go_beside_the_scheduler_one_after_the_other(door: Door, operator: Asker) -> None:
    with receiver() as seen:
        notifier = make(operator, "webhook", {"url": f"http://127.0.0.1:{seen.port}/"})
        for _ in range(3):
            operator.post(f"notification_templates/{notifier['id']}/test/")
        assert deliveries.begin_deliveries(within(door)) == 1
        until = time.monotonic() + 20
        while len(seen.got) < 3 and time.monotonic() < until:
            time.sleep(0.05)
            deliveries.begin_deliveries(within(door))
        time.sleep(0.3)
        assert len(seen.got) == 3
    until = time.monotonic() + 20
    while (
        any(each["status"] == "pending" for each in log_of(operator, notifier)) and time.monotonic() < until
    ):
        time.sleep(0.05)
    assert [each["status"] for each in log_of(operator, notifier)] == ["successful"] * 3


def test_what_is_set_up_is_told_as_events(door: Door, operator: Asker) -> None:
    notifier = make(operator, "webhook", {"url": "http://127.0.0.1:9/", "secret": "canary-key"})
    path = f"notification_templates/{notifier['id']}/"
    operator.send("PATCH", path, json={"description": "x"})
    operator.send("DELETE", path)
    rrule = "DTSTART:20300101T000000Z RRULE:FREQ=DAILY;INTERVAL=1"
    schedule = operator.post(
        f"job_templates/{door.template['staging']}/schedules/", {"name": "s", "rrule": rrule}
    ).json
    operator.send("DELETE", f"schedules/{schedule['id']}/")
    operator.post(f"job_templates/{door.template['staging']}/webhook_key/", {"webhook_service": "github"})
    with door.core.database.read() as session:
        rows = list(
            session.scalars(select(Event).where(Event.resource_type.startswith("awx_")).order_by(Event.seq))
        )
    assert [(row.resource_type, row.action.removeprefix("resource.")) for row in rows] == [
        ("awx_notifier", "created"), ("awx_notifier", "updated"), ("awx_notifier", "deleted"),
        ("awx_schedule", "created"), ("awx_schedule", "deleted"), ("awx_webhook", "created"),
    ]  # fmt: skip
    assert {row.source for row in rows} == {"awx"}
    assert {row.project_id for row in rows} == {"prj"}
    assert "canary-key" not in str([row.detail for row in rows])
