"""What platforms, their users and model vendors send: read, refused in words, or nothing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.envelope import MAX_TEXT, Inbound
from router.channels.irc import parse as irc
from router.channels.irc import wire
from router.channels.irc.names import Isupport, merge
from router.channels.telegram import connect
from router.channels.telegram import parse as telegram
from tests.fuzz.making import JSON, TEXTS, cut, encoded, of, spoilt
from tests.fuzz.support import fuzz, peak, within
from worker.llm.base import ModelRefused
from worker.llm.sse import MAX_EVENT, Event, Parser

ME = telegram.Me(1, "bot", "Bot")
UPDATES = st.lists(of(telegram.Update), min_size=1, max_size=2)


def bounded(message: Inbound) -> None:
    """Whatever a stranger sends, what goes on is small and comes back from the spool as it was."""
    data = msgspec.json.encode(message)
    assert len(message.text) <= MAX_TEXT
    assert len(data) < 20 * MAX_TEXT
    assert msgspec.json.decode(data, type=Inbound) == message


# --- telegram ----------------------------------------------------------------------------------------------------


@fuzz(250)
@given(encoded(spoilt(UPDATES)) | cut(encoded(UPDATES)) | encoded(JSON))
def test_any_answer_to_get_updates_is_read_or_refused(data: bytes) -> None:
    """A strange update among good ones costs only itself."""
    with within():
        try:
            updates = connect.decode_updates(msgspec.Raw(data))
        except connect._Trouble:
            return
        for update in updates:
            if message := telegram.parse(update, "default", ME):
                bounded(message)


PEOPLE = st.fixed_dictionaries({"id": st.integers(1, 9), "first_name": TEXTS}, optional={"username": TEXTS})
CHATS = st.fixed_dictionaries(
    {"id": st.integers(-9, 9), "type": st.sampled_from(["private", "group", "supergroup", "channel"])},
    optional={"title": TEXTS, "is_forum": st.booleans()},
)
ENTITIES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["mention", "bot_command", "text_mention", "bold"]),
        "offset": st.integers(-3, 40),
        "length": st.integers(-3, 40) | st.just(2**63),
    },
    optional={"user": PEOPLE},
)
MESSAGES = st.fixed_dictionaries(
    {"message_id": st.integers(1, 9), "date": st.integers(0, 2**40), "chat": CHATS},
    optional={
        "from": PEOPLE,
        "text": TEXTS | st.just("/start@bot x") | st.just("👩‍👩‍👧 @bot"),
        "caption": TEXTS,
        "entities": st.lists(ENTITIES, max_size=3),
        "caption_entities": st.lists(ENTITIES, max_size=3),
        "message_thread_id": st.integers(0, 9),
        "is_topic_message": st.booleans(),
        "reply_to_message": st.fixed_dictionaries({"message_id": st.integers(1, 9), "date": st.just(1), "chat": CHATS}),
    },
)


@fuzz(300)
@given(MESSAGES)
def test_odd_messages_become_bounded_ones(message: dict[str, object]) -> None:
    """Entities that point outside the text or into the middle of a character, empty names, topics of no forum."""
    update = msgspec.json.decode(msgspec.json.encode({"update_id": 1, "message": message}), type=telegram.Update)
    with within():
        if found := telegram.parse(update, "default", ME):
            bounded(found)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'[{"update_id":1,"message":' + b'{"message_id":1,"date":1,"chat":{"id":1},"reply_to_message":' * 5_000,
        b'[{"update_id":1,"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}]",
        b'[{"update_id":1,"message":{"message_id":1,"chat":{"id":1,"type":"private"},"text":"x","date":'
        + b"9" * 400
        + b"}}]",
        b'[{"update_id":' + b"9" * 5_000 + b"}]",
    ],
)
def test_an_answer_that_is_nested_or_long_without_end_is_trouble_and_no_crash(data: bytes) -> None:
    with within():
        try:
            updates = connect.decode_updates(msgspec.Raw(data))
        except connect._Trouble:
            return
        for update in updates:
            telegram.parse(update, "default", ME)


# --- irc ---------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        *(
            b"@msgid=x;time=2020-01-01T00:00:00Z;account=a ",
            b"@time=9999-99-99Z ",
            b"@time=0001-01-01T00:00:00Z ",
            b"@a=",
        ),
        *(
            b":nick!user@host ",
            b":server ",
            b":!",
            b"PRIVMSG ",
            b"005 ",
            b"#room ",
            b"@#room ",
            b"me ",
            b":",
            b" ",
            b"\\",
        ),
        *(
            b"\x01ACTION ",
            b"\x01",
            b"\x0304,05",
            b"\x04ff0000",
            b"\x02",
            b"hello",
            b"\xff\xfe",
            b"\xc3\xa9",
            b"\r",
            b"\0",
        ),
    ]
)
LINES = st.lists(WORDS | st.binary(max_size=4), max_size=12).map(b"".join)
TOKENS = st.sampled_from(
    ["CASEMAPPING=ascii", "CASEMAPPING=", "CHANTYPES=", "STATUSMSG=@+", "NICKLEN=99999999", "-X", "LINELEN=x"]
)


@fuzz(500)
@given(LINES, st.lists(TOKENS, max_size=3), st.booleans())
def test_any_line_is_a_message_a_question_or_nothing(raw: bytes, tokens: list[str], by_nick: bool) -> None:
    """Whatever the server said before about itself."""
    context = irc.Context("irc", "default", "me", merge(Isupport(), tokens), by_nick)
    with within():
        line = wire.parse(raw)
        found = None if line is None else irc.parse(line, context, 1.0, "id")
    if isinstance(found, Inbound):
        bounded(found)
        assert not set(found.text) & set("\r\n\0\x01\x02\x03")


@fuzz(100)
@given(st.lists(LINES | st.just(b"\r\n") | st.just(b"a" * 5_000), max_size=8))
def test_a_stream_is_cut_into_lines_or_refused(pieces: list[bytes]) -> None:
    buffer = wire.LineBuffer()
    with within():
        try:
            lines = [line for piece in pieces for line in buffer.feed(piece)]
        except wire.LineTooLong:
            return
    assert all(len(line) <= wire.MAX_LINE for line in lines)


# --- models ------------------------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.sampled_from(
        [b"data: ", b"data", b"event:", b":", b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b"{}", b"\xff", b"id: 1", b"x"]
    ),
    max_size=30,
)


def fed(parser: Parser, pieces: list[bytes]) -> list[Event]:
    return [event for piece in pieces for event in parser.feed(piece)]


@fuzz(300)
@given(EVENTS)
def test_an_event_stream_means_the_same_however_it_is_cut(pieces: list[bytes]) -> None:
    """In one piece, as it came, and byte by byte; the last CR may be half of a line end."""
    whole = b"".join(pieces) + b"\n"
    with within():
        found = fed(Parser(), [*pieces, b"\n"])
        assert found == fed(Parser(), [whole]) == fed(Parser(), [whole[at : at + 1] for at in range(len(whole))])


@pytest.mark.parametrize("piece", [b"data: x\n", b"data:\n", b"x", b"\r", b":\n", b"event: x\n"])
def test_an_event_that_never_ends_is_refused_before_it_fills_the_memory(piece: bytes) -> None:
    """Short lines cost more than their bytes, but only so much more."""

    def endless() -> None:
        parser = Parser(limit=MAX_EVENT // 16)
        for _ in range(MAX_EVENT // 8 // 4096):
            parser.feed(piece * (4096 // len(piece)))

    with within(20):
        try:
            assert peak(endless) < 100 * MAX_EVENT // 16
        except ModelRefused:
            return
