# SPDX-License-Identifier: Apache-2.0
"""How long certificates last, and when a rotation is needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controlplane.domain import certificates

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def row(days: float | None, kind: str = "certificate") -> dict[str, Any]:
    ends = None if days is None else (NOW + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"name": "apiserver", "kind": kind, "expires_at": ends}


@pytest.mark.parametrize(
    ("days", "left"), [(30, 30), (29.99, 29), (0.5, 0), (-0.5, -1), (-2, -2), (None, None)]
)
def test_days_are_whole_and_negative_once_it_has_ended(days: float | None, left: int | None) -> None:
    assert certificates.days_left(row(days), NOW) == left


@pytest.mark.parametrize("text", ["never", "", "2026-03-01", "2026-03-01T12:00:00", None])
def test_an_end_that_cannot_be_read_is_not_known(text: str | None) -> None:
    assert certificates.ends_at({"expires_at": text}) is None


def test_the_first_end_is_of_what_a_rotation_renews() -> None:
    hosts = {"a": [row(50), row(2, "kubelet"), row(None)], "b": [row(40), row(1, "authority")]}
    assert certificates.first_end(hosts) == NOW + timedelta(days=40)
    assert certificates.first_end({"a": [row(None)]}) is None


@pytest.mark.parametrize(
    ("days", "within", "expected"), [(30, 30, False), (29.9, 30, True), (-1, 0, True), (1, 0, False)]
)
def test_it_is_needed_when_one_ends_within_so_many_days(days: float, within: int, expected: bool) -> None:
    assert certificates.is_needed(NOW + timedelta(days=days), within, NOW) is expected


def test_what_is_not_known_is_not_put_off() -> None:
    assert certificates.is_needed(None, 30, NOW)


def test_the_digest_covers_each_part() -> None:
    given: dict[str, Any] = {
        "cluster_id": "cls", "stage": "staging", "kind": "rotate", "nodes": [{"name": "a"}], "within_days": 30,
        "fingerprints": {"a": "sha256:1"},
    }  # fmt: skip
    other: dict[str, Any] = {
        "cluster_id": "other", "stage": "production", "kind": "x", "nodes": [], "within_days": 31,
        "fingerprints": {"a": "sha256:2"},
    }  # fmt: skip
    digests = {certificates.Binding(**{**given, name: other[name]}).digest() for name in given}
    assert len(digests | {certificates.Binding(**given).digest()}) == len(given) + 1
