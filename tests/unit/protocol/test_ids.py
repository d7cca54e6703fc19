"""Ids: one normaliser each."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import ids


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Work Agent", "work-agent"),
        ("___", "___"),
        ("한국", "main"),
        (None, "main"),
        ("-x-", "x"),
        ("a" * 70, "a" * 64),
    ],
)
def test_agent_ids_become_what_the_original_makes_of_them(text: str | None, normal: str) -> None:
    """RULES 3.1."""
    assert ids.normalize_agent_id(text) == normal


@pytest.mark.parametrize("text", ["__proto__", "constructor", " prototype ", "", None])
def test_reserved_and_empty_accounts_are_the_default_account(text: str | None) -> None:
    """Or none at all where an account is optional."""
    assert ids.normalize_account_id(text) == "default"
    assert ids.normalize_optional_account_id(text) is None


@settings(deadline=None)
@given(st.text(max_size=100))
def test_a_normalised_id_is_short_safe_and_stays_as_it_is(text: str) -> None:
    """It becomes part of file names and socket paths."""
    for normalize in (ids.normalize_agent_id, ids.normalize_account_id):
        normal = normalize(text)
        assert normal == normalize(normal)
        assert 0 < len(normal) <= ids.MAX_ID_LENGTH
        assert set(normal) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


def test_channels_and_main_keys_are_trimmed_and_lower_case() -> None:
    """An empty main key is `main`, an empty channel stays empty."""
    assert (ids.normalize_channel(" IRC "), ids.normalize_channel(None)) == ("irc", "")
    assert (ids.normalize_main_key(" Home "), ids.normalize_main_key(" ")) == ("home", "main")
