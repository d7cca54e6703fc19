"""What is a command, and who may give one."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.envelope import Address, Inbound, Peer, Sender
from router.commands import Command, is_owner, may_command, parse


def message(sender: str = "7", kind: Any = "direct", channel: str = "telegram") -> Inbound:
    return Inbound(
        channel=channel, account="default", message_id="1", peer=Peer(kind, "7"), sender=Sender(sender), text="/new",
        at=1.0, reply=Address(channel, "default", "7"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/new", Command("new")),
        (" /NEW: plan the week\nplease ", Command("new", "plan the week\nplease")),
        ("/reset", Command("reset")),
        ("/id", Command("whoami")),
        ("/stop", Command("stop")),
        ("/approve 1a2b allow-once", Command("approve", "1a2b allow-once")),
        ("/elevated", Command("elevated")),
        ("/elevated: full", Command("elevated", "full")),
        ("Stop!", Command("stop", explicit=False)),
        ("please stop.", Command("stop", explicit=False)),
        ("그만", Command("stop", explicit=False)),
        ("stop the car", None),
        ("/status of the project", None),
        ("/unknown", None),
        ("please /new", None),
        ("//new", None),
        ("/newer", None),
        ("", None),
    ],
)
def test_a_command_is_a_whole_message(text: str, command: Command | None) -> None:
    assert parse(text) == command


def test_a_command_for_another_bot_is_not_ours() -> None:
    assert parse("/new@other_bot", mentioned=False) is None
    assert parse("/new@our_bot", mentioned=True) == Command("new")


def test_the_open_door_lets_people_talk_not_command() -> None:
    everybody = {"dmPolicy": "pairing", "groupPolicy": "open"}
    assert not may_command({}, everybody, message(kind="group"), ())
    assert not may_command({}, everybody, message(), ())
    assert may_command({}, everybody, message(), ["7"])
    assert not may_command({}, everybody, message(kind="group"), ["7"])
    assert may_command({}, {"allowFrom": ["tg:7"]}, message(kind="group"), ())
    assert not may_command({}, {"allowFrom": ["7"], "groupAllowFrom": ["8"]}, message(kind="group"), ())
    assert may_command({"useAccessGroups": False}, everybody, message(kind="group"), ())


def test_a_list_of_commanders_is_the_only_word() -> None:
    section = {"allowFrom": {"telegram": ["8"], "*": ["7"]}}
    assert not may_command(section, {"allowFrom": ["7"]}, message("7"), ["7"])
    assert may_command(section, {}, message("8"), ())
    assert may_command(section, {}, message("7", channel="irc"), ())


def test_owners_are_named_with_or_without_their_channel() -> None:
    section = {"ownerAllowFrom": ["telegram:7", "whatsapp:+1 555", 9]}
    assert is_owner(section, message("7"))
    assert is_owner(section, message("9"))
    assert is_owner(section, message("1555", channel="whatsapp"))
    assert not is_owner(section, message("7", channel="irc"))
    assert not is_owner({}, message("7"))
