"""A message as an operator describes it: by options, or as JSON with the names of the router's own envelope."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from protocol.errors import UserError
from protocol.routes import Described, PeerOf, Seen, SenderOf

#: Largest file of messages that is read, in bytes, and most messages in it.
MAX_FILE = 8 * 1024 * 1024
MAX_RECENT = 20_000
_EXAMPLE = '{"channel": "telegram", "account": "work", "peer": {"kind": "direct", "id": "42"}}'


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the options of `routes explain` say."""

    channel: str
    account: str
    peer: str
    parent: str
    guild: str
    team: str
    roles: tuple[str, ...]
    sender: str
    text: str
    mentioned: bool


def described(options: Options) -> Described:
    """The message of the options. Raises UserError."""
    if not options.channel:
        raise UserError("describe the message", where="--channel", hint="--channel telegram --peer direct:42")
    return Described(
        channel=options.channel,
        account=options.account or None,
        peer=_peer(options.peer, "--peer"),
        parent_peer=_peer(options.parent, "--parent"),
        sender=SenderOf(id=options.sender) if options.sender else None,
        guild_id=options.guild or None,
        team_id=options.team or None,
        roles=options.roles,
        text=options.text,
        mentioned=options.mentioned,
    )


def from_file(name: str) -> Described:
    """The message in a JSON file, `-` for standard input. Raises UserError."""
    try:
        return msgspec.json.decode(_read(name), type=Described)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"not a message: {error}", where=name, hint=_EXAMPLE) from None


def recent(name: str) -> tuple[Seen, ...]:
    """The messages of a file with one JSON object a line; texts are not kept. Raises UserError."""
    lines = _read(name).splitlines()
    return tuple(_line(name, number, line) for number, line in enumerate(lines[-MAX_RECENT:], 1) if line.strip())


def _line(name: str, number: int, line: bytes) -> Seen:
    try:
        return msgspec.json.decode(line, type=Seen)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"not a message: {error}", where=f"{name}, line {number}", hint=_EXAMPLE) from None


def _peer(text: str, option: str) -> PeerOf | None:
    if not text:
        return None
    kind, colon, id = text.partition(":")
    if not colon or kind.strip().lower() not in ("direct", "dm", "group", "channel") or not id.strip():
        raise UserError(f'"{text}" is no peer', where=option, hint=f"{option} direct:ID, group:ID or channel:ID")
    return PeerOf(kind=kind, id=id)


def _read(name: str) -> bytes:
    try:
        data = sys.stdin.buffer.read(MAX_FILE + 1) if name == "-" else _read_file(Path(name))
    except OSError as error:
        raise UserError(f"cannot read: {error.strerror}", where=name) from None
    if len(data) > MAX_FILE:
        raise UserError(f"larger than {MAX_FILE // 1024 // 1024} MB", where=name, hint=f"tail -n {MAX_RECENT} {name}")
    return data


def _read_file(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_FILE + 1)


def flags(message: Seen) -> Sequence[str]:
    """The options that describe this message to `routes explain`."""
    words = ["--channel", message.channel]
    words += ["--account", message.account] if message.account else []
    words += ["--peer", f"{message.peer.kind}:{message.peer.id}"] if message.peer else []
    words += ["--parent", f"{message.parent_peer.kind}:{message.parent_peer.id}"] if message.parent_peer else []
    words += ["--guild", str(message.guild_id)] if message.guild_id else []
    words += ["--team", str(message.team_id)] if message.team_id else []
    for role in message.roles:
        words += ["--role", role]
    return words
