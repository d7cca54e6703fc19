"""What was written in a group since our last answer: shown to the agent with the next message that is for it.

Pure, and in memory only: after a restart of the router a group begins anew, which costs context and never a message.
Everything in here was written by strangers, so all of it is bounded: messages and characters per conversation, and
characters over all conversations, of which the one silent for longest goes first.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable

import msgspec

from protocol.envelope import Earlier, Inbound
from protocol.session_key import group_history_key

#: Messages kept where nothing is configured (SPEC 4.12).
DEFAULT_LIMIT = 50
DEFAULT_LIMITS = {"discord": 20}
#: Characters kept of one message, of one conversation, and of all together.
MAX_TEXT, MAX_CONVERSATION, MAX_TOTAL = 2_000, 20_000, 8_000_000
#: A short message still costs memory: counted as so many characters more.
OVERHEAD = 200
CUT = " […]"


def key_of(message: Inbound) -> str:
    """The conversation, which belongs to an account and not to an agent (RULES 3.3)."""
    return group_history_key(message.channel, message.account, message.peer.kind, message.peer.id)


def limit_of(channel: str, *configured: object) -> int:
    """Messages to keep: the first of the configured limits that is set, 0 for none."""
    found = next((one for one in configured if isinstance(one, int) and not isinstance(one, bool)), None)
    return max(found, 0) if found is not None else DEFAULT_LIMITS.get(channel, DEFAULT_LIMIT)


def earlier(message: Inbound) -> Earlier:
    """The message as it is kept."""
    text = message.text or " ".join(f"<media:{one.kind[:40]}>" for one in message.media[:10])
    text = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - len(CUT)] + CUT
    sender = msgspec.structs.replace(
        message.sender, name=message.sender.name[:200], username=message.sender.username[:200]
    )
    return Earlier(message_id=message.message_id, sender=sender, text=text, at=message.at)


class _Conversation:
    """`gone` are ids that were handed on: a platform may repeat them."""

    def __init__(self) -> None:
        self.kept: OrderedDict[str, Earlier] = OrderedDict()
        self.gone: deque[str] = deque(maxlen=DEFAULT_LIMIT)
        self.size = 0


class History:
    """All pending messages, by conversation."""

    def __init__(self, total: int = MAX_TOTAL) -> None:
        self._total = total
        self._conversations: OrderedDict[str, _Conversation] = OrderedDict()
        self.size = 0

    def __repr__(self) -> str:
        return f"<History {len(self._conversations)} conversations, {self.size} characters>"

    def keep(self, key: str, one: Earlier, limit: int) -> None:
        """Remember one message; a repeated one changes nothing. With `limit` 0 nothing is kept."""
        if limit <= 0:
            self._drop(key)
            return
        talk = self._conversations.setdefault(key, _Conversation())
        self._conversations.move_to_end(key)
        if one.message_id in talk.kept or one.message_id in talk.gone:
            return
        talk.kept[one.message_id] = one
        self._count(talk, _cost(one))
        while len(talk.kept) > limit or talk.size > MAX_CONVERSATION:
            self._count(talk, -_cost(talk.kept.popitem(last=False)[1]))
        self._make_room()

    def waiting(self, key: str, limit: int, without: Collection[str] = ()) -> tuple[Earlier, ...]:
        """The newest messages of a conversation, oldest first, but those with the ids in `without`."""
        talk = self._conversations.get(key, _NOBODY)
        found = [one for id, one in talk.kept.items() if id not in without]
        return tuple(found[-limit:]) if limit > 0 else ()

    def forget(self, key: str, ids: Iterable[str]) -> None:
        """These messages are on disk with the message they led to. What came before them goes as well."""
        talk = self._conversations.get(key, _NOBODY)
        left = {id for id in ids if id in talk.kept}
        while left:
            id, one = talk.kept.popitem(last=False)
            left.discard(id)
            talk.gone.append(id)
            self._count(talk, -_cost(one))

    def _make_room(self) -> None:
        while self.size > self._total:
            self._drop(next(iter(self._conversations)))

    def _drop(self, key: str) -> None:
        self.size -= self._conversations.pop(key, _NOBODY).size

    def _count(self, talk: _Conversation, change: int) -> None:
        talk.size += change
        self.size += change


_NOBODY = _Conversation()


def _cost(one: Earlier) -> int:
    return len(one.text) + len(one.sender.name) + len(one.sender.username) + OVERHEAD
