# SPDX-License-Identifier: Apache-2.0
"""API tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.token import matches, new_token, parse


def test_a_token_is_known_by_its_prefix_and_proved_by_its_hash() -> None:
    token = new_token()
    parsed = parse(token.text)
    assert parsed is not None
    assert parsed[0] == token.prefix
    assert matches(token.text, token.secret_hash)
    assert token.text not in token.secret_hash


def test_two_tokens_differ() -> None:
    assert not matches(new_token().text, new_token().secret_hash)


@given(st.text())
def test_other_text_is_no_token(text: str) -> None:
    assert parse(text) is None
    assert not matches(text, new_token().secret_hash)
