# SPDX-License-Identifier: Apache-2.0
"""The rule set of an entry is made from data, and what could not be one is refused."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.host import colours, entry
from hypothesis import given
from hypothesis import strategies as st


def made(*backends: tuple[str, int, int], project: str = "shop", port: int = 8080) -> entry.Entry:
    return entry.parse(
        project, port, [{"name": name, "port": at, "weight": weight} for name, at, weight in backends]
    )


def test_all_connections_go_to_one_backend() -> None:
    rules = entry.rule_set(made(("green", 30001, 100), ("blue", 30000, 0)))
    assert "table inet tidegate_shop" in rules
    assert "tcp dport 8080 goto entry" in rules
    assert "meta l4proto tcp dnat to :30001\n" in rules
    assert "dnat to :30000" not in rules
    assert "tcp dport { 30000, 30001 } drop" in rules


def test_shares_are_taken_of_what_is_left() -> None:
    rules = entry.rule_set(made(("a", 1, 50), ("b", 2, 30), ("c", 3, 20)))
    assert "numgen random mod 100 < 20 dnat to :3\n" in rules
    assert "numgen random mod 80 < 30 dnat to :2\n" in rules
    assert "tcp dnat to :1\n" in rules


def test_what_is_published_on_the_port_itself_is_left_to_docker() -> None:
    rules = entry.rule_set(made(("plain", 8080, 90), ("blue", 30000, 10)))
    assert "numgen random mod 100 < 10 dnat to :30000" in rules
    assert "meta l4proto tcp accept" in rules


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"project": "shop; flush ruleset"}, "not a project name"),
        ({"project": "Shop"}, "not a project name"),
        ({"project": "shop\n"}, "not a project name"),
        ({"port": 0}, "expected 1 to 65535"),
        ({"port": 70000}, "expected 1 to 65535"),
    ],
)
def test_what_is_no_entry_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(entry.EntryError, match=said):
        made(("blue", 30000, 100), **arguments)


@pytest.mark.parametrize(
    ("backends", "said"),
    [
        ([], "at least one backend"),
        ([("blue", 1, 60)], "add up"),
        ([("blue", 1, 50), ("blue", 2, 50)], "same name"),
        ([("blue", 1, 50), ("green", 1, 50)], "same port"),
        ([("blue", 1, 101)], "expected 0 to 100"),
        ([("blue }", 1, 100)], "not a word"),
    ],
)
def test_backends_that_do_not_fit_are_refused(backends: list[tuple[str, int, int]], said: str) -> None:
    with pytest.raises(entry.EntryError, match=said):
        made(*backends)


@pytest.mark.skipif(not shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin"), reason="there is no nft here")
@given(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True), st.integers(0, 100), st.integers(1, 65535))
def test_nft_reads_every_rule_set(project: str, weight: int, port: int) -> None:
    wanted = made(
        ("blue", port % 65535 + 1, weight),
        ("green", (port + 1) % 65535 + 1, 100 - weight),
        project=project,
        port=port,
    )
    done = subprocess.run(
        ["/usr/sbin/nft", "--check", "-f", "-"],
        input=entry.rule_set(wanted) + entry.removal(project),
        capture_output=True,
        text=True,
        check=False,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("nft needs root to check")
    assert done.returncode == 0, done.stderr


PORTS = {"blue": 30000, "green": 30001}
STATE = {"live": "green", "contents": {"green": "sha256:2", "blue": "sha256:1"}}


@pytest.mark.parametrize(
    ("state", "running", "content", "expected"),
    [
        (None, set(), "sha256:1", (None, "blue", False)),
        (None, {"plain"}, "sha256:1", ("plain", "blue", False)),
        (STATE, {"green"}, "sha256:3", ("green", "blue", False)),
        (STATE, {"green", "blue"}, "sha256:1", ("green", "blue", True)),
        (STATE, {"green", "blue"}, "sha256:2", ("green", "green", True)),
        (STATE, {"blue"}, "sha256:2", ("green", "green", False)),
        (
            {"live": "plain", "contents": {"blue": "sha256:2"}},
            {"plain", "blue"},
            "sha256:3",
            ("plain", "blue", False),
        ),
    ],
    ids=[
        "first",
        "from rolling",
        "update",
        "back to the kept one",
        "again",
        "again, but it died",
        "other canary",
    ],
)
def test_which_colour_takes_a_release(
    state: dict[str, Any] | None, running: set[str], content: str, expected: tuple[str | None, str, bool]
) -> None:
    plan = colours.choose(state, running, content, PORTS)
    assert (plan.live, plan.target, plan.unchanged) == expected


def test_ports_stay_the_same_for_a_name_and_are_never_taken_ones() -> None:
    first = colours.choose_ports("shop", set())
    assert colours.choose_ports("shop", set()) == first
    assert not set(colours.choose_ports("shop", set(first.values())).values()) & set(first.values())
    with pytest.raises(colours.EntryStateError):
        colours.choose_ports("shop", set(range(30000, 33000)))


def test_a_colour_keeps_its_port() -> None:
    assert colours.pair_of({"green": 30011}) == {"blue": 30010, "green": 30011}
    assert colours.pair_of({"blue": 30010}) == {"blue": 30010, "green": 30011}
    assert colours.pair_of({}) is None
