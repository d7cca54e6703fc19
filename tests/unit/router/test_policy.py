"""What group, channel and sender leave of an agent's tools (SPEC 5.6 step 7), and who counts as owner."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.config import ToolList
from protocol.envelope import Address, Inbound, Peer, Relayed, Sender
from protocol.messages import Grant
from router.policy import conversation_layers, grant

DENY, ALLOW = {"deny": ["exec"]}, {"allow": ["read"]}
DENIED, ALLOWED = ToolList(deny=("exec",)), ToolList(allow=("read",))


def message(channel: str = "whatsapp", chat: str = "g", sender: str = "7", **fields: Any) -> Inbound:
    given: dict[str, Any] = {"peer": Peer("group", chat), "sender": Sender(sender, "Ann", "ann"), **fields}
    return Inbound(
        channel=channel, account="default", message_id="1", text="", at=1.0, reply=Address(channel, "default", chat),
        **given,
    )  # fmt: skip


def layers(one: Inbound, **settings: Any) -> list[ToolList]:
    return list(conversation_layers(one, settings, settings))


def test_a_direct_message_has_no_layer() -> None:
    assert layers(message(peer=Peer("direct", "g")), groups={"g": {"tools": DENY}, "*": {"tools": DENY}}) == []


def test_the_groups_own_entry_goes_before_that_of_all() -> None:
    groups = {"g": {"tools": DENY}, "*": {"tools": ALLOW}}
    assert layers(message(), groups=groups) == [DENIED]
    assert layers(message(chat="other"), groups=groups) == [ALLOWED]
    assert layers(message(chat="other"), groups={"g": {"tools": DENY}}) == []


def test_an_entry_that_says_nothing_of_tools_leaves_it_to_the_next() -> None:
    assert layers(message(), groups={"g": {"requireMention": False}, "*": {"tools": DENY}}) == [DENIED]


def test_the_sender_goes_before_his_group() -> None:
    groups = {"g": {"tools": DENY, "toolsBySender": {"+49 170 1": ALLOW}}}
    assert layers(message(sender="491701@s.whatsapp.net"), groups=groups) == [ALLOWED]
    assert layers(message(sender="491702"), groups=groups) == [DENIED]


@pytest.mark.parametrize("entry", ["7", "id:7", "ID:7", "tg:7", "telegram:7", "channel:7"])
def test_senders_are_named_by_their_id(entry: str) -> None:
    one = message("telegram", "-100")
    assert layers(one, groups={"-100": {"toolsBySender": {entry: DENY}}}) == [DENIED]


@pytest.mark.parametrize("entry", ["77", "@ann", "ann", "", "id:", "e164:7", "e164:+7"])
def test_nobody_is_named_by_anything_else(entry: str) -> None:
    one = message("telegram", "-100")
    assert layers(one, groups={"-100": {"toolsBySender": {entry: ALLOW}, "tools": DENY}}) == [DENIED]


def test_everybody_else_has_an_entry_of_its_own() -> None:
    by_sender = {"id:7": ALLOW, "*": DENY}
    assert layers(message(), groups={"g": {"toolsBySender": by_sender}}) == [ALLOWED]
    assert layers(message(sender="8"), groups={"g": {"toolsBySender": by_sender}}) == [DENIED]


def test_a_name_only_ever_takes_tools_away() -> None:
    by_sender = {"username:@Ann": ALLOW, "name:Ann": {"alsoAllow": ["exec"]}}
    found = layers(message(), groups={"g": {"tools": DENY, "toolsBySender": by_sender}})
    assert found == [DENIED, ALLOWED, ToolList(also_allow=("exec",))]


def test_a_topic_goes_before_its_group() -> None:
    topic = message("telegram", "-100:topic:5", parent_peer=Peer("group", "-100"))
    groups = {"-100": {"tools": ALLOW, "topics": {"5": {"tools": DENY}}}}
    assert layers(topic, groups=groups) == [DENIED]
    other = message("telegram", "-100:topic:6", parent_peer=Peer("group", "-100"))
    assert layers(other, groups=groups) == [ALLOWED]


def test_what_the_channel_forbids_in_a_group_is_forbidden_to_every_bot() -> None:
    section = {"groups": {"-100": {"tools": DENY}}, "accounts": {"default": {}, "work": {}}}
    merged: dict[str, Any] = {"groups": {"-100": {}}}
    assert list(conversation_layers(message("telegram", "-100"), section, merged)) == [DENIED]
    own = {**section, "accounts": {"default": {"groups": {"-100": {"tools": ALLOW}}}, "work": {}}}
    assert list(conversation_layers(message("telegram", "-100"), own, merged)) == [ALLOWED]


def test_a_discord_channel_goes_before_its_guild() -> None:
    one = message("discord", "c", peer=Peer("channel", "c"), guild_id="G")
    guild = {"tools": ALLOW, "channels": {"c": {"tools": DENY}}}
    assert layers(one, guilds={"G": guild}) == [DENIED]
    assert layers(one, guilds={"G": {"tools": ALLOW, "channels": {"d": {"tools": DENY}}}}) == [ALLOWED]
    assert layers(one, guilds={"*": {"tools": ALLOW}}) == [ALLOWED]
    thread = message("discord", "t", peer=Peer("channel", "t"), parent_peer=Peer("channel", "c"), guild_id="G")
    assert layers(thread, guilds={"G": guild}) == [DENIED]


def test_group_names_are_found_without_regard_to_case() -> None:
    assert layers(message("irc", "#chan"), groups={"#Chan": {"tools": DENY}}) == [DENIED]
    assert layers(message("slack", "C1"), channels={"c1": {"tools": DENY}}) == [DENIED]


@pytest.mark.parametrize("broken", ["exec", 5, ["exec"], {"deny": 5}])
def test_a_list_that_cannot_be_read_lets_nothing_through(broken: object) -> None:
    assert layers(message(), groups={"g": {"tools": broken}}) == [ToolList(deny=("*",))]


def granted(one: Inbound, **fields: Any) -> Grant:
    given: dict[str, Any] = {"operator": False, "orders": {}, "section": {}, "settings": {}, **fields}
    return grant(one, **given)


def test_an_owner_is_whoever_is_listed_and_the_operator() -> None:
    orders = {"ownerAllowFrom": ["whatsapp:+7"]}
    assert granted(message(), orders=orders).owner
    assert not granted(message(sender="8"), orders=orders).owner
    assert not granted(message()).owner
    assert granted(message(sender="8"), operator=True).owner


def test_a_message_of_another_session_has_the_rights_of_the_person_at_its_beginning_and_no_more() -> None:
    relayed = Relayed(agent="a", session_key="agent:a:main", layers=(DENIED,))
    one = message(relayed=relayed)
    orders = {"ownerAllowFrom": ["7"]}
    assert granted(one, orders=orders, elevated="full", operator=True) == Grant(layers=(DENIED,))
