"""Slash commands: what is one, and who may give it (SPEC 4.7, 4.8). Pure.

A command is a whole message. `/new` and `/reset` go to the agent, the others are answered at the door and never reach
a model; `/approve` and `/elevated` take words of their own. Anything else that begins with a slash is text for the
model.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec

from protocol.envelope import Inbound, Peer
from router import access

#: Spelling -> command. `id` and `commands` are other names.
NAMES = {
    "new": "new",
    "reset": "reset",
    "stop": "stop",
    "status": "status",
    "whoami": "whoami",
    "id": "whoami",
    "help": "help",
    "commands": "help",
    "approve": "approve",
    "elevated": "elevated",
}
#: Those that may be followed by text: the first message of the new session.
WITH_TEXT = frozenset({"new", "reset"})
#: Those that may be followed by words for the gateway itself.
WITH_WORDS = frozenset({"approve", "elevated"})
_COMMAND = re.compile(r"/([a-z]+)(?:@(\w{1,64}))?:?(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)
#: A message of only such words stops the running turn.
_ABORT = re.compile(
    r"stop|abort|esc|wait|exit|interrupt|halt|please stop|stop please|stop run|stop agent|stop action|do not do that|"
    r"detente|det[eé]n|arr[êe]te|停止|やめて|止めて|रुको|توقف|стоп|остановись|останови|прекрати|anhalten|aufhören|stopp|"
    r"pare|중지|멈춰|그만|berhenti|stop dulu|hentikan"
)
_LONGEST_ABORT = 40


class Command(NamedTuple):
    """`explicit` is false for an abort word, which is a command only while something runs."""

    name: str
    text: str = ""
    explicit: bool = True


def parse(text: str, mentioned: bool | None = None) -> Command | None:
    """The command that a message is. `/stop@somebot` is ours only where the platform says that it names us."""
    text = text.strip()
    if found := _COMMAND.fullmatch(text):
        name = NAMES.get(found.group(1).lower())
        rest = (found.group(3) or "").strip()
        if name is None or (found.group(2) and not mentioned) or (rest and name not in WITH_TEXT | WITH_WORDS):
            return None
        return Command(name, rest)
    if len(text) <= _LONGEST_ABORT and _ABORT.fullmatch(text.lower().rstrip(" .!?。！？…,;")):
        return Command("stop", explicit=False)
    return None


def may_command(
    section: Mapping[str, Any], settings: Mapping[str, Any], message: Inbound, approved: Collection[str]
) -> bool:
    """Whether the sender may give commands: named in `commands.allowFrom`, else known by name to this account.

    To be let in by an open group lets people talk, not command.
    """
    allowed = section.get("allowFrom")
    if isinstance(allowed, Mapping) and allowed:
        return is_named(message, allowed.get(message.channel) or allowed.get("*"))
    if section.get("useAccessGroups") is False:
        return True
    if message.peer.kind == "direct":
        return is_named(message, [*(settings.get("allowFrom") or ()), *approved])
    return is_named(message, settings.get("groupAllowFrom") or settings.get("allowFrom"))


def is_owner(section: Mapping[str, Any], message: Inbound) -> bool:
    """Whether the sender is in `commands.ownerAllowFrom`; entries are `id` or `channel:id`."""
    return is_named(message, section.get("ownerAllowFrom"))


def is_named(message: Inbound, entries: Any) -> bool:
    """Whether the sender is in a list, by the platform's own way of writing ids."""
    if not isinstance(entries, list | tuple):
        return False
    listed = [str(entry).strip().removeprefix(f"{message.channel}:") for entry in entries]
    personal = msgspec.structs.replace(message, peer=Peer("direct", message.sender.id))
    settings = {"dmPolicy": "allowlist", "allowFrom": [entry for entry in listed if entry]}
    return bool(settings["allowFrom"]) and isinstance(access.decide(settings, personal, (), {}), access.Allow)
