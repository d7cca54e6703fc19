"""The lines between the gateway and a bridge, one JSON object each. Pure. Told to bridge writers in STATUS.md."""

from __future__ import annotations

from typing import Annotated

import msgspec

from protocol.envelope import MAX_TEXT, Address, Inbound, Media, Outbound, Peer, Quote, Sender

VERSION = 1
#: Longest line, in bytes.
MAX_LINE = 512 * 1024

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Name = Annotated[str, msgspec.Meta(max_length=1024)]
_CUT = "\n[… cut here]"


class BadLine(ValueError):
    """The bridge said something that is no line of this protocol; the text names the place."""


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=str.lower):
    pass


# --- gateway -> bridge -------------------------------------------------------------------------------------------


class Hello(_Line, frozen=True, kw_only=True):
    """First line: which account this connection serves."""

    version: int
    channel: str
    account: str


class Taken(_Line, frozen=True, kw_only=True):
    """The message is on our disk; until then the bridge says it again after every reconnection."""

    message_id: str


class Send(_Line, frozen=True, kw_only=True):
    """A text to send. It is said again when its answer was lost: the bridge sends a known key no second time."""

    key: str
    target: str
    text: str
    thread: str | None = None
    reply_to: str | None = None


class Typing(_Line, frozen=True, kw_only=True):
    target: str
    thread: str | None = None


# --- bridge -> gateway -------------------------------------------------------------------------------------------


class Ready(_Line, frozen=True, kw_only=True):
    """The login works; `login` is its own name or number there."""

    login: Name = ""


class Gone(_Line, frozen=True, kw_only=True):
    """The platform cannot be reached at the moment."""

    reason: Name


class Message(_Line, frozen=True, kw_only=True):
    """A message from the platform. Fields as in `envelope.Inbound`; without `target` an answer goes to the peer."""

    message_id: Id
    peer: Peer
    sender: Sender
    text: str = ""
    at: Annotated[float, msgspec.Meta(ge=0, le=1e11)] = 0.0
    target: Name = ""
    thread: Id | None = None
    parent_peer: Peer | None = None
    guild_id: Id | None = None
    team_id: Id | None = None
    roles: Annotated[tuple[Id, ...], msgspec.Meta(max_length=500)] = ()
    mentioned: bool | None = None
    quote: Quote | None = None
    media: Annotated[tuple[Media, ...], msgspec.Meta(max_length=50)] = ()
    subject: Name = ""


class Sent(_Line, frozen=True, kw_only=True):
    key: str
    message_id: Name = ""


class Refused(_Line, frozen=True, kw_only=True):
    """The platform will never take it."""

    key: str
    reason: Name


class Delayed(_Line, frozen=True, kw_only=True):
    """The platform surely has not taken it; it may after `seconds`."""

    key: str
    reason: Name
    seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] | None = None


FromBridge = Ready | Gone | Message | Sent | Refused | Delayed
ToBridge = Hello | Taken | Send | Typing

_decoder: msgspec.json.Decoder[FromBridge] = msgspec.json.Decoder(FromBridge)
_encoder = msgspec.json.Encoder()


def read(line: bytes) -> FromBridge:
    """Raises BadLine."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadLine(str(error)[:300]) from None


def write(line: ToBridge) -> bytes:
    return _encoder.encode(line) + b"\n"


def inbound(channel: str, account: str, message: Message, now: float) -> Inbound:
    """The message as the router knows it. Raises BadLine for a peer or sender that is none."""
    ids = (message.peer.id, message.sender.id, message.parent_peer.id if message.parent_peer else "x")
    if not all(0 < len(id) <= 256 for id in ids):
        raise BadLine(f"message {message.message_id}: peer and sender need ids of at most 256 characters")
    return Inbound(
        channel=channel,
        account=account,
        message_id=message.message_id,
        peer=message.peer,
        sender=message.sender,
        text=message.text if len(message.text) <= MAX_TEXT else message.text[: MAX_TEXT - len(_CUT)] + _CUT,
        at=message.at or now,
        reply=Address(channel, account, message.target or message.peer.id, message.thread),
        parent_peer=message.parent_peer,
        guild_id=message.guild_id,
        team_id=message.team_id,
        roles=message.roles,
        mentioned=message.mentioned,
        quote=message.quote,
        media=message.media,
        subject=message.subject,
    )


def send(message: Outbound) -> Send:
    address = message.address
    return Send(
        key=message.key, target=address.target, text=message.text, thread=address.thread, reply_to=address.reply_to
    )
