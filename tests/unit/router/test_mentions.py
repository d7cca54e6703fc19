"""Whether a group message is meant for the agent."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from protocol.config import GroupChat, Identity
from protocol.envelope import Address, Inbound, Peer, Quote, Sender
from router import mentions
from router.mentions import Facts, Policy, decide, gate, named_in, patterns, refused, usable
from router.repetition import is_ambiguous


def message(text: str = "hi", **more: Any) -> Inbound:
    fields: dict[str, Any] = {
        "channel": "telegram",
        "account": "default",
        "message_id": "1",
        "peer": Peer("group", "-1"),
        "sender": Sender("7"),
        "text": text,
        "at": 0.0,
        "reply": Address("telegram", "default", "-1"),
    }
    return Inbound(**{**fields, **more})


def test_the_agents_own_patterns_beat_shared_ones_which_beat_its_name() -> None:
    """An empty list of its own is a choice."""
    identity, shared = Identity(name="Sam"), GroupChat(mention_patterns=("shared",))
    assert patterns(GroupChat(mention_patterns=()), shared, identity) == ()
    assert patterns(GroupChat(), shared, identity) == ("shared",)
    assert patterns(GroupChat(), None, identity) == (r"\b@?Sam\b",)


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("Family Bot", "hello @family   bot!", True),
        ("C++ Bot", "the c++ bot", True),
        ("Sam", "the same", False),
        ("Sam", "s\u200bam?", True),
        ("Sam", "\u202esam", True),
        ("Sam", "", False),
    ],
)
def test_a_name_is_found_as_a_word(name: str, text: str, named: bool) -> None:
    """Invisible characters do not hide it, case and inner spaces do not count."""
    assert named_in(text, patterns(GroupChat(), None, Identity(name=name))) is named


def test_an_emoji_is_found_as_it_is() -> None:
    """Also one that is special in a pattern."""
    assert named_in("hey 🦞!", patterns(GroupChat(), None, Identity(emoji="🦞")))
    assert named_in("hey *", patterns(GroupChat(), None, Identity(emoji="*")))


@pytest.mark.parametrize("pattern", ["[", "(?=x)y", r"(a)\1", "(a+)+", "(a|aa)*b", "x" * 3000])
def test_patterns_that_cannot_be_used_are_named_and_left_out(pattern: str) -> None:
    """The others of the list go on working."""
    assert refused([pattern, "sam", ""]) == [pattern]
    assert usable([pattern, " sam "]) == ["sam"]
    assert named_in("SAM", [pattern, "sam"])


def test_a_pattern_cannot_hold_the_router_up() -> None:
    """On a backtracking engine this takes longer than the universe lasts."""
    started = time.perf_counter()
    named_in("a" * 8000 + "!", ["(x+x+)y", "(.*)(.*)(.*)(.*)(.*)[^a!]$"])
    assert time.perf_counter() - started < 2.0


@pytest.mark.parametrize(
    ("pattern", "ambiguous"),
    [
        ("(a+)+", True),
        ("([a-z]+)*", True),
        ("((ab)+c)*", True),
        ("(a|aa)+", True),
        ("(a{1,3}){2,}", True),
        ("(sam)+", False),
        ("(hey|yo) sam", False),
        ("(a|b)*", False),
        (r"\(a+\)+", False),
        ("[(a+)]+", False),
        ("x{2,3}", False),
        ("(?:opus|claude)[,:!]?", False),
    ],
)
def test_ambiguous_repetition_is_recognised(pattern: str, ambiguous: bool) -> None:
    """A repeated group that repeats inside, or whose one branch begins another."""
    assert is_ambiguous(pattern) is ambiguous


def test_a_message_passes_where_it_is_meant_for_us_or_nobody_can_tell() -> None:
    """Native mention, pattern, reply to us; no mentions on the platform and no patterns: the gate is off."""
    wanted = ("sam",)
    assert gate(message("hey sam"), wanted, True)
    assert gate(message(mentioned=True), wanted, True)
    assert gate(message(mentioned=False, quote=Quote("1", from_us=True)), wanted, True)
    assert gate(message(mentioned=None), (), True)
    assert gate(message(mentioned=False), (), False)
    assert not gate(message(mentioned=False), (), True)
    assert not gate(message("hello"), wanted, True)
    assert not gate(message(mentioned=False, quote=Quote("1", from_us=False)), wanted, True)


def test_only_an_authorised_command_passes_without_a_mention() -> None:
    """Every one of its conditions is needed."""
    facts = Facts(can_detect=True, mentioned=False)
    assert decide(facts, Policy(True, True, True, True, True)) == mentions.Decision(False, True, True)
    for values in itertools.product([True, False], repeat=3):
        if not all(values):
            assert decide(facts, Policy(True, True, *values)).skip
    assert decide(Facts(True, False, mentions_anyone=True), Policy(True, True, True, True, True)).skip
