# SPDX-License-Identifier: Apache-2.0
"""What is said of a failure."""

from __future__ import annotations

from controlplane.domain.diagnostics import Findings, describe

UNHEALTHY = {
    "error_key": "compose_unhealthy",
    "failure_domain": "health",
    "hint": "Read the log.",
    "diagnostics": {
        "summary": "web is unhealthy",
        "stage": "health",
        "objects": [{"service": "web", "exit_code": 1, "log_tail": "boom"}],
        "hosts": [],
        "hints": ["Look at /healthz."],
    },
}


def test_the_first_failure_of_a_host_is_the_one_that_counts() -> None:
    findings = Findings()
    findings.note("a", UNHEALTHY, failed=True, unreachable=False)
    findings.note("a", {"error_key": "internal_error"}, failed=True, unreachable=False)
    assert describe(findings, {}, "internal_error", "")["error_key"] == "compose_unhealthy"


def test_it_names_container_and_log_and_hints() -> None:
    findings = Findings()
    findings.note("a", UNHEALTHY, failed=True, unreachable=False)
    found = describe(findings, {}, "internal_error", "")
    assert found["summary"] == "a: web is unhealthy"
    assert found["failure_domain"] == "health"
    assert found["objects"] == [{"host": "a", "service": "web", "exit_code": 1, "log_tail": "boom"}]
    assert found["hints"] == ["Look at /healthz.", "Read the log."]


def test_a_host_that_was_not_reached_is_told_by_what_the_probe_found() -> None:
    found = describe(
        Findings(), {"b": ("ssh_host_key_mismatch", "b shows another key")}, "internal_error", ""
    )
    assert (found["error_key"], found["failure_domain"], found["stage"]) == (
        "ssh_host_key_mismatch", "integrity", "connect",
    )  # fmt: skip


def test_without_any_word_the_fallback_speaks() -> None:
    found = describe(Findings(), {}, "worker_lost", "its worker was lost 3 times")
    assert (found["summary"], found["failure_domain"]) == ("its worker was lost 3 times", "lost")


def test_what_moved_is_named_by_host() -> None:
    findings = Findings()
    stale = {"error_key": "preview_stale", "detail": {"moved": ["web.image", "web.scale"]}}
    findings.note("a", stale, failed=True, unreachable=False)
    assert findings.moved() == ["a: web.image", "a: web.scale"]
    assert Findings().moved() is None
