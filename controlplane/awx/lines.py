# SPDX-License-Identifier: Apache-2.0
"""What a job printed, as AWX's events: numbered from 1, with line numbers that have no gap.

The log keeps what Ansible printed as it came, run by run. Its numbers here follow from its order alone; every
`STEP` events a mark says where that place is, so that the end of a long log is reached as fast as its beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from controlplane.services.core import Core
from controlplane.store.tables import AwxMark, Job, JobLog

STEP = 100
CHUNK = 1_000
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_EVENT_IDS = 10_000_000
# What is enough to count events and lines.
_LINES = func.length(JobLog.stdout) - func.length(func.replace(JobLog.stdout, "\n", "")) + 1
_LIGHT = (JobLog.job_id, JobLog.run, JobLog.counter, _LINES.label("lines"))
# What is shown of an event, and what that is.
FIELDS: Mapping[str, tuple[str, str]] = {
    "id": ("integer", "Its number among all events."),
    "type": ("string", "What it is."),
    "url": ("string", "Where it is read."),
    "related": ("object", "The job."),
    "summary_fields": ("object", "Always empty."),
    "job": ("id", "The job that printed it."),
    "created": ("datetime", "When it was printed."),
    "modified": ("datetime", "When it was printed."),
    "event": ("string", "Ansible's word for it."),
    "counter": ("integer", "Its number in the job, from 1."),
    "uuid": ("string", "What no other event has."),
    "start_line": ("integer", "Its first line in the job, from 0."),
    "end_line": ("integer", "The first line after it."),
    "stdout": ("string", "What was printed, with colours."),
    "host_name": ("string", "The host that it is of."),
    "play": ("string", "The play."),
    "task": ("string", "The task."),
    "role": ("string", "The role that the task is of."),
    "changed": ("boolean", "Whether something was changed."),
    "failed": ("boolean", "Whether it failed."),
}
NUMBERS = ("id", "counter", "start_line")


@dataclass(frozen=True)
class Place:
    """Where in the log an event ends: `counter` events and `line` lines are before what follows."""

    counter: int = 0
    line: int = 0
    job_id: str = ""
    run: int = -1
    log_counter: int = -1


@dataclass(frozen=True)
class Log:
    """The log of a launched job, as far as it is written: `end` is behind the last event."""

    awx_job_id: int
    jobs: Sequence[tuple[str, str]]
    end: Place


def open_log(core: Core, awx_job_id: int, resource_id: str) -> Log:
    """Return the log of a job, which is of this release or task, with the marks that it lacked."""
    with core.database.read() as session:
        rows = session.execute(
            select(Job.id, Job.state).where(Job.resource_id == resource_id).order_by(Job.created_at, Job.id)
        )
        jobs = [(found.id, found.state) for found in rows]
    return Log(awx_job_id, jobs, _end(core, awx_job_id, jobs))


def _end(core: Core, awx_job_id: int, jobs: Sequence[tuple[str, str]]) -> Place:
    while True:
        with core.database.read() as session:
            place = _mark(session, awx_job_id)
            rows = list(_after(session, jobs, place, CHUNK, _LIGHT))
        marks = []
        for row in rows:
            place = _passed(place, row, row.lines)
            if place.counter % STEP == 0:
                marks.append({"awx_job_id": awx_job_id, **place.__dict__})
        if not marks:
            return place
        once = sqlite_insert if core.database.is_sqlite else postgresql_insert
        with core.database.write() as session:
            # Two readers at once come to the same marks.
            session.execute(once(AwxMark).on_conflict_do_nothing(), marks)
        if len(rows) < CHUNK:
            return place


def _mark(session: Session, awx_job_id: int, *conditions: Any) -> Place:
    found = session.scalar(
        select(AwxMark)
        .where(AwxMark.awx_job_id == awx_job_id, *conditions)
        .order_by(AwxMark.counter.desc())
        .limit(1)
    )
    if found is None:
        return Place()
    return Place(found.counter, found.line, found.job_id, found.run, found.log_counter)


def _passed(place: Place, row: Any, lines: int) -> Place:
    return Place(place.counter + 1, place.line + lines, row.job_id, row.run, row.counter)


def _after(
    session: Session, jobs: Sequence[tuple[str, str]], place: Place, limit: int, columns: Sequence[Any]
) -> Iterator[Any]:
    """Yield what was printed after a place, in order. A later job's lines come once the one before it is done."""
    left = limit
    names = [name for name, _ in jobs]
    for name, state in jobs[names.index(place.job_id) if place.job_id in names else 0 :]:
        for part in _parts(name, place):
            query = select(*columns).where(JobLog.job_id == name, *part)
            for row in session.execute(query.order_by(JobLog.run, JobLog.counter).limit(left)):
                left -= 1
                yield row
            if left <= 0:
                return
        if state != "done":
            return


def _parts(name: str, place: Place) -> Sequence[tuple[Any, ...]]:
    """Return what of a job's log comes after a place: each is one stretch of the index, which an `or` is not."""
    if name != place.job_id:
        return [()]
    return [(JobLog.run == place.run, JobLog.counter > place.log_counter), (JobLog.run > place.run,)]


def counter_of(log: Log, event_id: int) -> int:
    """Return the counter of the event that has an id, as if all ids from 1 on were of this log."""
    return max(event_id - log.awx_job_id * _EVENT_IDS, 0)


def before_line(core: Core, log: Log, line: int) -> int:
    """Return how many events begin before a line: those after them begin at it or later."""
    if line >= log.end.line:
        return log.end.counter if line > 0 else 0
    with core.database.read() as session:
        place = _mark(session, log.awx_job_id, AwxMark.line <= line)
        for row in _after(session, log.jobs, place, CHUNK, _LIGHT):
            if place.line >= line:
                break
            place = _passed(place, row, row.lines)
    return place.counter


def events(core: Core, log: Log, begin: int, end: int) -> Iterator[dict[str, Any]]:
    """Yield the events numbered `begin + 1` to `end`, a chunk of rows at a time."""
    end = min(end, log.end.counter)
    with core.database.read() as session:
        place = _mark(session, log.awx_job_id, AwxMark.counter <= begin)
    while place.counter < end:
        with core.database.read() as session:
            wanted = min(end - place.counter, CHUNK)
            rows = list(_after(session, log.jobs, place, wanted, _columns()))
        if not rows:
            return
        for row in rows:
            before, place = place, _passed(place, row, row.stdout.count("\n") + 1)
            if place.counter > begin:
                yield _event(log.awx_job_id, before, place, row)


def _columns() -> tuple[Any, ...]:
    return (
        JobLog.job_id, JobLog.run, JobLog.counter, JobLog.kind, JobLog.host, JobLog.play, JobLog.task,
        JobLog.role, JobLog.changed, JobLog.failed, JobLog.at, JobLog.stdout,
    )  # fmt: skip


def _event(awx_job_id: int, before: Place, place: Place, row: Any) -> dict[str, Any]:
    return {
        "id": awx_job_id * _EVENT_IDS + place.counter,
        "type": "job_event",
        "url": f"/api/v2/jobs/{awx_job_id}/job_events/?counter={place.counter}",
        "related": {"job": f"/api/v2/jobs/{awx_job_id}/"},
        "summary_fields": {},
        "job": awx_job_id,
        "created": row.at,
        "modified": row.at,
        "event": row.kind,
        "counter": place.counter,
        "uuid": f"{row.job_id}-{row.run}-{row.counter}",
        "start_line": before.line,
        "end_line": place.line,
        "stdout": row.stdout,
        "host_name": row.host or "",
        "play": row.play or "",
        "task": row.task or "",
        "role": row.role or "",
        "changed": row.changed,
        "failed": row.failed,
    }


def plain(text: str) -> str:
    """Return a text without the escapes that colour a terminal."""
    return _ESCAPES.sub("", text)


def between(core: Core, log: Log, start: int, end: int) -> Iterator[str]:
    """Yield the lines from `start` up to and without `end`, a piece for each event."""
    begin = max(before_line(core, log, start + 1) - 1, 0)
    for event in events(core, log, begin, log.end.counter):
        if event["start_line"] >= end:
            return
        lines = event["stdout"].split("\n")
        first = max(start - event["start_line"], 0)
        last = min(end - event["start_line"], len(lines))
        if first < last:
            yield "\n".join(lines[first:last]) + "\n"
