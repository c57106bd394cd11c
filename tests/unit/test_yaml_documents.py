# SPDX-License-Identifier: Apache-2.0
"""YAML within bounds: plain values come out, and nothing is built that is larger than what was let in."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import pytest

from controlplane.services.yaml_documents import Bounds, NotTaken, read

BOUNDS = Bounds(most_bytes=100_000, most_nodes=1000, most_depth=20)
STRICT = Bounds(most_bytes=100_000, most_nodes=1000, allow_aliases=False)


def taken(text: str, bounds: Bounds = BOUNDS) -> list[Any]:
    return list(read(text, bounds))


def test_documents_are_plain_values() -> None:
    text = "a: 1\nb: [yes, ~, 1.5, '1', 0x10, 2020-01-01]\n---\n- |\n  ---\n  x\n---\n"
    assert taken(text) == [{"a": 1, "b": [True, None, 1.5, "1", "0x10", "2020-01-01"]}, ["---\nx\n"], None]


def test_an_alias_stands_for_what_it_names_and_is_merged() -> None:
    assert taken("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}") == [
        {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}
    ]


def test_an_anchor_is_gone_with_its_document() -> None:
    with pytest.raises(NotTaken, match="line 2"):
        taken("--- &a x\n--- *a\n")


@pytest.mark.parametrize(
    "text",
    ["a: &a [*a]", "a: *b", "a: 1\na: 2", "!!python/name:os.system x", "!x y", "a: [", "\x07", "? [a]\n: b", "<<: 7",
     "[" * 30, "a: " + "x" * 100_001, "[" + "[]," * 1001 + "]"],
)  # fmt: skip
def test_what_is_not_taken(text: str) -> None:
    with pytest.raises(NotTaken):
        taken(text)


def test_no_value_is_repeated() -> None:
    for text in (
        "secret-word: [",
        "a: secret-word\na: secret-word",
        "!secret-word x",
        "&secret-word a: *other",
    ):
        with pytest.raises(NotTaken) as raised:
            taken(text)
        assert "secret-word" not in str(raised.value)


def test_anchors_are_not_taken_where_nobody_needs_them() -> None:
    with pytest.raises(NotTaken, match="anchors are not taken"):
        taken("a: &a x", STRICT)


def test_an_alias_bomb_is_refused_before_it_costs_anything() -> None:
    lines = ["l0: &l0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"l{n}: &l{n} [{','.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 30)]
    tracemalloc.start()
    begun = time.monotonic()
    with pytest.raises(NotTaken, match="aliases written out"):
        taken("\n".join(lines))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.monotonic() - begun < 2
    assert peak < 5_000_000
