"""From a line to a normalised message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.envelope import Address, Inbound, Peer, Sender
from router.channels.irc.names import Isupport
from router.channels.irc.parse import Context, Question, parse, plain
from router.channels.irc.wire import Line
from router.channels.irc.wire import parse as parse_line

RULES = Isupport(channel_types="#", status_prefixes="@+")
CONTEXT = Context("irc", "work", "Claw", RULES)


def read(raw: str, context: Context = CONTEXT) -> Any:
    line = parse_line(raw.encode())
    assert line is not None
    return parse(line, context, 1000.0, "e.1")


def test_a_direct_message() -> None:
    """Ensure peer, sender and the way back of a private message."""
    assert read(":Ann[x]!~ann@Host PRIVMSG claw :hello") == Inbound(
        channel="irc",
        account="work",
        message_id="e.1",
        peer=Peer("direct", "ann{x}"),
        sender=Sender("ann[x]!~ann@host", "Ann[x]", "Ann[x]!~ann@Host"),
        text="hello",
        at=1000.0,
        reply=Address("irc", "work", "Ann[x]"),
        mentioned=None,
    )


def test_a_channel_message() -> None:
    """Ensure channels are groups with a lower-case id, and mentions are told apart."""
    message = read(":ann!a@h PRIVMSG #Team :claw: hello")
    assert (message.peer, message.mentioned, message.reply.target) == (Peer("group", "#team"), True, "#Team")
    assert read(":ann!a@h PRIVMSG #Team :hello").mentioned is False


def test_a_message_to_the_operators_of_a_channel_is_answered_to_them() -> None:
    """Ensure that what was said among operators is not answered before everybody."""
    message = read(":ann!a@h PRIVMSG @#Team :secret")
    assert (message.peer, message.reply.target) == (Peer("group", "#team"), "@#Team")


def test_tags_give_id_time_and_account() -> None:
    """Ensure that what the server vouches for is used."""
    message = read("@msgid=abc;time=2026-01-02T03:04:05.500Z;account=Ann :nick!a@h PRIVMSG claw :x")
    assert (message.message_id, message.at, message.sender.id) == ("abc", 1767323045.5, "ann")
    assert message.sender.username == "nick!a@h"


@pytest.mark.parametrize("tag", ["", "yesterday", "2026-01-02T03:04:05", "0001-01-01T00:00:00.000Z", "9" * 50])
def test_a_time_that_makes_no_sense_is_ours(tag: str) -> None:
    """Ensure that `at` is always a time."""
    assert read(f"@time={tag} :ann!a@h PRIVMSG claw :x").at == 1000.0


def test_an_id_of_any_length_becomes_one_of_bounded_length() -> None:
    """Ensure ids stay apart and short."""
    first, second = (read(f"@msgid={'x' * 5000}{end} :ann!a@h PRIVMSG claw :x").message_id for end in "ab")
    assert first != second and len(first) == len(second) == 64


@pytest.mark.parametrize("account", ["a!b@c", "*", "a@b", "", "x" * 200])
def test_an_account_cannot_pass_for_a_mask(account: str) -> None:
    """Ensure the two kinds of id never meet."""
    assert read(f"@account={account} :ann!a@h PRIVMSG claw :x").sender.id == "ann!a@h"


def test_a_nick_is_an_id_only_where_the_operator_says_so() -> None:
    """Ensure dangerouslyAllowNameMatching, and that an account is still better."""
    loose = Context("irc", "work", "Claw", RULES, match_by_nick=True)
    assert read(":Ann!a@h PRIVMSG claw :x", loose).sender.id == "ann"
    assert read("@account=real :Ann!a@h PRIVMSG claw :x", loose).sender.id == "real"


@pytest.mark.parametrize(
    "raw",
    [
        ":ann!a@h NOTICE claw :I am a bot",
        ":irc.test PRIVMSG claw :from a server",
        ":CLAW!a@h PRIVMSG ann :our own line",
        ":ann!a@h PRIVMSG claw :",
        ":ann!a@h PRIVMSG claw :\x02\x0304\x0f ",
        ":ann!a@h PRIVMSG claw",
        ":ann!a@h PRIVMSG claw :\x01ACTION\x01",
        f":{'n' * 500}!a@h PRIVMSG claw :x",
        ":ann!a@h JOIN #team",
    ],
)
def test_what_nobody_should_answer_is_nothing(raw: str) -> None:
    """Ensure notices, servers, ourselves and emptiness are dropped."""
    assert read(raw) is None


def test_ctcp() -> None:
    """Ensure ACTION is text and the rest are questions."""
    assert read(":ann!a@h PRIVMSG #team :\x01ACTION waves at claw\x01").text == "* ann waves at claw"
    assert read(":ann!a@h PRIVMSG claw :\x01ping 12 3\x01") == Question("ann", "PING", "12 3")
    assert read(":ann!a@h PRIVMSG claw :\x01DCC SEND x 1 2") == Question("ann", "DCC", "SEND x 1 2")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x02bold\x02 \x1di\x1d \x1fu\x1f \x1es\x1e \x11m\x11 \x16r\x16\x0f", "bold i u s m r"),
        ("\x0304,12red\x03 \x031 \x03", "red"),
        ("\x03123", "3"),
        ("\x04ff00aahex\x04", "hex"),
        ("tab\there \x07bell", "tab\there bell"),
    ],
)
def test_formatting_is_stripped(text: str, expected: str) -> None:
    """Ensure mIRC codes vanish with their numbers and nothing else does."""
    assert plain(text) == expected


@given(st.text(max_size=300), st.dictionaries(st.sampled_from(["msgid", "time", "account"]), st.text(max_size=300)))
def test_no_text_or_tag_breaks_the_parser(text: str, tags: dict[str, str]) -> None:
    """Ensure that a stranger cannot raise an error here, nor leave control characters."""
    message = parse(Line("PRIVMSG", ("claw", text), "ann!a@h", tags), CONTEXT, 1.0, "e.1")
    if isinstance(message, Inbound):
        assert not set(message.text) & {"\r", "\n", "\0", "\x01", "\x02"}
        assert message.message_id and message.at > 0
