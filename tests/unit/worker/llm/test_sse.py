"""The stream parser gives the same events however the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.llm.base import ModelRefused
from worker.llm.sse import Event, Parser

STREAM = (
    b"\xef\xbb\xbf: a comment\r\nevent: one\r\ndata: first\r\ndata:second\r\nid: 7\r\n\r\n"
    b'data: {"text": "gr\xc3\xbc\xc3\x9fe"}\n\n'
    b"retry: 10\n\n"
    b"event: lonely\n\n"
    b"data\n\n"
    b"event: mac\rdata:  two spaces\r\rdata: last: with colon\n\n"
)
EVENTS = [
    Event("one", "first\nsecond"),
    Event("", '{"text": "grüße"}'),
    Event("", ""),
    Event("mac", " two spaces"),
    Event("", "last: with colon"),
]


def read(chunks: list[bytes]) -> list[Event]:
    parser = Parser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_all_three_line_ends_comments_and_several_data_lines_are_understood() -> None:
    assert read([STREAM]) == EVENTS


def test_one_byte_at_a_time_gives_the_same_events() -> None:
    assert read([STREAM[at : at + 1] for at in range(len(STREAM))]) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_any_cut_gives_the_same_events(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    assert read([STREAM[a:b] for a, b in itertools.pairwise(places)]) == EVENTS


@given(st.binary(max_size=300))
def test_garbage_never_raises(data: bytes) -> None:
    read([data])


def test_an_event_cut_off_by_the_end_is_not_given() -> None:
    parser = Parser()
    assert parser.feed(b"data: whole\n\ndata: half") == [Event("", "whole")]
    assert parser.end() == []


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 60 + b"\n", b"x" * 60, b": comment that goes on\n"])
def test_an_event_over_the_limit_is_refused_whether_in_one_line_or_many(piece: bytes) -> None:
    parser = Parser(limit=1000)
    with pytest.raises(ModelRefused, match="over 1000 bytes"):
        for _ in range(100):
            parser.feed(piece)


def test_a_long_stream_of_small_events_is_not_over_the_limit() -> None:
    parser = Parser(limit=1000)
    assert sum(len(parser.feed(b"data: " + b"x" * 60 + b"\n\n")) for _ in range(1000)) == 1000
