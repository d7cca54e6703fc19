"""The normalised chat message: what a platform event becomes before anybody decides anything about it.

Every field that a stranger controls is plain data here. Nothing in this module knows of agents, routing or access.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from protocol.config import ToolList

PeerKind = Literal["direct", "group", "channel"]

#: Longest text accepted from a platform, in characters. Longer ones are cut by the channel with a visible mark.
MAX_TEXT = 32_000


class Peer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A conversation on a platform: a person (`direct`), a `group` or a `channel`, with the platform's id for it."""

    kind: PeerKind
    id: str


class Sender(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who wrote. `id` is the only field fit for a decision: names can be chosen by strangers and recycled."""

    id: str
    name: str = ""
    username: str = ""


class Quote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The message this one replies to."""

    message_id: str
    sender: str = ""
    text: str = ""
    from_us: bool = False


class Earlier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A group message that nobody was asked to answer when it came. `at` as in `Inbound`."""

    message_id: str
    sender: Sender
    text: str
    at: float


class Media(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An attachment that was announced; `reference` is the platform's handle, `size` in bytes when known."""

    kind: str
    mime: str = ""
    name: str = ""
    size: int | None = None
    reference: str = ""


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an answer goes: decided by the router when the message came in, never named by a worker.

    `target` is the platform's id for the chat, `thread` its topic inside it, `reply_to` the message to quote.
    """

    channel: str
    account: str
    target: str
    thread: str | None = None
    reply_to: str | None = None


class Relayed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which session of which agent wrote a message that no person did.

    `hops` counts the sessions it came through since a person wrote; `layers` are what that person's words may do, so
    that nobody gets more tools by having his agent ask another session.
    """

    agent: str
    session_key: str
    hops: int = 1
    layers: tuple[ToolList, ...] = ()


class Inbound(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One message from outside.

    `message_id` is unique within (channel, account) and is what makes a repeated update harmless. `mentioned` is
    None where the platform has no mentions. `at` is seconds since the epoch, by the platform's clock.

    The last three are the router's own: `history` is what was written in the group since the last answer, `command` the
    authorised command that this message is (`new`, `reset`; `text` is then what followed it), `relayed` says that it
    comes from another session.
    """

    channel: str
    account: str
    message_id: str
    peer: Peer
    sender: Sender
    text: str
    at: float
    reply: Address
    parent_peer: Peer | None = None
    guild_id: str | None = None
    team_id: str | None = None
    roles: tuple[str, ...] = ()
    mentioned: bool | None = None
    quote: Quote | None = None
    media: tuple[Media, ...] = ()
    subject: str = ""
    history: tuple[Earlier, ...] = ()
    command: str = ""
    relayed: Relayed | None = None


class Outbound(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One platform message to be sent: already short enough for the platform, not yet rendered in its markup.

    `key` is `<inbound id>.<seq>.<part>` and never changes over retries and restarts.
    """

    key: str
    address: Address
    text: str
