# SPDX-License-Identifier: Apache-2.0
"""What is kept of an event, and how it travels."""

from __future__ import annotations

import json
import socket
import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from controlplane.adapters.runner import outbox
from controlplane.adapters.runner.channel import Channel, encode
from controlplane.adapters.runner.events import STDOUT_MOST, from_fields, reduce_event
from controlplane.adapters.runner.outbox import Outbox
from controlplane.adapters.runner.terminal import PLAIN_MOST, AnsibleTerminal

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "event": ANY, "created": ANY, "stdout": ANY,
            "event_data": st.fixed_dictionaries(
                {}, optional={"res": st.fixed_dictionaries({}, optional={"tidegate": ANY, "changed": ANY}) | ANY,
                              "host": ANY, "duration": ANY, "ignore_errors": ANY, "play": ANY},
            ) | ANY,
        },
    )
)  # fmt: skip
def test_any_event_is_reduced_to_what_every_store_takes(event: dict) -> None:
    text = encode(reduce_event(event, 7))
    text.decode("utf-8")
    assert b"\\u0000" not in text
    kept = from_fields(json.loads(text, parse_constant=lambda name: (_ for _ in ()).throw(ValueError(name))))
    assert kept.counter == 7


def test_arguments_facts_and_foreign_results_are_dropped() -> None:
    event = {
        "event": "runner_on_ok",
        "event_data": {
            "task_args": "password=canary",
            "res": {
                "invocation": "canary",
                "ansible_facts": "canary",
                "stdout": "canary",
                "tidegate": {"n": 1},
            },
        },
    }
    reduced = reduce_event(event, 1)
    assert reduced["data"] == {"n": 1} and "canary" not in repr(reduced)


def test_endless_nesting_and_endless_output_are_cut() -> None:
    nested: dict = {}
    for _ in range(5000):
        nested = {"a": nested}
    reduced = reduce_event({"stdout": "x" * 10**6, "event_data": {"res": {"tidegate": nested}}}, 1)
    assert len(reduced["stdout"]) < STDOUT_MOST + 10
    encode(reduced)


def test_undecodable_output_travels() -> None:
    ours, theirs = socket.socketpair()
    Channel(ours).send({"a": b"x\xff".decode("utf-8", "surrogateescape")})
    assert Channel(theirs).receive(1.0) == {"a": "x?"}


def test_a_timeout_in_the_middle_of_a_message_loses_nothing() -> None:
    ours, theirs = socket.socketpair()
    text = encode({"a": 1})
    ours.sendall(len(text).to_bytes(4, "big") + text[:3])
    there = Channel(theirs)
    for _ in range(2):
        try:
            there.receive(0.01)
        except TimeoutError:
            continue
        raise AssertionError("it came too early")
    ours.sendall(text[3:])
    assert there.receive(1.0) == {"a": 1}


def test_a_trickle_is_handed_on_in_time() -> None:
    box, taken = Outbox(), []

    def take() -> None:
        while batch := box.take():
            taken.append((time.monotonic(), len(batch)))

    taker = threading.Thread(target=take)
    taker.start()
    began = time.monotonic()
    for _ in range(20):
        box.put(b"e")
        time.sleep(outbox.FLUSH_SECONDS * 0.6)
    box.close()
    taker.join()
    assert sum(count for _at, count in taken) == 20
    assert taken[0][0] - began < outbox.FLUSH_SECONDS * 4, "it waited for the trickle to end"


def test_no_batch_is_bigger_than_it_may_be() -> None:
    box = Outbox()
    for _ in range(outbox.BATCH * 2 + 1):
        box.put(b"e")
    assert [len(box.take()), len(box.take())] == [outbox.BATCH, outbox.BATCH]
    box.close()
    assert (len(box.take()), box.take()) == (1, [])


def test_one_who_puts_waits_for_one_who_takes() -> None:
    box, big = Outbox(), b"x" * (outbox.WAITING_BYTES // 2 + 1)
    done = threading.Event()

    def put() -> None:
        for _ in range(3):
            box.put(big)
        done.set()

    thread = threading.Thread(target=put)
    thread.start()
    assert not done.wait(0.2)
    assert box.take() == [big]
    assert done.wait(2.0)
    thread.join()


@given(
    st.lists(st.sampled_from(["x" * 7, "\x1b", "[", "K", "\x1b[K", "\n", "YWJj"]), max_size=40),
    st.integers(1, 9),
)
def test_marks_between_chunks_survive_the_cut(parts: list[str], size: int) -> None:
    terminal = AnsibleTerminal.__new__(AnsibleTerminal)
    terminal._plain, terminal._half_mark = 0, ""
    text = "".join(parts) + "end"
    read = "".join(terminal._bounded(text[at : at + size]) for at in range(0, len(text), size))
    assert read == text


def test_plain_output_is_cut_between_two_marks() -> None:
    terminal = AnsibleTerminal.__new__(AnsibleTerminal)
    terminal._plain, terminal._half_mark = 0, ""
    chunk = "x" * (PLAIN_MOST // 4)
    read = "".join(terminal._bounded(chunk) for _ in range(9)) + terminal._bounded("\x1b[K!")
    assert read == "x" * PLAIN_MOST + "\x1b[K!"
    assert terminal._bounded("again") == "again"
