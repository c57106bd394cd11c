# SPDX-License-Identifier: Apache-2.0
"""Lists: pages, filters, order, numbers; and what OPTIONS tells of them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, func, select

from controlplane.awx.control import RESOURCES
from controlplane.domain.identifier import new_id
from controlplane.store.tables import AwxId, Registry, Service
from tests.awx.conftest import Door

LISTS = [name for name in RESOURCES if name not in ("ping", "config", "me", "metrics", "bulk")]


def test_the_index_names_what_there_is_and_only_that(door: Door) -> None:
    anonymous = door.app.test_client()
    versions = anonymous.get("/api/").json
    assert versions["available_versions"] == {"v2": "/api/v2/"}
    index = anonymous.get("/api/v2/").json
    for name, path in index.items():
        answer = door.releaser.get(path)
        assert answer.status_code == 200, name
        assert door.releaser.send("OPTIONS", path).status_code == 200
    for absent in ("workflow_job_templates", "teams", "inventory_sources", "groups"):
        assert absent not in index
        assert door.releaser.get(f"{absent}/").status_code in (404, 405)


def test_everything_has_the_members_that_clients_count_on(door: Door) -> None:
    door.launch()
    with door.core.database.write() as session:
        session.add(
            Registry(
                id="reg", project_id="prj", server="registry.example", username="robot",
                password_cipher=door.core.vault.encrypt(b"canary"), created_at=door.core.clock.now(),
            )
        )  # fmt: skip
    for name in LISTS:
        page = door.releaser.get(RESOURCES[name] + "/").json
        assert set(page) == {"count", "next", "previous", "results"}, name
        for each in page["results"]:
            assert {"id", "type", "url", "related", "summary_fields", "created", "modified"} <= set(each), (
                name
            )
            assert door.releaser.get(each["url"]).json["id"] == each["id"]
    credential = door.releaser.get("credentials/").json["results"][0]
    assert credential["name"] == "registry.example"
    assert "robot" not in str(credential)


def test_what_is_related_is_there(door: Door) -> None:
    job = door.launch()
    template = door.releaser.get(f"job_templates/{door.template['development']}/").json
    for path in {**job["related"], **template["related"]}.values():
        if "/github/" not in path and "/gitlab/" not in path:
            assert door.releaser.get(path).status_code == 200, path


def test_pages_are_numbered_and_complete(door: Door) -> None:
    jobs = [door.launch()["id"] for _ in range(7)]
    seen: list[int] = []
    path: str | None = "jobs/?page_size=3&order_by=-id"
    while path:
        page = door.releaser.get(path).json
        assert page["count"] == 7
        seen += [each["id"] for each in page["results"]]
        path = page["next"]
    assert seen == sorted(jobs, reverse=True)
    second = door.releaser.get("jobs/", page=2, page_size=3).json
    assert "page=1" in second["previous"]
    assert door.releaser.get("jobs/", page=4, page_size=3).status_code == 404
    for name, value in (("page", "0"), ("page", "x"), ("page_size", "-1")):
        answer = door.releaser.get("jobs/", **{name: value})
        assert (answer.status_code, name in answer.json) == (400, True)


def statements(door: Door, path: str) -> int:
    """Return how many statements the database is asked for an answer."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(door.core.database.engine, "before_cursor_execute", note)
    assert door.releaser.get(path).status_code == 200
    event.remove(door.core.database.engine, "before_cursor_execute", note)
    return len(asked)


def test_a_page_asks_the_database_as_often_however_long_it_is(door: Door) -> None:
    """Whoever is asked, whether all has its number, which rows, what they are: no more, and never row by row."""
    with door.core.database.write() as session:
        now = door.core.clock.now()
        for number in range(20):
            session.add(
                Service(
                    id=f"svc{number}", project_id="prj", name=f"s{number}", runtime_type="compose", created_at=now
                )
            )  # fmt: skip
    for _ in range(4):
        door.launch()
    assert door.releaser.get("job_templates/", page_size=200).json["count"] == 63
    for name in LISTS:
        path = RESOURCES[name]
        one, many = (statements(door, f"{path}/?page_size={size}") for size in (1, 200))
        assert one == many, name
        assert many <= statements(door, "me/") + 4, name


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name=shop / shop / development", {"development"}),
        ("name__icontains=DEVEL", {"development"}),
        ("name__in=shop / shop / development,shop / shop / staging", {"development", "staging"}),
        ("or__name=shop / shop / development&or__name=shop / shop / staging", {"development", "staging"}),
        ("not__name__icontains=prod", {"development", "staging"}),
        ("or__name=shop / shop / development&name__icontains=prod", set()),
        ("name__startswith=shop / shop / s", {"staging"}),
        ("search=STAG", {"staging"}),
        ("id__gt=0", {"development", "staging", "production"}),
        ("id__lt=1", set()),
        ("project__name=shop", {"development", "staging", "production"}),
        ("project__name=other", set()),
        ("created__gte=2026-01-01T12:00:00Z", {"development", "staging", "production"}),
        ("created__gt=2027-01-01", set()),
        ("inventory__isnull=true", set()),
    ],
)
def test_filters(door: Door, query: str, expected: set[str]) -> None:
    page = door.releaser.get(f"job_templates/?{query}").json
    assert {each["name"].rpartition(" / ")[2] for each in page["results"]} == expected
    assert page["count"] == len(expected)


def test_filters_by_number_and_status(door: Door) -> None:
    first, second = door.launch()["id"], door.launch("staging")["id"]
    assert [each["id"] for each in door.releaser.get(f"jobs/?id={first}").json["results"]] == [first]
    both = door.releaser.get(f"jobs/?id__in={first},{second}&order_by=id").json["results"]
    assert [each["id"] for each in both] == [first, second]
    assert door.releaser.get("jobs/?status=pending").json["count"] == 2
    assert door.releaser.get("jobs/?status__in=running,successful").json["count"] == 0
    assert door.releaser.get("jobs/?failed=true").json["count"] == 0
    assert door.releaser.post(f"jobs/{second}/cancel/").status_code == 202
    assert [each["id"] for each in door.releaser.get("jobs/?failed=true").json["results"]] == [second]
    assert [each["id"] for each in door.releaser.get("jobs/?failed=false").json["results"]] == [first]
    where = door.job(first)
    for name in ("project", "inventory"):
        found = door.releaser.get(f"jobs/?{name}={where[name]}").json["results"]
        assert first in [each["id"] for each in found]
        assert door.releaser.get(f"jobs/?{name}=0").json["count"] == 0
    of_template = door.releaser.get(f"jobs/?job_template={door.template['staging']}").json["results"]
    assert [each["id"] for each in of_template] == [second]
    assert door.releaser.get(f"job_templates/{door.template['staging']}/jobs/").json["count"] == 1


@pytest.mark.parametrize(
    "query",
    [
        "colour=red", "or__colour=red", "name__regex=(a%2B)%2B", "name__foo=1", "id=x", "id__in=1,x", "created=later",
        "status__isnull=maybe", "created_by__password=x", "job_template__project__name=x", "id=99999999999999999999999",
    ],
)  # fmt: skip
def test_an_unknown_filter_is_refused_by_name(door: Door, query: str) -> None:
    answer = door.releaser.get(f"jobs/?{query}")
    assert answer.status_code == 400, answer.text
    assert query.partition("=")[0] in answer.json


@pytest.mark.parametrize("order", ["colour", "-colour", "name,colour", "related"])
def test_an_unknown_order_is_refused(door: Door, order: str) -> None:
    answer = door.releaser.get(f"jobs/?order_by={order}")
    assert (answer.status_code, "order_by" in answer.json) == (400, True)


def test_numbers_stay_and_belong_to_one_thing(door: Door) -> None:
    before = {each["name"]: each["id"] for each in door.releaser.get("job_templates/").json["results"]}
    with door.core.database.write() as session:
        session.add(
            Service(
                id=new_id("svc"), project_id="prj", name="another", runtime_type="compose",
                created_at=door.core.clock.now(),
            )
        )  # fmt: skip
    after = {each["name"]: each["id"] for each in door.releaser.get("job_templates/").json["results"]}
    assert len(after) == 6
    assert before.items() <= after.items()
    assert len(set(after.values())) == 6
    with door.core.database.read() as session:
        rows = session.execute(select(func.count(), func.count(AwxId.id.distinct()))).one()
    assert rows[0] == rows[1]


@pytest.mark.parametrize("pk", ["0", "-1", "x", "99999999999999999999", "1e3", "٣"])
def test_what_is_no_number_of_something_is_not_there(door: Door, pk: str) -> None:
    for name in LISTS:
        assert door.releaser.get(f"{RESOURCES[name]}/{pk}/").status_code in (404, 405)


def test_a_number_of_another_kind_is_not_there(door: Door) -> None:
    assert door.releaser.get(f"hosts/{door.template['development']}/").status_code == 404


def test_options_tell_what_each_field_is(door: Door) -> None:
    for name in LISTS:
        answer = door.releaser.send("OPTIONS", f"{RESOURCES[name]}/")
        fields = answer.json["actions"]["GET"]
        assert fields["id"]["type"] == "integer"
        assert all({"type", "help_text", "filterable"} <= set(each) for each in fields.values())
        for field, told in fields.items():
            if told["filterable"] and told["type"] in ("string", "choice"):
                value = told["choices"][0][0] if "choices" in told else "x"
                assert door.releaser.get(f"{RESOURCES[name]}/", **{field: value}).status_code == 200, (
                    name,
                    field,
                )
    posted = door.releaser.send("OPTIONS", "schedules/").json["actions"]["POST"]
    assert posted["rrule"]["required"] is True


def test_options_of_a_launch_are_the_same_whether_it_is_there_or_not(door: Door) -> None:
    there = door.releaser.send("OPTIONS", f"job_templates/{door.template['development']}/launch/")
    nowhere = door.releaser.send("OPTIONS", "job_templates/4711/launch/")
    assert there.json == nowhere.json
    assert there.headers["Allow"] == "GET, POST, HEAD, OPTIONS"
    assert there.json["actions"]["POST"]["extra_vars"]["type"] == "json"
    assert door.app.test_client().options("/api/v2/job_templates/1/launch/").status_code == 401


@pytest.mark.parametrize("name", ["page", "page_size", "id", "id__in", "id__gt", "project"])
def test_a_number_of_any_length_is_refused_by_name(door: Door, name: str) -> None:
    answer = door.releaser.get("jobs/", **{name: "9" * 5000})
    assert (answer.status_code, name in answer.json) == (400, True)


def test_who_administers_everything_is_told(door: Door) -> None:
    root = door.person("root", "admin", project=None)
    door.person("boss", "admin")
    found = {each["username"]: each for each in root.get("users/", page_size=200).json["results"]}
    assert {name for name, each in found.items() if each["is_superuser"]} == {"root"}
    assert root.get(found["root"]["url"]).json["is_superuser"] is True
    assert root.get("me/").json["results"][0]["is_superuser"] is True


def test_users_are_those_that_the_api_shows(door: Door) -> None:
    def names(asker: Any) -> set[str]:
        return {each["username"] for each in asker.get("users/", page_size=200).json["results"]}

    assert names(door.releaser) == {"awx-releaser"}
    assert "awx-releaser" in names(door.person("boss", "admin"))
    me = door.releaser.get("me/").json
    assert (me["count"], me["results"][0]["username"]) == (1, "awx-releaser")
    assert me["results"][0]["is_superuser"] is False


def test_metrics_count_the_jobs_that_one_may_see(door: Door) -> None:
    door.launch()

    def pending(asker: Any) -> int:
        samples = asker.get("metrics/").json["tidegate_awx_jobs"]["samples"]
        return next(each["value"] for each in samples if each["labels"]["status"] == "pending")

    assert pending(door.releaser) == 1
    assert pending(door.person("elsewhere", project=door.people.project("other"))) == 0
