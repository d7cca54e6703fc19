"""Which platform message an answer quotes: `replyToMode` and the reply tags of a model (SPEC 4.16). Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from protocol.envelope import Address, Inbound

#: `[[reply_to_current]]` or `[[reply_to:<id>]]` at the start of an answer.
_TAG = re.compile(r"\s*\[\[\s*reply_to(?:_current|\s*:\s*([^\]\s]{1,64}))\s*\]\]\s*", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,15}")


class Answer(NamedTuple):
    """What is left of a text without its tag. `quotes` is the message it asked to quote, empty for none."""

    text: str
    quotes: str = ""


class Places(NamedTuple):
    """Of one text: where its first part goes, and where the others."""

    first: Address
    rest: Address


def read_tag(text: str, message: Inbound) -> Answer:
    """Take the tag off an answer to `message`. An id that this platform cannot have counts as none."""
    found = _TAG.match(text)
    if found is None:
        return Answer(text)
    wanted = found.group(1) or message.message_id
    return Answer(text[found.end() :], wanted if _is_alike(wanted, message.message_id) else "")


def places(message: Inbound, mode: object, seq: int, quotes: str = "") -> Places:
    """Where the parts of text number `seq` go. `mode` is `replyToMode`: off, first or all; a tag beats it.

    `batched` of the original quotes only where several messages were joined into one, which never happens here.
    """
    rest = _quoting(message, message.message_id) if mode == "all" else message.reply
    if quotes:
        return Places(_quoting(message, quotes), message.reply)
    if mode == "first" and seq == 0:
        return Places(_quoting(message, message.message_id), rest)
    return Places(rest, rest)


def _quoting(message: Inbound, id: str) -> Address:
    return msgspec.structs.replace(message.reply, reply_to=id)


def _is_alike(wanted: str, known: str) -> bool:
    """Platforms refuse a whole message over an id of the wrong kind: a number is needed where numbers are used."""
    last = known.rpartition(":")[2]
    return wanted == known or not last.isdigit() or _NUMBER.fullmatch(wanted.rpartition(":")[2]) is not None
