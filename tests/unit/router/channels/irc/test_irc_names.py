"""Names: casemapping, server rules, mentions."""

from __future__ import annotations

import pytest

from router.channels.irc.names import (
    Isupport,
    alternate,
    fold,
    is_channel,
    is_mentioned,
    is_nick,
    merge,
    without_status,
)


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [("ascii", "ab[]\\~{}|^"), ("rfc1459", "ab{}|^{}|^"), ("strict-rfc1459", "ab{}|~{}|^"), ("unknown", "ab[]\\~{}|^")],
)
def test_names_are_folded_as_the_server_does(mapping: str, expected: str) -> None:
    """Ensure each CASEMAPPING of numeric 005."""
    assert fold("AB[]\\~{}|^", mapping) == expected


def test_server_rules_are_merged_over_lines() -> None:
    """Ensure that later 005 lines add, and broken values change nothing."""
    rules = merge(Isupport(), ["CASEMAPPING=ASCII", "CHANTYPES=#", "NICKLEN=30", "STATUSMSG=@+", "-SILENCE", "X"])
    assert merge(rules, ["NICKLEN=many", "LINELEN=2"]) == Isupport("ascii", "#", "@+", 30, 512)


def test_channels_are_told_from_people() -> None:
    """Ensure channel signs and status prefixes are read as the server says."""
    rules = Isupport(channel_types="#", status_prefixes="@+")
    assert is_channel("#a", rules) and not is_channel("&a", rules) and not is_channel("", rules)
    assert (without_status("@#a", rules), without_status("@bob", rules)) == ("#a", "@bob")


@pytest.mark.parametrize("nick", ["bob", "[bot]", "a-1", "_x", "x" * 64])
def test_a_nick_is_a_nick(nick: str) -> None:
    """Ensure usual nicks are taken."""
    assert is_nick(nick)


@pytest.mark.parametrize("nick", ["", "1bob", "-bob", "bo b", "bob\n", "bób", "bob!", "x" * 65, "#bob"])
def test_what_is_no_nick_is_refused(nick: str) -> None:
    """Ensure nothing that breaks a line or names a channel passes."""
    assert not is_nick(nick)


def test_other_nicks_are_near_the_wanted_one() -> None:
    """Ensure underscores first, then short ones for servers with short nicks."""
    assert [alternate("clawbotlong", attempt) for attempt in (1, 2, 3)] == ["clawbotlong_", "clawbotlong__", "clawbot3"]


@pytest.mark.parametrize("text", ["bob: hi", "BOB, hi", "hi bob!", "@bob", "hey bob", "bob", "(bob)", "ask bob."])
def test_a_mention_is_a_word_of_its_own(text: str) -> None:
    """Ensure the nick is found at the start, the end and in between, without case."""
    assert is_mentioned("bob", text, "ascii")


@pytest.mark.parametrize("text", ["bobby", "kbob", "bob_ hi", "bob-2", "", "[bob]"])
def test_a_longer_nick_is_no_mention(text: str) -> None:
    """Ensure that another nick which holds ours is not taken for it."""
    assert not is_mentioned("bob", text, "ascii")


def test_mentions_follow_the_casemapping() -> None:
    """Ensure [bot] and {BOT} are one nick where the server says so."""
    assert is_mentioned("[bot]", "hey {BOT}!", "rfc1459")
    assert not is_mentioned("[bot]", "hey {BOT}!", "ascii")
