"""Who hears a broadcast, and in which session."""

from __future__ import annotations

from typing import Any

from protocol.config import Session
from protocol.envelope import Address, Inbound, Peer, Sender
from router import broadcast

AGENTS = ("a", "b", "work-agent")


def message(peer: str, kind: Any = "group", channel: str = "whatsapp", parent: str = "") -> Inbound:
    return Inbound(
        channel=channel, account="default", message_id="1", peer=Peer(kind, peer), sender=Sender("+1"), text="hi",
        at=1.0, reply=Address(channel, "default", peer), parent_peer=Peer("channel", parent) if parent else None,
    )  # fmt: skip


def heard(section: dict[str, Any], one: Inbound) -> tuple[str, ...]:
    return broadcast.listeners(broadcast.build(section, AGENTS), one)


def test_a_group_is_named_by_its_id_or_with_its_channel_before() -> None:
    assert heard({"g@g.us": ["b", "a"]}, message("g@g.us")) == ("b", "a")
    assert heard({"whatsapp:g": ["a"], "g": ["b"]}, message("g")) == ("a",)
    assert heard({"telegram:g": ["a"]}, message("g")) == ()
    assert heard({"+1": ["a", "b"]}, message("+1", "direct")) == ("a", "b")


def test_a_thread_belongs_to_its_parents_group() -> None:
    assert heard({"discord:room": ["a"]}, message("thread", "channel", "discord", parent="room")) == ("a",)
    assert heard({"discord:room": ["a"], "thread": ["b"]}, message("thread", "channel", "discord", "room")) == ("b",)


def test_unknown_agents_are_left_out_and_told() -> None:
    table = broadcast.build({"strategy": "sequential", "g": ["a", "ghost", "Work Agent", "a"], "h": ["ghost"]}, AGENTS)
    assert table.sequential
    assert table.unknown == (("g", "ghost"), ("h", "ghost"))
    assert broadcast.listeners(table, message("g")) == ("a", "work-agent")
    assert broadcast.listeners(table, message("h")) == ()


def test_those_called_by_name_run_alone_else_everybody() -> None:
    assert broadcast.addressed(("a", "b"), {"b"}) == ("b",)
    assert broadcast.addressed(("a", "b"), set()) == ("a", "b")


def test_every_agent_has_a_session_of_its_own() -> None:
    assert broadcast.session_key("a", message("G@g.us"), Session()) == "agent:a:whatsapp:group:g@g.us"
    assert broadcast.session_key("a", message("+1", "direct"), Session(main_key="home")) == "agent:a:home"
    assert broadcast.session_key("a", message("+1", "direct"), Session(dm_scope="per-peer")) == "agent:a:direct:+1"
