# SPDX-License-Identifier: Apache-2.0
"""What a job printed: numbered without a gap, in order, live, from wherever it is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, select

from controlplane.store.tables import AwxMark, Job, JobLog
from tests.awx.conftest import Door

GREEN = "\x1b[0;32mok: [a]\x1b[0m"


def write(
    door: Door, job: Any, texts: list[str], kind: str = "preview", run: int = 5, begin: int = 1
) -> None:
    """Write what a worker would."""
    release_id = job["artifacts"]["tidegate"]["release_id"]
    with door.core.database.write() as session:
        its_job = session.scalar(select(Job.id).where(Job.resource_id == release_id, Job.kind == kind))
        rows = [
            {
                "job_id": its_job, "run": run, "counter": 3 * number, "kind": "runner_on_ok", "host": "a",
                "play": "Apply a release", "task": "Up", "role": None, "changed": False, "failed": False,
                "at": "2026-01-01T12:00:00Z",
                "stdout": text,
            }
            for number, text in enumerate(texts, begin)
        ]  # fmt: skip
        session.execute(insert(JobLog), rows)


def events(door: Door, job: Any, **query: Any) -> Any:
    answer = door.releaser.get(f"jobs/{job['id']}/job_events/", **query)
    assert answer.status_code == 200, answer.text
    return answer.json


def test_lines_and_numbers_have_no_gap(door: Door) -> None:
    job = door.launch()
    texts = ["one", "two\nthree\nfour", "", "five"]
    write(door, job, texts)
    found = events(door, job, order_by="start_line", no_truncate="True")["results"]
    assert [each["counter"] for each in found] == [1, 2, 3, 4]
    assert [(each["start_line"], each["end_line"]) for each in found] == [(0, 1), (1, 4), (4, 5), (5, 6)]
    assert [each["stdout"] for each in found] == texts
    told = {
        name: found[0][name] for name in ("event", "host_name", "play", "task", "role", "changed", "failed")
    }
    assert told == {
        "event": "runner_on_ok", "host_name": "a", "play": "Apply a release", "task": "Up", "role": "",
        "changed": False, "failed": False,
    }  # fmt: skip
    assert len({each["id"] for each in found}) == 4
    assert (
        door.releaser.get(f"jobs/{job['id']}/stdout/", format="txt").text == "one\ntwo\nthree\nfour\n\nfive\n"
    )


def test_what_is_printed_later_comes_after_and_changes_nothing_before(door: Door) -> None:
    job = door.launch()
    seen: list[Any] = []
    for part in range(8):
        write(door, job, [f"{part}-{number}" for number in range(60)], begin=1 + 60 * part)
        since = seen[-1]["end_line"] if seen else 0
        new = events(door, job, start_line__gte=since, order_by="start_line")["results"]
        assert new[0]["start_line"] == since
        seen += new
    assert [each["counter"] for each in seen] == list(range(1, 481))
    assert events(door, job)["results"] == seen
    with door.core.database.read() as session:
        assert len(list(session.scalars(select(AwxMark)))) == 4


def test_the_apply_follows_the_preview(door: Door) -> None:
    job = door.launch()
    write(door, job, ["previewed"])
    door.made.work_preview()
    door.tick()
    door.made.work_apply()
    found = events(door, job)["results"]
    assert [each["stdout"] for each in found] == ["previewed", "ok: [a]"]
    assert found[1]["start_line"] == found[0]["end_line"]
    assert found[1]["changed"] is True
    assert door.releaser.get(f"jobs/{job['id']}/stdout/").text == "previewed\nok: [a]\n"


def every(count: int) -> list[str]:
    """Texts of one to three lines."""
    return ["\n".join(f"{number}.{line}" for line in range(1 + number % 3)) for number in range(count)]


@pytest.mark.parametrize("line", [0, 1, 2, 99, 100, 101, 350, 698, 699, 700, 5000])
def test_any_line_is_found(door: Door, line: int) -> None:
    job = door.launch()
    write(door, job, every(350))
    everything = events(door, job)["results"]
    expected = [each for each in everything if each["start_line"] >= line]
    assert events(door, job, start_line__gte=line)["results"] == expected
    assert events(door, job, start_line__lt=line)["results"] == everything[: 350 - len(expected)]
    assert events(door, job, start_line=line)["results"] == [e for e in expected if e["start_line"] == line]
    text = "\n".join(each["stdout"] for each in everything).split("\n")
    shown = door.releaser.get(f"jobs/{job['id']}/stdout/", start_line=line, end_line=line + 7).text
    assert shown == "".join(f"{each}\n" for each in text[line : line + 7])


def test_pages_and_order(door: Door) -> None:
    job = door.launch()
    write(door, job, every(250))
    page = events(door, job, page_size=100, page=3)
    assert (page["count"], page["next"], len(page["results"])) == (250, None, 50)
    assert page["results"][0]["counter"] == 201
    falling = events(door, job, page_size=10, order_by="-counter")
    assert [each["counter"] for each in falling["results"]] == list(range(250, 240, -1))
    after = events(door, job, counter__gt=248)
    assert [each["counter"] for each in after["results"]] == [249, 250]
    assert [each["counter"] for each in events(door, job, counter__lte=2)["results"]] == [1, 2]
    assert events(door, job, counter=7)["results"][0]["counter"] == 7


def test_what_came_after_an_event_is_found_by_its_id(door: Door) -> None:
    first, job = door.launch(), door.launch()
    write(door, first, every(5))
    write(door, job, every(250))
    everything = events(door, job)["results"]
    assert events(door, job, id__gt=everything[247]["id"])["results"] == everything[248:]
    assert events(door, job, id__lte=everything[1]["id"])["results"] == everything[:2]
    assert events(door, job, id=everything[7]["id"])["results"] == [everything[7]]
    assert events(door, job, order_by="-id", page_size=1)["results"] == everything[249:]
    of_another = events(door, first)["results"][0]["id"]
    assert events(door, job, id=of_another)["results"] == []
    assert events(door, job, id__gt=of_another)["results"] == everything
    assert events(door, first, id__gt=everything[0]["id"])["results"] == []


@pytest.mark.parametrize(
    "query",
    [
        "start_line=" + "9" * 5000,
        "id=x",
        "colour=1",
        "counter__regex=1",
        "counter=x",
        "start_line__gte=-1",
        "order_by=host",
    ],
)
def test_what_cannot_be_asked_is_refused(door: Door, query: str) -> None:
    job = door.launch()
    assert door.releaser.get(f"jobs/{job['id']}/job_events/?{query}").status_code == 400


def test_stdout_in_each_form(door: Door) -> None:
    job = door.launch()
    write(door, job, [GREEN, "<script>alert(1)</script>"])
    path = f"jobs/{job['id']}/stdout/"
    assert door.releaser.get(path, format="ansi").text.startswith(GREEN)
    assert door.releaser.get(path, format="txt").text.startswith("ok: [a]\n")
    page = door.releaser.get(path, format="html")
    assert "<script>alert" not in page.text
    assert page.headers["Content-Security-Policy"] == "default-src 'none'"
    document = door.releaser.get(path, format="json", start_line=1, end_line=2).json
    assert document["range"] == {"start": 1, "end": 2, "absolute_end": 2}
    assert document["content"] == "<script>alert(1)</script>\n"
    assert "attachment" in door.releaser.get(path, format="txt_download").headers["Content-Disposition"]
    assert door.releaser.get(path, format="pdf").status_code == 400


def test_a_job_that_printed_nothing_has_no_lines(door: Door) -> None:
    job = door.launch()
    assert events(door, job) == {"count": 0, "next": None, "previous": None, "results": []}
    assert door.releaser.get(f"jobs/{job['id']}/stdout/").text == ""
