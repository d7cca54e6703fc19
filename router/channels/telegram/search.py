"""Finding out whether a message whose receipt was lost has arrived.

Telegram tells only whether an id is a message of ours in a given chat, not what is in it. That is enough where the
anchor of the note is sure: all our other messages in that chat lie below it, as the router sends one after another,
so the first message of ours above it is the lost one and no second candidate can exist. Messages in other chats share
the counter, but an id is asked for together with its chat, and then Telegram answers "not found". Where the anchor is
not sure, the newest message of ours may also be one of an earlier life, and its text and date decide: the same words
from the second in which this life began are the one thing that cannot be told apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from router.channels.base import SendDelayed, SendUncertain
from router.channels.telegram.marks import Marks, Note
from router.channels.telegram.render import render, strip
from router.channels.telegram.wire import ApiError, NoAnswer, NotSent, Wire

#: Longest `retry_after` in seconds that a search sits out; longer ones go back to the router.
PATIENCE_SECONDS = 15.0
#: Gives the text of a message of ours away: only an edit that changes something returns the message.
BUTTON = {"inline_keyboard": [[{"text": "…", "callback_data": "-"}]]}


class SentMessage(msgspec.Struct, frozen=True):
    """A message of ours as Telegram returns it."""

    message_id: int
    date: int = 0
    text: str = ""


async def find(wire: Wire, marks: Marks, note: Note, text: str) -> int | None:
    """The id of the lost message, None if it surely did not arrive. Raises SendDelayed or SendUncertain."""
    if marks.blind(note):
        raise SendDelayed("no message of this chat was seen yet, so a lost one cannot be looked for")
    for number in marks.suspects(note):
        if await _is_ours(wire, note.chat, number):
            return number if note.sure or await _is_same(wire, note, number, text) else None
    return None


async def _is_ours(wire: Wire, chat: int, number: int) -> bool:
    """Taking away buttons that a message does not have changes nothing, and says whether it is ours to edit."""
    try:
        await _ask(wire, {"chat_id": chat, "message_id": number})
    except ApiError as error:
        return "message is not modified" in str(error)
    return True


async def _is_same(wire: Wire, note: Note, number: int, text: str) -> bool:
    """Read one message of ours. It has a button for the moment between two calls; nobody is notified of that."""
    params = {"chat_id": note.chat, "message_id": number}
    try:
        shown = decode_sent(await _ask(wire, {**params, "reply_markup": BUTTON}))
        await _ask(wire, params)
    except ApiError as error:
        raise SendUncertain(f"message {number} cannot be read: {error}") from None
    return shown.date >= int(note.born) and same_text(shown.text, text)


async def _ask(wire: Wire, params: Mapping[str, Any]) -> msgspec.Raw:
    """One question. Raises ApiError for 400 only; what a later time may answer becomes SendDelayed."""
    while True:
        try:
            return await wire.call("editMessageReplyMarkup", params)
        except ApiError as error:
            await _bear(error)
        except (NotSent, NoAnswer) as error:
            raise SendDelayed(f"looking for a lost message: {error}") from None


async def _bear(error: ApiError) -> None:
    """Sit out a short rate limit; everything else is raised as what it means for the search."""
    if error.code == 400:
        raise error
    reason = f"looking for a lost message: {error.code} {error}"
    if error.code == 403:
        raise SendUncertain(reason)  # blocked or thrown out: nobody lets us look, now or later
    pause = error.retry_after or 1.0
    if error.code != 429 or pause > PATIENCE_SECONDS:
        raise SendDelayed(reason, retry_after=error.retry_after)
    await asyncio.sleep(pause)


def same_text(shown: str, text: str) -> bool:
    """Whether Telegram shows `text`, rendered or as it came; white space is not compared, since Telegram trims it."""
    wanted = (strip(render(text)), text)
    return "".join(shown.split()) in ["".join(each.split()) for each in wanted]


def decode_sent(result: msgspec.Raw) -> SentMessage:
    """The message in an answer. Raises SendUncertain."""
    try:
        return msgspec.json.decode(result, type=SentMessage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SendUncertain("the answer names no message") from None


def decode_note(note: str) -> Note:
    """What `TelegramChannel.note` wrote. Raises SendUncertain."""
    try:
        return msgspec.json.decode(note, type=Note)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SendUncertain("its note cannot be read") from None
