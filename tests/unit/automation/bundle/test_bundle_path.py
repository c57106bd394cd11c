# SPDX-License-Identifier: Apache-2.0
"""A path of a bundle stays in it, and means the same to every program."""

from __future__ import annotations

import os
import posixpath
import shlex

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle import sums
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle.bundle_path import printable, problem
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._+~@=-]{0,20}", fullmatch=True)
PATHS = st.lists(NAMES, min_size=1, max_size=6).map("/".join)
PIECES = st.sampled_from(
    ["..", ".", "", "a", "b", "-x", ".hid", "a b", "a\nb", "a\0b", "ä", "\\", "$x", "a:b", "*"]
)


@pytest.mark.parametrize(
    "path",
    ["", "/", "/a", "..", "../a", "a/../b", "a/..", "./a", "a//b", "a/", "-rf", "a/-x", ".a", "a b", "a\n", "a\0",
     "a\\b", "é", "a\u202eb", "a" * 401, "/".join("a" * 11), None, 5, "\udc80"],
)  # fmt: skip
def test_what_is_no_path_is_refused(path: object) -> None:
    assert problem(path)


@given(PATHS)
def test_plain_names_are_paths(path: str) -> None:
    assert problem(path) is None
    assert shlex.quote(path) == path or set(path) & set("~=")
    assert os.path.normpath(path) == path


@given(st.lists(PIECES, min_size=1, max_size=5).map("/".join) | st.text(max_size=30))
def test_no_path_that_is_taken_leaves_its_folder(path: str) -> None:
    if problem(path) is None:
        joined = posixpath.normpath(posixpath.join("/bundle", path))
        assert joined == f"/bundle/{path}"
        assert path.isascii() and path.isprintable()
    assert printable(path).isprintable()


@given(st.dictionaries(PATHS, st.binary(min_size=32, max_size=32).map(bytes.hex), max_size=8))
def test_a_list_of_sums_is_read_as_it_was_written(known: dict[str, str]) -> None:
    known["manifests/index.yaml"] = "0" * 64
    assert sums.read(sums.written(known)) == (known, [])


@given(st.binary(max_size=200))
def test_no_bytes_make_the_list_fail_otherwise_than_by_faults(content: bytes) -> None:
    read, faults = sums.read(content)
    assert all(problem(path) is None for path in read)
    assert faults or "manifests/index.yaml" in read
