# SPDX-License-Identifier: Apache-2.0
"""Variables: whose value wins, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.errors import Problem
from controlplane.domain.variables import TYPES, check_schema, check_value, resolve

SCHEMA: dict[str, dict[str, Any]] = {
    "version": {"type": "string", "required": True},
    "port": {"type": "integer", "default": 8080, "minimum": 1, "maximum": 65535},
    "password": {"type": "string", "secret": True},
}


def test_the_first_layer_that_has_a_value_wins() -> None:
    plain, secret = resolve(SCHEMA, {"version": "2"}, {"version": "1", "port": 81}, {"password": "s"})
    assert plain == {"version": "2", "port": 81}
    assert secret == {"password": "s"}


def test_a_default_stands_in_and_an_optional_one_may_be_missing() -> None:
    assert resolve(SCHEMA, {"version": "1"}) == ({"version": "1", "port": 8080}, {})


@pytest.mark.parametrize(
    ("given_values", "named"),
    [({"version": "1", "colour": "red"}, "variables.colour"), ({}, "variables.version"),
     ({"version": 1}, "variables.version"), ({"version": "1", "port": True}, "variables.port"),
     ({"version": "1", "port": 0}, "variables.port"), ({"version": "1", "port": 65536}, "variables.port")],
)  # fmt: skip
def test_each_value_that_does_not_fit_is_named(given_values: dict[str, Any], named: str) -> None:
    with pytest.raises(Problem, match="validation_error") as refused:
        resolve(SCHEMA, given_values)
    assert list(refused.value.errors) == [named]


@given(st.sampled_from(sorted(TYPES)), st.none() | st.booleans() | st.integers() | st.floats() | st.text())
def test_only_a_value_of_the_type_passes(kind: str, value: Any) -> None:
    is_one = {
        "string": type(value) is str and "\0" not in value,
        "integer": type(value) is int,
        "number": type(value) in (int, float) and value == value,
        "boolean": type(value) is bool,
    }[kind]
    assert (check_value({"type": kind}, value) == []) == is_one


def test_what_is_wrong_never_repeats_the_value() -> None:
    faults = check_value({"type": "string", "pattern": "[a-z]+", "enum": ["a"]}, "CANARY")
    assert faults
    assert "CANARY" not in str(faults)


@pytest.mark.parametrize(
    "rule",
    [{"type": "list"}, {"colour": 1}, "string", {"pattern": "("}, {"pattern": "(a+)+$"}, {"pattern": "x" * 501},
     {"minimum": "1"}, {"enum": "abc"}, {"secret": "yes"}, {"type": "integer", "default": "1"},
     {"secret": True, "default": "shown"}],
)  # fmt: skip
def test_a_schema_that_is_none_is_refused(rule: Any) -> None:
    with pytest.raises(Problem, match="validation_error") as refused:
        check_schema({"v": rule})
    assert list(refused.value.errors) == ["variable_schema.v"]


@pytest.mark.parametrize("name", ["", "1a", "a b", "a-b", "{{x}}", "x" * 64])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(Problem, match="validation_error"):
        check_schema({name: {"type": "string"}})
