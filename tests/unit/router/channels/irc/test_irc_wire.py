"""Lines of IRC: reading is lenient and bounded, writing is strict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.channels.irc.wire import MAX_LINE, Line, LineBuffer, LineTooLong, build, parse


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"PING :tok en", Line("PING", ("tok en",))),
        (b":irc.test 001 bob :Welcome", Line("001", ("bob", "Welcome"), "irc.test")),
        (b":a!b@c PRIVMSG #x ::)", Line("PRIVMSG", ("#x", ":)"), "a!b@c")),
        (b":a!b@c  privmsg   #x  hi", Line("PRIVMSG", ("#x", "hi"), "a!b@c")),
        (b"@a=b\\:c\\s\\\\d\\n;e;f= :s X :", Line("X", ("",), "s", {"a": "b;c \\d\n", "e": "", "f": ""})),
        (b"PRIVMSG #x :gr\xfc\xdfe", Line("PRIVMSG", ("#x", "grüße"))),
        (b"PING x\0QUIT", Line("PING", ("x",))),
    ],
)
def test_a_line_is_read(raw: bytes, expected: Line) -> None:
    """Ensure tags, source, command and parameters come apart as RFC 1459 and IRCv3 say."""
    assert parse(raw) == expected


@pytest.mark.parametrize("raw", [b"", b" ", b"@a", b"@a=b", b":src", b"@a :src ", b"\r"])
def test_a_line_without_a_command_is_nothing(raw: bytes) -> None:
    """Ensure that nonsense is None, not an exception."""
    assert parse(raw) is None


@given(st.binary(max_size=600))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    """Ensure that whatever a server sends is read or ignored."""
    line = parse(raw)
    assert line is None or (line.param(99) == "" and line.param(-99) == "")


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=40)))
def test_what_is_built_is_read_back(params: list[str]) -> None:
    """Ensure that parameters cross unchanged or not at all."""
    try:
        raw = build("CMD", *params)
    except ValueError:
        return
    assert raw.endswith(b"\r\n") and raw.count(b"\n") == 1 and len(raw) <= 512
    line = parse(raw[:-2])
    assert line is not None and line.command == "CMD" and list(line.params) == params


@pytest.mark.parametrize(
    "params", [("a\r\nQUIT",), ("a\nb", "c"), ("a\0",), ("a b", "c"), (":a", "c"), ("", "c"), ("x" * 512,)]
)
def test_nothing_can_be_injected(params: tuple[str, ...]) -> None:
    """Ensure that what would be read as something else cannot be written."""
    with pytest.raises(ValueError, match="IRC"):
        build("PRIVMSG", *params)


@given(st.lists(st.binary(max_size=30)))
def test_cuts_in_the_stream_do_not_matter(parts: list[bytes]) -> None:
    """Ensure that lines are the same however the bytes arrive."""
    buffer, whole = LineBuffer(), LineBuffer()
    pieces = [line for part in parts for line in buffer.feed(part)]
    assert pieces == whole.feed(b"".join(parts))


def test_a_line_without_end_is_refused() -> None:
    """Ensure that a server cannot make us hold more than one longest line."""
    buffer = LineBuffer()
    assert buffer.feed(b"x" * MAX_LINE) == []
    with pytest.raises(LineTooLong):
        buffer.feed(b"x")
