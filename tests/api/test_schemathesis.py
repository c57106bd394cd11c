# SPDX-License-Identifier: Apache-2.0
"""The API against its own document: no fault of ours, no answer that is not documented, with things there to find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.seed import Seeded, seed

# A 502 is documented where a host or a cluster may fail to answer; a 500 is a fault of ours, and never documented.
CHECKS = [
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_schema_conformance,
]
PREFIX = "/api/v1"
# What only a cluster can answer with success; tests/api/test_clusters.py asks one.
OF_CLUSTERS = {
    "POST /clusters/import/cert", "POST /clusters/import/kubeconfig", "POST /clusters/{cluster_id}/connect/test",
    "PUT /clusters/{cluster_id}/connection", "GET /clusters/{cluster_id}/events",
    "GET /clusters/{cluster_id}/namespaces", "GET /clusters/{cluster_id}/workloads",
}  # fmt: skip
# It has a target and a network entry here, so it stays.
KEPT = {"DELETE /clusters/{cluster_id}"}
# Reads first, and what takes things away last.
ORDER = ("GET", "PUT", "PATCH", "POST", "DELETE")
# Shares of the generated requests that are about something that is there.
KNOWN = 4


@pytest.fixture
def seeded(tmp_path: Path) -> Seeded:
    """An application with one of everything."""
    return seed(tmp_path)


@pytest.fixture
def operations(seeded: Seeded) -> list[Any]:
    """Everything that the document describes, but for streams: they do not end, and have tests of their own."""
    found = schemathesis.openapi.from_wsgi(f"{PREFIX}/openapi.json", seeded.app).exclude(
        path_regex="/stream$"
    )
    listed = [result.ok() for result in found.get_all_operations()]
    return sorted(listed, key=lambda each: (ORDER.index(each.method.upper()), -len(each.path)))


def name_of(operation: Any) -> str:
    return f"{operation.method.upper()} {operation.path.removeprefix(PREFIX)}"


def ask(case: Any, seeded: Seeded) -> int:
    headers = {"Authorization": f"Bearer {seeded.admin.token}", "Prefer": "wait=0"}
    answer = case.call_and_validate(headers=headers, checks=CHECKS)
    assert answer.status_code != 500, name_of(case.operation)
    return int(answer.status_code)


def good_case(operation: Any, seeded: Seeded) -> Any:
    """Return the request that the operation should take."""
    named, query, body = seeded.good.get(name_of(operation), ({}, {}, None))
    path = {each.name: named.get(each.name) or seeded.ids[each.name][0] for each in operation.path_parameters}
    given: dict[str, Any] = {"path_parameters": path, "query": dict(query)}
    if isinstance(body, bytes):
        given |= {"body": body, "media_type": "application/octet-stream"}
    elif operation.body:
        given |= {"body": {"comment": "because"} if body is None else body, "media_type": "application/json"}
    return operation.Case(**given)


@pytest.mark.timeout(180)
def test_each_operation_succeeds_as_documented(seeded: Seeded, operations: list[Any]) -> None:
    assert len(operations) > 100
    failed = {}
    for operation in operations:
        status = ask(good_case(operation, seeded), seeded)
        seeded.settle()
        if status >= 300:
            failed[name_of(operation)] = status
    wrong = failed.keys() ^ (OF_CLUSTERS | KEPT)
    assert not wrong, {name: failed.get(name) for name in wrong}


@settings(
    max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
@given(data=st.data())
def check_operation(operation: Any, seeded: Seeded, data: st.DataObject) -> None:
    """Send generated requests, most of them about something that is there, and hold the answers to the document."""
    case = data.draw(operation.as_strategy())
    for holder in (case.path_parameters, case.query, case.body):
        if not isinstance(holder, dict):
            continue
        for name in sorted(holder.keys() & seeded.ids.keys()):
            if data.draw(st.integers(1, KNOWN)) > 1:
                holder[name] = data.draw(st.sampled_from(seeded.ids[name]))
    ask(case, seeded)


@pytest.mark.timeout(300)
def test_answers_are_as_documented(seeded: Seeded, operations: list[Any]) -> None:
    for operation in operations:
        check_operation(operation, seeded)
