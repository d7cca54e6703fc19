"""Allowlist entries: one form for what a config and a platform call the same person. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

ANY = "*"
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_MENTION = re.compile(r"<@!?(\d+)>")
_DISCORD_PREFIX = re.compile(r"(?:discord|user|pk):", re.IGNORECASE)
_TELEGRAM_PREFIX = re.compile(r"(?:telegram|tg):", re.IGNORECASE)


def texts(entries: Any) -> list[str]:
    """The entries as trimmed text, blanks dropped; numbers are ids too."""
    found = entries if isinstance(entries, list | tuple | set | frozenset) else ()
    written = (str(entry).strip() for entry in found if isinstance(entry, str | int) and not isinstance(entry, bool))
    return [entry for entry in written if entry]


def group_entries(group: Any, direct: Any) -> Any:
    """`groupAllowFrom`, or `allowFrom` where that is absent or has no elements. Blank elements are elements."""
    return group if isinstance(group, list | tuple) and group else direct


def lists(channel: str, sender: str, entries: Iterable[str]) -> bool:
    """Whether the sender is one of the entries, or everybody is."""
    wanted = normalize(channel, sender)
    found = {entry if entry == ANY else normalize(channel, entry) for entry in entries}
    return ANY in found or (wanted != "" and wanted in found)


def normalize(channel: str, entry: str) -> str:
    """The form in which entries and senders of this channel are compared; "" for what can never match."""
    entry = entry.strip()
    match channel:
        case "telegram":
            entry = _TELEGRAM_PREFIX.sub("", entry, count=1).strip()
            return entry if entry.isascii() and entry.isdigit() else ""
        case "whatsapp":
            return _phone(_without(entry, "whatsapp:").partition("@")[0])
        case "discord":
            return _discord(entry)
        case "signal":
            return _signal(_without(entry, "signal:"))
    return _without(entry, f"{channel}:").lower()


def missing_from(channel: str, sender: str, entries: Collection[str]) -> bool:
    """Whether there is a list and the sender is not on it."""
    return bool(entries) and not lists(channel, sender, entries)


def _without(entry: str, prefix: str) -> str:
    return entry[len(prefix) :].strip() if entry.lower().startswith(prefix) else entry


def _phone(entry: str) -> str:
    digits = "".join(char for char in entry if char.isascii() and char.isdigit())
    return f"+{digits}" if digits else ""


def _discord(entry: str) -> str:
    """A user id; names are chosen by their owners and never match."""
    if mention := _MENTION.fullmatch(entry):
        return mention.group(1)
    return _DISCORD_PREFIX.sub("", entry, count=1).strip()


def _signal(entry: str) -> str:
    """Phone numbers and uuids are two namespaces: a number never equals a uuid."""
    bare = _without(entry, "uuid:").lower()
    if bare != entry.lower() or _UUID.fullmatch(bare):
        return f"uuid:{bare.replace('-', '')}"
    return _phone(entry)
