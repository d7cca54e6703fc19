"""What is written is what is read; what others wrote is understood or skipped, never an error."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.llm.base import AssistantTurn, ToolCall, ToolTurn
from worker.sessions.entries import (
    AnswerLine,
    Ended,
    Heading,
    Line,
    Mark,
    NoteLine,
    ResultLine,
    Said,
    UserLine,
    read_heading,
    read_line,
    write_heading,
    write_line,
)

AT = 1_700_000_000.123
MARK = Mark("m1", Said(0, "hi"), "c1", Ended("answered", "e"), "{}", "Anna", "irc")
LINES: list[Line] = [
    UserLine("hello", AT, MARK),
    AnswerLine(AssistantTurn("a", (ToolCall("1", "read", {"path": "x"}), ToolCall("2", "exec", None, "{"))), AT, MARK),
    ResultLine(ToolTurn("c1", "read", "text", True), AT, MARK),
    NoteLine(AT, MARK),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_every_line_is_read_as_it_was_written(line: Line) -> None:
    data = write_line(line, "0badcafe", "00000001")
    assert data.endswith(b"\n") and data.count(b"\n") == 1
    assert read_line(data) == ("0badcafe", line)


def test_the_shape_is_the_one_users_files_have() -> None:
    entry = msgspec.json.decode(write_line(UserLine("hello", AT, Mark("m1")), "0badcafe", None))
    assert entry == {
        "type": "message",
        "id": "0badcafe",
        "parentId": None,
        "timestamp": "2023-11-14T22:13:20.123Z",
        "message": {"role": "user", "content": [{"type": "text", "text": "hello"}], "timestamp": 1_700_000_000_123},
        "openclaw": {"inbound": "m1"},
    }


def test_the_heading_names_its_session_key() -> None:
    heading = Heading("s1", "agent:main:main", AT)
    data = write_heading(heading, "/ws")
    assert read_heading(data) == heading
    assert msgspec.json.decode(data)["version"] == 3
    assert read_heading(b'{"type":"message"}') is None


def test_lines_of_other_writers_are_understood_or_skipped() -> None:
    foreign = b'{"type":"message","id":"a","message":{"role":"user","content":"plain"}}'
    assert read_line(foreign) == ("a", UserLine("plain", 0.0))
    for data in (b"", b"[]", b"{", b'{"type":"compaction","id":"x"}', b'{"type":"message","message":{"role":"x"}}'):
        assert read_line(data)[1] is None
    damaged = b'{"type":"message","openclaw":{"say":7},"message":{"role":"user","content":"text"}}'
    assert read_line(damaged)[1] == UserLine("text", 0.0)


def test_half_surrogates_do_not_stop_the_writing() -> None:
    data = write_line(UserLine("a\ud800b", AT, Mark("m")), "1", None)
    assert read_line(data)[1] == UserLine("a?b", AT, Mark("m"))


@given(st.binary(max_size=200))
def test_nothing_in_a_file_makes_reading_raise(data: bytes) -> None:
    read_line(data)
    read_heading(data)
