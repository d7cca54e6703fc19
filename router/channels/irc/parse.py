"""One line from the server -> a normalised message, or a CTCP question, or nothing. Pure.

Who wrote: `Sender.id` is the services account where the server vouches for one (account-tag), which cannot be forged
and survives nick and host changes; else `nick!user@host` as the server saw it. A nick alone proves nothing on IRC and
is the id only under `dangerouslyAllowNameMatching`. No account name holds `!` or `@`, so the two forms never meet.
`Sender.username` always holds the full mask, `Sender.name` the nick as written.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

import msgspec

from protocol.envelope import MAX_TEXT, Address, Inbound, Peer, Sender
from router.channels.irc.names import Isupport, fold, is_channel, is_mentioned, without_status
from router.channels.irc.wire import Line

#: mIRC colours with their numbers, hex colours, and the toggles (bold, italic, underline, strike, mono, reverse, off).
_COLOUR = r"\x03(?:\d{1,2}(?:,\d{1,2})?)?"
_HEX_COLOUR = r"\x04(?:[0-9A-Fa-f]{6}(?:,[0-9A-Fa-f]{6})?)?"
_FORMATTING = re.compile(rf"{_COLOUR}|{_HEX_COLOUR}|[\x02\x0f\x11\x16\x1d-\x1f]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MAX_MASK = 400
_MAX_ID = 128


class Context(msgspec.Struct, frozen=True):
    """What must be known of our own side to read a line."""

    channel: str
    account: str
    nick: str
    isupport: Isupport
    match_by_nick: bool = False


class Question(msgspec.Struct, frozen=True):
    """A CTCP request other than ACTION: `verb` upper case, `argument` without control characters."""

    nick: str
    verb: str
    argument: str


def parse(line: Line, context: Context, now: float, fallback_id: str) -> Inbound | Question | None:
    """Read a PRIVMSG. None for all that nobody should answer: notices (loops), servers, ourselves, empty text."""
    if line.command != "PRIVMSG" or not _is_person(line) or _is_ours(line, context):
        return None
    text = line.param(1)
    if text.startswith("\x01"):
        verb, argument = _ctcp(text)
        if verb != "ACTION":
            return Question(line.nick, verb, argument)
        text = f"* {line.nick} {argument}" if argument.strip() else ""
    return _inbound(line, context, plain(text), now, fallback_id)


def plain(text: str) -> str:
    """Text without mIRC formatting and control characters."""
    return _CONTROL.sub("", _FORMATTING.sub("", text)).strip()


def _is_person(line: Line) -> bool:
    return "!" in line.source and line.nick != "" and len(line.source) <= _MAX_MASK


def _is_ours(line: Line, context: Context) -> bool:
    """Our own line coming back (echo-message, or a message to ourselves)."""
    mapping = context.isupport.casemapping
    return fold(line.nick, mapping) == fold(context.nick, mapping)


def _ctcp(text: str) -> tuple[str, str]:
    verb, _, argument = text.strip("\x01").partition(" ")
    return verb.upper(), argument


def _inbound(line: Line, context: Context, text: str, now: float, fallback_id: str) -> Inbound | None:
    peer, target = _conversation(line, context)
    if not text or not peer.id:
        return None
    return Inbound(
        channel=context.channel,
        account=context.account,
        message_id=_message_id(line.tags.get("msgid", ""), fallback_id),
        peer=peer,
        sender=sender(line, context.match_by_nick),
        text=text[:MAX_TEXT],
        at=_sent_at(line.tags.get("time", ""), now),
        reply=Address(channel=context.channel, account=context.account, target=target),
        mentioned=_mentioned(peer, text, context),
    )


def _conversation(line: Line, context: Context) -> tuple[Peer, str]:
    """Who is talked with, and where an answer goes.

    A message to the operators of a channel (`@#staff`) belongs to that channel, but is answered to its operators
    only: the answer may quote it.
    """
    target, isupport = line.param(0), context.isupport
    room = without_status(target, isupport)
    if is_channel(room, isupport):
        return Peer("group", fold(room, isupport.casemapping)), target
    return Peer("direct", fold(line.nick, isupport.casemapping)), line.nick


def _mentioned(peer: Peer, text: str, context: Context) -> bool | None:
    return None if peer.kind == "direct" else is_mentioned(context.nick, text, context.isupport.casemapping)


def sender(line: Line, match_by_nick: bool = False) -> Sender:
    """Who wrote, see the top of this module. Ids are lower case, as access compares without case."""
    account = line.tags.get("account", "")
    vouched = 0 < len(account) <= _MAX_ID and not set(account) & set("!@*: ")
    unproven = line.nick if match_by_nick else line.source
    return Sender(id=(account if vouched else unproven).lower(), name=line.nick, username=line.source)


def _message_id(tag: str, fallback: str) -> str:
    if not tag:
        return fallback
    return tag if len(tag) <= _MAX_ID else hashlib.sha256(tag.encode()).hexdigest()


def _sent_at(tag: str, now: float) -> float:
    """The server's time (IRCv3 server-time) in seconds, else ours."""
    try:
        at = datetime.fromisoformat(tag).timestamp() if tag.endswith("Z") else now
    except (ValueError, OverflowError):
        return now
    return at if at > 0 else now
