"""Which tools a message lets its agent use: the router's own answer, asked before every request is done. Pure.

The worker decides the same for itself; whoever has taken a worker over gets past that, and not past this. The layers
of the agent come from the supervisor, those of the conversation and its sender are read here (SPEC 5.6 step 7), and a
message that another session wrote may do what the person at its beginning may.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from protocol.accounts import own_settings
from protocol.config import ToolList
from protocol.envelope import Inbound
from protocol.messages import Elevated, Grant
from protocol.sandbox import HOST
from protocol.slices import ToolRules
from protocol.tool_policy import for_turn
from router import commands
from router.access.entries import ANY, normalize

#: Names can be chosen by strangers: an entry of this kind takes tools away, and never gives any.
_BY_NAME = ("username:", "name:")
#: Where people are known by their phone numbers; elsewhere a number may be anybody's id.
_BY_PHONE = frozenset({"whatsapp", "signal", "imessage", "bluebubbles"})
#: What a list of tools that nobody can read lets through.
_NOTHING = ToolList(deny=(ANY,))


def grant(
    message: Inbound,
    *,
    operator: bool,
    orders: Mapping[str, Any],
    section: Mapping[str, Any],
    settings: Mapping[str, Any],
    elevated: Elevated = "off",
) -> Grant:
    """What the sender may have the agent do. `orders` is the `commands` section, `section` that of the channel.

    `operator` is whoever holds the gateway's token: the owner, wherever he writes.
    """
    if message.relayed is not None:
        return Grant(layers=message.relayed.layers)
    if operator:
        return Grant(owner=True, elevated=elevated)
    layers = tuple(conversation_layers(message, section, settings))
    return Grant(owner=commands.is_owner(orders, message), elevated=elevated, layers=layers)


def allowed(rules: ToolRules, place: str, granted: Grant, tools: Iterable[str]) -> frozenset[str]:
    """Those of `tools` that a turn under this grant may use, worked on at `place`."""
    inside = () if place == HOST else (rules.inside,)
    layers = (*rules.layers, *inside)
    return for_turn(tools, rules.profile, layers, rules.also, granted=granted.layers, owner=granted.owner)


# --- group, channel, sender --------------------------------------------------------------------------------------


def conversation_layers(
    message: Inbound, section: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[ToolList]:
    """The layers of the group or channel this message was written in; none for direct messages.

    The nearest entry that says something decides: the topic's or channel's own, the group's or guild's, that of `*`.
    In each `toolsBySender` goes before `tools`.
    """
    if message.peer.kind == "direct":
        return
    entries = list(_entries(message, section, settings))
    yield from _first(layer for entry in entries for layer in _of_entry(entry, message))
    yield from (_tool_list(value) for entry in entries for value in _by_name(entry, message))


def _entries(message: Inbound, section: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """From the nearest to the furthest."""
    parent = message.parent_peer.id if message.parent_peer else ""
    if message.guild_id:
        for guild in _found(settings.get("guilds"), (message.guild_id,)):
            yield from _found(guild.get("channels"), (message.peer.id, parent))
            yield guild
        return
    groups = _groups(message, section, settings)
    for group in _found(groups, (message.peer.id, parent)):
        yield from _found(group.get("topics"), (message.peer.id.rpartition(":")[2],) if parent else ())
        yield group
    yield from _found(settings.get("channels"), (message.peer.id, parent))


def _groups(message: Inbound, section: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """Several Telegram bots do not share what the channel says of a group (`account_settings`), but what it forbids
    there is forbidden to all of them."""
    if message.channel != "telegram":
        return settings.get("groups")
    own = own_settings(section, message.account).get("groups")
    return own if isinstance(own, Mapping) else section.get("groups", settings.get("groups"))


def _found(entries: Any, names: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """The entries of these names, then that of `*`; ids are compared without regard to case."""
    if not isinstance(entries, Mapping):
        return
    known = {str(name).strip().lower(): entry for name, entry in entries.items()}
    for name in (*names, ANY):
        entry = known.get(name.strip().lower()) if name else None
        if isinstance(entry, Mapping):
            yield entry


def _of_entry(entry: Mapping[str, Any], message: Inbound) -> Iterator[ToolList]:
    senders = entry.get("toolsBySender")
    known = senders if isinstance(senders, Mapping) else {}
    listed = {str(name).strip(): value for name, value in known.items()}
    yield from (_tool_list(value) for name, value in listed.items() if _is_sender(name, message))
    if ANY in listed:
        yield _tool_list(listed[ANY])
    if entry.get("tools") is not None:
        yield _tool_list(entry["tools"])


def _is_sender(name: str, message: Inbound) -> bool:
    lowered = name.lower()
    if name == ANY or lowered.startswith(_BY_NAME):
        return False
    sender = message.sender.id
    if lowered.startswith("e164:") and message.channel in _BY_PHONE:
        return normalize("whatsapp", name[5:]) == normalize("whatsapp", sender) != ""
    prefix, _, rest = name.partition(":")
    wanted = rest if prefix.lower() in ("id", "channel") else name
    return normalize(message.channel, wanted) == normalize(message.channel, sender) != ""


def _by_name(entry: Mapping[str, Any], message: Inbound) -> Iterator[Any]:
    senders = entry.get("toolsBySender")
    for name, value in senders.items() if isinstance(senders, Mapping) else ():
        kind, _, wanted = str(name).strip().lower().partition(":")
        called = {"username": message.sender.username, "name": message.sender.name}.get(kind)
        if called and wanted and called.strip().lower().removeprefix("@") == wanted.strip().removeprefix("@"):
            yield value


def _tool_list(value: Any) -> ToolList:
    """A list that cannot be read lets nothing through."""
    try:
        return msgspec.convert(value, ToolList, strict=False)
    except msgspec.ValidationError:
        return _NOTHING


def _first(layers: Iterator[ToolList]) -> Iterator[ToolList]:
    yield from (layer for layer, _ in zip(layers, range(1), strict=False))
