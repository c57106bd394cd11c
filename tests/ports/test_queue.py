# SPDX-License-Identifier: Apache-2.0
"""What every queue does, asked of each of them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from procrastinate.exceptions import ConnectorException

from controlplane.adapters.queue.embedded import EmbeddedQueue
from controlplane.adapters.queue.procrastinate import ProcrastinateQueue
from controlplane.ports.queue import Queue

Make = Callable[[], Queue]


@pytest.fixture(params=["embedded", "procrastinate"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def address(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if kind == "embedded":
        return str(tmp_path / "wake")
    url: str = request.getfixturevalue("postgres_database")
    ProcrastinateQueue(url).prepare()
    return url


@pytest.fixture
def make(kind: str, address: str) -> Iterator[Make]:
    made: list[Queue] = []

    def make_one() -> Queue:
        queue = EmbeddedQueue(Path(address)) if kind == "embedded" else ProcrastinateQueue(address)
        made.append(queue)
        return queue

    yield make_one
    for queue in made:
        queue.close()


def test_a_quiet_queue_waits_its_time_and_says_none(make: Make) -> None:
    queue = make()
    queue.wait(0)
    began = time.monotonic()
    assert queue.wait(0.2) is None
    assert 0.19 <= time.monotonic() - began < 2


def test_a_wake_up_names_its_job_and_is_taken_once(make: Make) -> None:
    server, worker = make(), make()
    worker.wait(0)
    server.wake("job_1")
    assert worker.wait(5) == "job_1"
    assert worker.wait(0.05) is None


def test_wake_ups_before_the_wait_are_kept_in_order(make: Make) -> None:
    server, worker = make(), make()
    worker.wait(0)
    for number in range(5):
        server.wake(f"job_{number}")
    assert [worker.wait(5) for _ in range(5)] == [f"job_{number}" for number in range(5)]


def test_it_wakes_who_waits_already_at_once(make: Make) -> None:
    server, worker = make(), make()
    worker.wait(0)
    server.wake("warm")
    assert worker.wait(5) == "warm"
    delays = sorted(_delay(server, worker, f"job_{number}") for number in range(15))
    assert delays[len(delays) // 2] < 0.05


def test_two_waiting_workers_both_get_work(make: Make) -> None:
    server, workers = make(), [make(), make()]
    seen: list[str | None] = []
    for worker in workers:
        worker.wait(0)
    threads = [threading.Thread(target=lambda w=worker: seen.append(w.wait(10))) for worker in workers]
    for thread in threads:
        thread.start()
    server.wake("job_1")
    server.wake("job_2")
    for thread in threads:
        thread.join(15)
    assert len(seen) == 2
    assert set(seen) <= {"job_1", "job_2"}


def test_threads_of_one_queue_share_its_wake_ups(make: Make) -> None:
    server, worker = make(), make()
    worker.wait(0)
    seen: list[str | None] = []
    threads = [threading.Thread(target=lambda: seen.append(worker.wait(10))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(3):
        server.wake(f"job_{number}")
    for thread in threads:
        thread.join(15)
    assert sorted(map(str, seen)) == ["job_0", "job_1", "job_2"]


def test_waking_with_nobody_there_is_no_error(make: Make) -> None:
    make().wake("job_1")


def test_close_ends_a_wait(make: Make) -> None:
    queue = make()
    queue.wait(0)
    answers: list[str | None] = []
    thread = threading.Thread(target=lambda: answers.append(queue.wait(30)))
    thread.start()
    time.sleep(0.2)
    queue.close()
    thread.join(10)
    assert answers == [None]
    assert queue.wait(0) is None


def test_another_process_is_woken(make: Make, kind: str, address: str) -> None:
    class_name = {"embedded": "EmbeddedQueue", "procrastinate": "ProcrastinateQueue"}[kind]
    argument = "Path(sys.argv[1])" if kind == "embedded" else "sys.argv[1]"
    program = (
        f"import sys; from pathlib import Path; from controlplane.adapters.queue.{kind} import {class_name}\n"
        f"queue = {class_name}({argument}); queue.wait(0); print('ready', flush=True); print(queue.wait(20))"
    )
    child = subprocess.Popen([sys.executable, "-c", program, address], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    make().wake("job_1")
    out, _ = child.communicate(timeout=30)
    assert out == "job_1\n"


def test_a_killed_worker_does_not_stop_the_others(make: Make, kind: str, address: str) -> None:
    class_name = {"embedded": "EmbeddedQueue", "procrastinate": "ProcrastinateQueue"}[kind]
    argument = "Path(sys.argv[1])" if kind == "embedded" else "sys.argv[1]"
    program = (
        f"import sys; from pathlib import Path; from controlplane.adapters.queue.{kind} import {class_name}\n"
        f"queue = {class_name}({argument}); queue.wait(0); print('ready', flush=True); queue.wait(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, address], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.kill()
    child.wait()
    server, worker = make(), make()
    worker.wait(0)
    server.wake("job_1")
    assert worker.wait(5) == "job_1"


def test_embedded_removes_the_sockets_of_the_dead_and_its_own(tmp_path: Path) -> None:
    dead, living = EmbeddedQueue(tmp_path), EmbeddedQueue(tmp_path)
    dead.prepare()
    assert dead._receiver is not None
    dead._receiver.close()  # as the kernel does for a killed process: the file stays
    living.prepare()
    assert len(list(tmp_path.iterdir())) == 2
    living.wake("job_1")
    assert len(list(tmp_path.iterdir())) == 1
    living.close()
    assert list(tmp_path.iterdir()) == []


def test_embedded_never_blocks_the_server_on_a_busy_worker(tmp_path: Path) -> None:
    server, busy = EmbeddedQueue(tmp_path), EmbeddedQueue(tmp_path)
    busy.prepare()
    for number in range(5000):
        server.wake(f"job_{number}")
    assert busy.wait(0) == "job_0"
    server.close()
    busy.close()


def test_procrastinate_tables_are_made_once_by_many(postgres_database: str) -> None:
    failures: list[Exception] = []

    def prepare() -> None:
        try:
            ProcrastinateQueue(postgres_database).prepare()
        except (psycopg.Error, ConnectorException) as error:
            failures.append(error)

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_procrastinate_survives_the_loss_of_its_connections(postgres_database: str) -> None:
    queue = ProcrastinateQueue(postgres_database, poll_seconds=0.2)
    queue.prepare()
    queue.wait(0)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    deadline = time.monotonic() + 30
    sent = False
    answer = None
    while answer is None and time.monotonic() < deadline:
        try:
            if not sent:
                queue.wake("job_1")
                sent = True
            answer = queue.wait(1)
        except (psycopg.Error, ConnectorException):
            time.sleep(0.2)
    assert answer == "job_1"
    queue.close()


def _delay(server: Queue, worker: Queue, job_id: str) -> float:
    arrived: list[float] = []

    def receive() -> None:
        assert worker.wait(10) == job_id
        arrived.append(time.monotonic())

    thread = threading.Thread(target=receive)
    thread.start()
    time.sleep(0.03)
    sent = time.monotonic()
    server.wake(job_id)
    thread.join(15)
    return arrived[0] - sent


@pytest.mark.postgres
def test_a_server_that_is_there_before_the_first_worker_can_wake_it(postgres_database: str) -> None:
    server, worker = ProcrastinateQueue(postgres_database), ProcrastinateQueue(postgres_database)
    try:
        server.wake("job_1")
        worker.prepare()
        assert worker.wait(5) == "job_1"
    finally:
        server.close()
        worker.close()
