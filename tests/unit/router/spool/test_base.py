"""Ids of messages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.spool.base import id_number, id_text, next_number

numbers = st.integers(min_value=0, max_value=2**55 - 1)


@settings(deadline=None)
@given(numbers, numbers)
def test_ids_sort_as_their_numbers_do(one: int, other: int) -> None:
    """And lead back to them."""
    assert (id_text(one) < id_text(other)) == (one < other)
    assert id_number(id_text(one)) == one


@pytest.mark.parametrize("text", ["", "short", "zzzzzzzzzzzz", "ILLEGAL-ID!", "00000 00000", "١1111111111"])
def test_a_text_that_is_no_id_belongs_to_no_row(text: str) -> None:
    """Workers are hostile: what they send must not raise."""
    assert id_number(text) == -1


@settings(deadline=None)
@given(numbers, st.floats(0, 4e9))
def test_numbers_always_grow(last: int, now: float) -> None:
    """Whatever the clock does."""
    assert next_number(last, now) > last
