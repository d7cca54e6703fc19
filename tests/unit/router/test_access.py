"""Who may talk, through the one door that the router uses (the rules themselves are held by the vectors)."""

from __future__ import annotations

from typing import Any

import hypothesis
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.envelope import Address, Inbound, Peer, Sender
from router.access import Allow, Ignore, OfferPairing, Verdict, decide
from router.access.entries import lists, normalize
from router.access.telegram import judge_group


def message(channel: str = "telegram", kind: str = "direct", **more: Any) -> Inbound:
    fields: dict[str, Any] = {
        "channel": channel,
        "account": "default",
        "message_id": "1",
        "peer": Peer(kind, "7"),  # type: ignore[arg-type]
        "sender": Sender("7"),
        "text": "hi",
        "at": 0.0,
        "reply": Address(channel, "default", "7"),
    }
    return Inbound(**{**fields, **more})


def ask(settings: dict[str, Any], wanted: Inbound, approved: tuple[str, ...] = ()) -> Verdict:
    return decide(settings, wanted, frozenset(approved), {})


def group(channel: str = "telegram", sender: str = "7", id: str = "-100") -> Inbound:
    return message(channel, "group", peer=Peer("group", id), sender=Sender(sender))


@pytest.mark.parametrize("channel", ["telegram", "irc", "whatsapp", "discord", "signal", "slack"])
def test_a_stranger_is_offered_pairing_where_nothing_is_configured(channel: str) -> None:
    """The safe default of every platform."""
    assert isinstance(ask({}, message(channel, sender=Sender("555"))), OfferPairing)


@pytest.mark.parametrize("channel", ["telegram", "irc", "whatsapp", "discord", "signal", "slack"])
def test_an_approved_sender_may_write_privately_but_not_in_a_closed_group(channel: str) -> None:
    """Pairing never opens groups; under the policy allowlist it does not count either."""
    wanted = message(channel, sender=Sender("555"))
    assert isinstance(ask({}, wanted, ("555",)), Allow)
    assert isinstance(ask({"dmPolicy": "allowlist"}, wanted, ("555",)), Ignore)
    settings = {"groupPolicy": "allowlist", "groups": {"*": {}}}
    assert isinstance(decide(settings, group(channel, "555"), frozenset({"555"}), {}), Ignore)


def test_a_disabled_account_hears_nobody() -> None:
    """Whatever else is set."""
    settings = {"enabled": False, "dmPolicy": "open", "allowFrom": ["*"]}
    assert ask(settings, message()) == Ignore("account is disabled")


def test_groups_without_a_word_are_closed_on_irc_and_open_on_telegram() -> None:
    """As in the original; `channels.defaults.groupPolicy` speaks for both."""
    assert isinstance(ask({}, group("irc", id="#room")), Ignore)
    assert ask({}, group("telegram")) == Allow(require_mention=True)
    assert isinstance(decide({}, group("telegram"), frozenset(), {"groupPolicy": "disabled"}), Ignore)


def test_an_irc_room_is_found_whatever_its_case() -> None:
    """IRC names have no case; entries may carry the channel's name."""
    settings = {"groupPolicy": "allowlist", "groups": {"#Room": {"requireMention": False}}, "allowFrom": ["irc:Ann"]}
    assert ask(settings, group("irc", "ann", "#room")) == Allow(False, "group_policy_allowed")
    assert ask(settings, group("irc", "bob", "#room")) == Ignore("group_policy_not_allowlisted")
    assert ask(settings, group("irc", "ann", "#other")) == Ignore("group-not-listed")


def test_a_telegram_topic_overrides_its_group() -> None:
    """Topic over group over `*` over account."""
    groups = {
        "*": {"requireMention": False},
        "-100": {"topics": {"42": {"requireMention": False}, "43": {"enabled": False}}, "requireMention": True},
    }

    def needs(topic: str, chat: str = "-100") -> Any:
        return judge_group({"groups": groups}, {}, "7", chat, topic).verdict

    assert [needs("42"), needs("1"), needs("", "-200")] == [Allow(False), Allow(True), Allow(False)]
    assert needs("43") == Ignore("group-disabled")


def test_a_topic_of_a_group_is_admitted_with_its_group() -> None:
    """The peer of a topic is `<chat>:topic:<n>`, its parent the chat."""
    topic = group(id="-100:topic:42")
    wanted = msgspec.structs.replace(topic, parent_peer=Peer("group", "-100"))
    settings = {"groupPolicy": "allowlist", "groups": {"-100": {}}}
    assert ask(settings, wanted) == Allow(True)


def test_a_discord_thread_belongs_to_its_channel() -> None:
    """A guild message; without a guild it is a group chat."""
    settings = {"groupPolicy": "allowlist", "guilds": {"g": {"channels": {"c": {"allow": True, "roles": ["r"]}}}}}
    thread = msgspec.structs.replace(group("discord", id="t"), guild_id="g", parent_peer=Peer("channel", "c"))
    assert ask(settings, thread) == Ignore("member-not-allowed")
    assert ask(settings, msgspec.structs.replace(thread, roles=("r",))) == Allow(True)
    assert ask(settings, msgspec.structs.replace(thread, parent_peer=None)) == Ignore("group-policy")


def test_a_channel_that_is_not_allowed_by_the_old_word_is_closed() -> None:
    """D7: `allow: false` is `enabled: false`."""
    settings = {"guilds": {"g": {"channels": {"c": {"allow": False}}}}}
    wanted = msgspec.structs.replace(group("discord", id="c"), guild_id="g")
    assert ask(settings, wanted) == Ignore("channel-disabled")


@pytest.mark.parametrize(
    ("channel", "entry", "sender"),
    [
        ("telegram", "TG:555", "555"),
        ("telegram", "telegram: 555", "555"),
        ("whatsapp", "+1 (555) 123-4567", "15551234567@s.whatsapp.net"),
        ("whatsapp", "whatsapp:+15551234567", "+15551234567"),
        ("discord", "<@!555>", "555"),
        ("discord", "User:555", "555"),
        ("signal", "signal:+4915112345678", "+49 151 12345678"),
        ("signal", "uuid:6f1f7c52-0000-4000-8000-00000000ABCD", "6f1f7c52-0000-4000-8000-00000000abcd"),
        ("slack", "slack:U123", "u123"),
    ],
)
def test_entries_are_the_same_person_in_every_spelling(channel: str, entry: str, sender: str) -> None:
    """SPEC 4.5, "Normalisation of allowlist entries"."""
    assert lists(channel, sender, [entry])


@pytest.mark.parametrize("name", ["@alice", "alice", "-100777", "", "٣"])
def test_a_name_never_matches_on_telegram(name: str) -> None:
    """Names are chosen by strangers and recycled; digits are ASCII digits."""
    assert normalize("telegram", name) == ""
    assert not lists("telegram", name, [name])


entries = st.lists(st.text(max_size=8) | st.integers() | st.none() | st.booleans(), max_size=4)


@hypothesis.settings(deadline=None)
@given(
    st.sampled_from(["telegram", "irc", "whatsapp", "discord", "signal"]),
    st.sampled_from(["direct", "group"]),
    st.fixed_dictionaries(
        {},
        optional={
            "allowFrom": entries,
            "groupAllowFrom": entries | st.text(max_size=3),
            "groups": st.dictionaries(st.text(max_size=4), st.none() | st.just({"allowFrom": ["x"]}), max_size=2),
            "guilds": st.none() | st.dictionaries(st.text(max_size=2), st.none(), max_size=1),
        },
    ),
    st.text(max_size=8),
)
def test_no_config_that_passed_as_json_can_make_a_decision_fail(
    channel: str, kind: str, settings: dict[str, Any], sender: str
) -> None:
    """Channel sections are kept as they are written, so odd values arrive here; and nobody is let in by them."""
    wanted = message(channel, kind, sender=Sender(sender))
    closed = {"dmPolicy": "disabled", "groupPolicy": "disabled", **settings}
    assert not isinstance(decide(closed, wanted, frozenset(), {}), Allow)
    decide(settings, wanted, frozenset(), {})
