# SPDX-License-Identifier: Apache-2.0
"""docs/awx.md says of each endpoint and field what is so: no more is answered, and no less; what is not, is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from awxkit.api.resources import Resources

from controlplane.awx import bulk, job_views, lines, routes, templates
from controlplane.store.tables import EnvironmentNode, Project, Registry, Team
from tests.awx.conftest import Door
from tests.awx.test_lines import write

TEXT = (Path(__file__).parents[2] / "docs" / "awx.md").read_text()
OF_EVERY = {"id", "type", "url", "related", "summary_fields", "created", "modified", "name", "description"}
# What the whole API answers, and what one cannot be asked for before one knows who asks.
BARE = ("/api/", "/api/v2/", "/api/login/", "/api/logout/")
RULE = "DTSTART:20300115T120000Z RRULE:FREQ=DAILY;INTERVAL=1"


def rows(section: str, *columns: str) -> Iterator[list[str]]:
    """Yield the cells of the table of a section that has these columns."""
    (part,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    head = f"| {' | '.join(columns)} |"
    assert head in part, f"{section} has no table {head}"
    for line in part.partition(head)[2].split("\n")[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def words(cell: str) -> list[str]:
    """Return the words of a cell that stand as code."""
    return [word for code in re.findall(r"`([^`]+)`", cell) for word in code.split()]


FIELDS = {
    words(of)[0]: (set(words(answered)), words(filters.partition("(")[0]), set(words(left)))
    for of, answered, filters, left in rows(
        "Fields", "of", "answered beside these", "filters and orders", "AWX's that are left out"
    )
}
RELATED = {
    words(of)[0]: (set(words(related)), set(words(summary)))
    for of, related, summary in rows("Fields", "of", "`related`", "`summary_fields`")
}
ABSENT = {
    word
    for what, how in rows("What is refused, and what is left out", "what", "what happens")
    if how.startswith("not here") and not what.startswith("what")
    for word in words(what)
}
RESOURCES = {resource.path: resource for resource in routes.LISTS}


def documented() -> dict[str, set[str]]:
    """Return the methods of each path that the document names."""
    found: dict[str, set[str]] = {}
    for paths, methods, _notes in rows("What is answered", "path", "methods", "notes"):
        for path in words(paths):
            whole = path if path.startswith("/api/") else f"/api/v2/{path}"
            assert whole not in found, f"{path} is there twice"
            found[whole] = set(methods.split(", "))
    return found


def answered(door: Door) -> dict[str, set[str]]:
    """Return the methods of each path that the door answers."""
    found: dict[str, set[str]] = {}
    for rule in door.app.url_map.iter_rules():
        if rule.endpoint.startswith("awx."):
            path = rule.rule.replace("<string:pk>", "{id}")
            found.setdefault(path, set()).update((rule.methods or set()) - {"HEAD"})
    return found


@pytest.fixture
def full(door: Door) -> Door:
    """A door with one of each thing that is shown."""
    now = door.core.clock.now()
    with door.core.database.write() as session:
        session.add(Team(id="team", name="crew", created_at=now))
        session.flush()
        session.get_one(Project, "prj").team_id = "team"
        session.add(EnvironmentNode(environment_id="env_development", host_id="hst"))
        session.add(
            Registry(
                id="reg", project_id="prj", server="registry.example", username="robot",
                password_cipher=door.core.vault.encrypt(b"canary"), created_at=now,
            )
        )  # fmt: skip
    template = door.template["development"]
    launched = door.releaser.post("bulk/job_launch/", {"jobs": [{"unified_job_template": template}]})
    write(door, launched.json["jobs"][0], ["one"])
    body = {"name": "nightly", "unified_job_template": template, "rrule": RULE}
    assert door.releaser.post("schedules/", body).status_code == 201
    operator = door.person("operator", "operator")
    body = {
        "name": "bell", "project": operator.get("projects/").json["results"][0]["id"],
        "notification_type": "webhook", "notification_configuration": {"url": "http://example.org/"},
    }  # fmt: skip
    bell = operator.post("notification_templates/", body).json
    assert operator.post(f"notification_templates/{bell['id']}/test/").status_code == 202
    return door


def first(door: Door, path: str) -> dict[str, Any]:
    """Return the first object of a list."""
    where = f"jobs/{first(door, 'jobs')['id']}/job_events" if path == "job_events" else path
    page = door.releaser.get(f"{where}/", order_by="id").json
    assert page["results"], path
    found: dict[str, Any] = page["results"][0]
    return found


def test_each_path_and_method_that_is_answered_is_documented_and_no_other(door: Door) -> None:
    told, real = documented(), answered(door)
    assert set(told) == set(real)
    for path, methods in real.items():
        if told[path] != {"OPTIONS"}:
            methods = methods - {"OPTIONS"}
        assert told[path] == methods, path


def test_each_path_tells_what_can_be_done_there(door: Door) -> None:
    for path, methods in answered(door).items():
        if path in BARE or path.endswith(("/github/", "/gitlab/")):
            assert "OPTIONS" not in methods, path
            continue
        assert "OPTIONS" in methods, path
        answer = door.releaser.send("OPTIONS", path.replace("{id}", "4711"))
        assert answer.status_code == 200, path
        allowed = set(answer.headers["Allow"].split(", ")) - {"HEAD"}
        assert allowed == methods, path
        assert set(answer.json["actions"]) <= allowed, path


def test_what_awx_has_is_answered_or_said_to_be_left_out_and_never_both(door: Door) -> None:
    real = {path.removeprefix("/api/v2/").strip("/") for path in answered(door) if path.count("/") == 4}
    tops = {
        path.strip("/")
        for name, path in vars(Resources).items()
        if name.startswith("_") and isinstance(path, str) and re.fullmatch(r"[a-z_]+/", path)
    }
    only_described = {"teams", "workflow_job_templates", "instance_groups"}
    assert tops <= (real | ABSENT)
    assert real & ABSENT == only_described
    for name in sorted(ABSENT):
        assert door.releaser.get(f"{name}/").status_code in (404, 405), name
        assert name not in door.releaser.get("/api/v2/").json


def test_each_field_that_is_shown_is_documented_and_no_other(full: Door) -> None:
    for path, (own, _filters, left) in FIELDS.items():
        is_nameless = path in ("users", "notifications", "job_events")
        shown = set(first(full, path))
        assert shown == own | (OF_EVERY - {"name", "description"} if is_nameless else OF_EVERY), path
        assert not shown & left, path


def test_options_tell_of_each_field_that_is_shown(full: Door) -> None:
    for path, (_own, filters, _left) in FIELDS.items():
        asked = f"jobs/{first(full, 'jobs')['id']}/job_events" if path == "job_events" else path
        told = full.releaser.send("OPTIONS", f"{asked}/").json["actions"]["GET"]
        filterable = {name for name in filters if "__" not in name}
        assert set(told) == set(first(full, path)) | filterable, path
        assert {name for name, each in told.items() if each["filterable"]} == filterable, path
        for name, each in told.items():
            assert each["type"] and each["help_text"] and each["label"], (path, name)


def test_each_filter_is_documented_and_no_other(full: Door) -> None:
    for path, (_own, filters, _left) in FIELDS.items():
        if path == "job_events":
            assert set(filters) == set(lines.NUMBERS)
            continue
        assert set(filters) == set(RESOURCES[path].columns), path
        for name in filters:
            for query in ({"order_by": f"-{name}"}, {f"{name}__isnull": "false"}):
                assert full.releaser.get(f"{path}/", **query).status_code == 200, (path, query)


def test_what_is_related_and_summed_up_is_documented_and_no_other(full: Door) -> None:
    for path in FIELDS:
        related, summary = RELATED.get(path, (set(), set()))
        shown = first(full, path)
        assert (set(shown["related"]), set(shown["summary_fields"])) == (related, summary), path


def test_every_list_has_its_fields_in_the_document() -> None:
    unified = {"unified_jobs", "unified_job_templates"}
    assert set(FIELDS) == (set(RESOURCES) - unified) | {"job_events"}
    assert set(RELATED) <= set(FIELDS)


def test_the_unified_lists_show_what_the_others_show(full: Door) -> None:
    for path in ("jobs", "job_templates"):
        assert first(full, path) == first(full, f"unified_{path}")


def test_what_a_launch_says_that_it_asks_for_is_documented(door: Door) -> None:
    (told,) = re.findall(r"`GET` of a launch answers(.*?)\n\n", TEXT, re.DOTALL)
    shown = door.releaser.get(f"job_templates/{door.template['development']}/launch/").json
    asked = {name for name in shown if re.fullmatch(r"ask_\w+_on_launch", name)}
    assert asked == {name for name in FIELDS["job_templates"][0] if name.startswith("ask_")}
    assert set(shown) - asked == set(words(told)) - {"ask_..._on_launch"}


def test_what_a_launch_and_a_bulk_launch_take_is_documented() -> None:
    notes = {
        words(paths)[0]: words(note)
        for paths, _, note in rows("What is answered", "path", "methods", "notes")
    }
    assert set(templates.LAUNCH_FIELDS) == {*notes["job_templates/{id}/launch/"], "job_type"}
    assert RESOURCES["schedules"].post.keys() == set(notes["schedules/"])
    assert {"name", "extra_vars", "scm_branch"} <= set(notes["bulk/job_launch/"])
    assert bulk.FILTER in TEXT
    assert f"{job_views.PAGE_SIZE:,} unless told ({job_views.MOST:,} at most)" in TEXT
