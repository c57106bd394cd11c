# SPDX-License-Identifier: Apache-2.0
"""The API's own document is valid, and says who it is for."""

from __future__ import annotations

from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator

from controlplane.domain.release import State


def test_the_document_is_valid_openapi_31(anonymous: Any) -> None:
    document = anonymous.get("/api/v1/openapi.json").json
    assert document["openapi"].startswith("3.1")
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_each_operation_has_a_name_a_summary_and_problems(anonymous: Any) -> None:
    document = anonymous.get("/api/v1/openapi.json").json
    operations = [
        each for item in document["paths"].values() for each in item.values() if isinstance(each, dict)
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] for operation in operations)
    assert all({"401", "403", "422", "default"} <= operation["responses"].keys() for operation in operations)


def test_what_creates_or_decides_takes_an_idempotency_key(anonymous: Any) -> None:
    paths = anonymous.get("/api/v1/openapi.json").json["paths"]
    for path in ("/preview", "/apply", "/{release_id}/rollback", "/{release_id}/approve"):
        parameters = paths[f"/api/v1/deploy/releases{path}"]["post"]["parameters"]
        assert "Idempotency-Key" in [parameter["name"] for parameter in parameters]


def test_lifecycle_and_errors_are_told_from_the_tables_of_the_code(anonymous: Any) -> None:
    document = anonymous.get("/api/v1/openapi.json").get_json()
    assert set(document["x-tidegate-lifecycle"]) == set(State)
    assert "applying" in document["x-tidegate-lifecycle"]["approved"]["leaves_to"]
    assert document["x-tidegate-errors"]["preview_stale"]["status"] == 409
