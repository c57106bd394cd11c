# SPDX-License-Identifier: Apache-2.0
"""What a preview binds: any change of it is another digest, and nothing else is."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from controlplane.domain.canonical import canonical_json, digest
from controlplane.domain.errors import Problem
from controlplane.domain.preview import Binding, blocking, check_usable, differing

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BINDING = Binding(
    service_id="svc", service_version="2", service_revision="sha256:aa", target_id="tgt", environment_id="env",
    stage="production", action="apply", strategy="rolling", strategy_params={"max_parallel": 1},
    variables={"port": 8080}, artifact_digest="hmac:bb", image_digests={"web": {"image_id": "sha256:cc"}},
    bundle_digest=None, fingerprints={"a": "sha256:dd"},
)  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from([field.name for field in fields(Binding)]), json_values)
def test_any_change_of_what_is_bound_is_another_digest(name: str, value: Any) -> None:
    assume(value != getattr(BINDING, name) or type(value) is not type(getattr(BINDING, name)))
    assert replace(BINDING, **{name: value}).digest() != BINDING.digest()


@given(st.dictionaries(st.text(), json_values, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_keys_changes_nothing(value: dict[str, Any], random: Any) -> None:
    shuffled = list(value.items())
    random.shuffle(shuffled)
    assert digest(dict(shuffled)) == digest(value)


@given(json_values, json_values)
def test_two_values_have_one_text_only_if_they_are_one(left: Any, right: Any) -> None:
    # 1 == True in Python, but not in JSON: the text is what tells them apart.
    if canonical_json(left) == canonical_json(right):
        assert left == right


def test_what_has_no_json_has_no_digest() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(float("nan"))


@given(st.text(), st.text())
def test_values_do_not_run_into_each_other(left: str, right: str) -> None:
    assume(right)
    assert digest([left + right, ""]) != digest([left, right])


def usable(**changed: Any) -> None:
    asked: dict[str, Any] = {
        "preview_ref": "pvw", "state": "preview", "used_at": None, "expires_at": NOW + timedelta(minutes=30),
        "now": NOW,
    }  # fmt: skip
    check_usable(**{**asked, **changed})


def test_a_young_unused_preview_may_be_applied() -> None:
    usable()


@pytest.mark.parametrize(
    ("changed", "error_key"),
    [
        ({"preview_ref": None}, "preview_required"),
        ({"used_at": NOW}, "preview_used"),
        ({"expires_at": NOW}, "preview_expired"),
        ({"state": "expired"}, "preview_expired"),
        ({"state": "approved"}, "preview_used"),
    ],
)
def test_other_previews_are_refused_by_name(changed: dict[str, Any], error_key: str) -> None:
    with pytest.raises(Problem) as refused:
        usable(**changed)
    assert refused.value.error_key == error_key


def test_a_repeated_parameter_that_differs_is_named() -> None:
    assert differing({"version": "2", "strategy": "rolling"}, {"version": "3", "strategy": "rolling"}) == [
        "version"
    ]


def test_a_parameter_that_is_left_out_does_not_differ() -> None:
    assert differing({"version": "2"}, {"version": None}) == []


def test_only_blocking_checks_stand_against_a_preview() -> None:
    checks = [{"level": "warning", "code": "a"}, {"level": "blocking", "code": "b"}]
    assert [check["code"] for check in blocking(checks)] == ["b"]
