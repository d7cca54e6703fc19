"""The state behind the fake Bot API: bots, people, chats, message ids, pending updates and planned faults.

No HTTP here. Message ids are numbered as the real server does it: one counter per bot over all its private chats and
basic groups, and one counter of its own for each supergroup and channel.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.support.telegram_html import clean, units

#: Ids up to this one belong to supergroups and channels.
SUPERGROUP_CEILING = -1_000_000_000_000
_MARKS = re.compile(r"(?<![\w@/])(/[a-zA-Z0-9_]{1,32}(?:@\w{3,32})?|@\w{3,32})")


class ApiError(Exception):
    """An `ok: false` answer: the code, the description, and `parameters` where the real server sends some."""

    def __init__(self, code: int, description: str, parameters: dict[str, Any] | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters


@dataclass(slots=True)
class Fault:
    """One planned misbehaviour, for `times` matching requests (-1: until cleared).

    Kinds: `rate_limit` (429 with `retry_after`), `parse` (400, can't parse entities), `status` (answer `code`,
    nothing happens), `status_after` (it happens, then `code`), `cut` (the connection ends, nothing happens),
    `cut_after` (it happens, no answer comes), `slow` (`delay` seconds, then as usual), `slow_after` (it happens at
    once, the answer takes `delay` seconds).
    `skip` lets that many matching requests through first.
    """

    kind: str
    token: str | None = None
    method: str | None = None
    times: int = 1
    skip: int = 0
    code: int = 502
    retry_after: int = 1
    delay: float = 0.0

    def hits(self, token: str, method: str) -> bool:
        if self.times == 0 or self.token not in (None, token) or (self.method or method).lower() != method.lower():
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass(slots=True)
class Sent:
    """One message that a bot sent: `text` as people see it, `source` as it came in the request."""

    token: str
    chat_id: int
    message_id: int
    text: str
    source: str
    parse_mode: str
    thread: int | None
    reply_to: int | None
    preview: bool
    at: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Chat:
    """A chat as the API shows it, plus what the server keeps of it."""

    shown: dict[str, Any]
    topics: set[int] = field(default_factory=set)
    messages: dict[int, dict[str, Any]] = field(default_factory=dict)
    #: Message 1 of a supergroup is the notice of its creation, which is why General is "thread 1".
    next_id: int = 2
    moved_to: int | None = None


@dataclass(slots=True)
class Bot:
    """One bot account and its update queue."""

    token: str
    user: dict[str, Any]
    next_update: int
    updates: deque[dict[str, Any]] = field(default_factory=deque)
    again: list[dict[str, Any]] = field(default_factory=list)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    box: dict[int, dict[str, Any]] = field(default_factory=dict)
    next_id: int = 1
    chats: set[int] = field(default_factory=set)
    blocked: set[int] = field(default_factory=set)
    allowed: frozenset[str] | None = None
    poll: asyncio.Future[str] | None = None
    webhook: str = ""
    commands: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    revoked: bool = False
    sent: list[Sent] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)
    reactions: dict[tuple[int, int], list[Any]] = field(default_factory=dict)


#: Left out unless asked for by `allowed_updates`, as on the real server.
_RARE = frozenset({"chat_member", "message_reaction", "message_reaction_count"})


class World:
    """Everything the server knows. One event loop, no locks."""

    def __init__(self) -> None:
        self.bots: dict[str, Bot] = {}
        self.chats: dict[int, Chat] = {}
        self.users: dict[int, dict[str, Any]] = {}
        self.faults: list[Fault] = []
        self.requests: Counter[str] = Counter()
        self._waiters: list[tuple[str | None, int, asyncio.Future[None]]] = []
        self._bot_ids = itertools.count(7_000_001)
        self._file_ids = itertools.count(1)

    # -- people, bots and chats

    def add_bot(self, token: str, username: str = "", first_name: str = "", id: int | None = None) -> dict[str, Any]:
        """A new bot; its `User` object is returned. The id in a token of the usual form is its user id."""
        head = token.partition(":")[0]
        number = id or (int(head) if head.isdigit() else next(self._bot_ids))
        name = username or f"bot{number}_bot"
        user = {
            "id": number,
            "is_bot": True,
            "first_name": first_name or name,
            "username": name,
            "can_join_groups": True,
            "can_read_all_group_messages": True,
            "supports_inline_queries": False,
        }
        self.bots[token] = Bot(token, user, next_update=100_000_000 + (number % 1000) * 100_000)
        return user

    def add_user(self, id: int, first_name: str = "", username: str = "", last_name: str = "") -> dict[str, Any]:
        user: dict[str, Any] = {"id": id, "is_bot": False, "first_name": first_name or f"User{id}"}
        user |= {"last_name": last_name} if last_name else {}
        user |= {"username": username} if username else {}
        self.users[id] = user
        return user

    def user(self, id: int) -> dict[str, Any]:
        return self.users.get(id) or self.add_user(id)

    def add_private(self, user: int, tokens: Iterable[str] | None = None) -> int:
        """The private chat of a person with the bots (all of them by default); its id is the person's id."""
        shown = {k: v for k, v in self.user(user).items() if k in ("id", "first_name", "last_name", "username")}
        self._admit(Chat({**shown, "type": "private"}), tokens)
        return user

    def add_group(self, id: int, title: str = "Group", tokens: Iterable[str] | None = None) -> int:
        self._admit(Chat({"id": id, "type": "group", "title": title}), tokens)
        return id

    def add_supergroup(
        self, id: int, title: str = "Supergroup", forum: bool = False, tokens: Iterable[str] | None = None
    ) -> int:
        shown: dict[str, Any] = {"id": id, "type": "supergroup", "title": title}
        self._admit(Chat(shown | ({"is_forum": True} if forum else {})), tokens)
        return id

    def add_channel(self, id: int, title: str = "Channel", tokens: Iterable[str] | None = None) -> int:
        self._admit(Chat({"id": id, "type": "channel", "title": title}), tokens)
        return id

    def add_topic(self, chat: int, name: str = "Topic") -> int:
        """A new forum topic; its thread id is the id of the service message that opened it."""
        thread = self._number(None, chat)
        self.chats[chat].topics.add(thread)
        self.chats[chat].messages[thread] = {"message_id": thread, "forum_topic_created": {"name": name}}
        return thread

    def migrate(self, chat: int, to: int) -> int:
        """Upgrade a basic group to a supergroup: the old id answers with `migrate_to_chat_id` from now on."""
        members = [token for token, bot in self.bots.items() if chat in bot.chats]
        self.add_supergroup(to, self.chats[chat].shown["title"], tokens=members)
        self.chats[chat].moved_to = to
        return to

    def block(self, token: str, chat: int, blocked: bool = True) -> None:
        (self.bots[token].blocked.add if blocked else self.bots[token].blocked.discard)(chat)

    def _admit(self, chat: Chat, tokens: Iterable[str] | None) -> None:
        number = chat.shown["id"]
        self.chats.setdefault(number, chat)
        for token in self.bots if tokens is None else tokens:
            self.bots[token].chats.add(number)

    # -- messages

    def _number(self, bot: Bot | None, chat: int) -> int:
        owner = self.chats[chat] if chat <= SUPERGROUP_CEILING or bot is None else bot
        number = owner.next_id
        owner.next_id += 1
        return number

    def shelf(self, bot: Bot, chat: int) -> dict[int, dict[str, Any]]:
        return self.chats[chat].messages if chat <= SUPERGROUP_CEILING else bot.box

    def find(self, bot: Bot, chat: int, number: int) -> dict[str, Any] | None:
        message = self.shelf(bot, chat).get(number)
        return message if message is not None and message.get("chat", {"id": chat})["id"] == chat else None

    def push_text(
        self,
        token: str,
        chat: int,
        user: int,
        text: str | None,
        *,
        thread: int | None = None,
        reply_to: int | None = None,
        entities: list[dict[str, Any]] | None = None,
        kind: str = "message",
        **extra: Any,
    ) -> int:
        """A person writes. The bot gets an update; the message's id is returned. `extra` are further fields."""
        bot = self.bots[token]
        if chat not in self.chats:
            self.add_private(chat, [token])
        message: dict[str, Any] = {"message_id": self._number(bot, chat), "date": int(time.time())}
        message |= {"chat": self.chats[chat].shown}
        message |= {"sender_chat": message["chat"]} if kind == "channel_post" else {"from": self.user(user)}
        if text is not None:
            message["text"] = text
            marks = entities if entities is not None else find_marks(text)
            message |= {"entities": marks} if marks else {}
        if thread is not None:
            message |= {"message_thread_id": thread, "is_topic_message": True}
        if reply_to is not None:
            message["reply_to_message"] = self.find(bot, chat, reply_to)
        message |= extra
        self.shelf(bot, chat)[message["message_id"]] = message
        self.push_update(token, {kind: message})
        return int(message["message_id"])

    def push_update(self, token: str, content: dict[str, Any]) -> int:
        """Queue any update; its `update_id` is returned."""
        bot = self.bots[token]
        number = bot.next_update
        bot.next_update += 1
        kind = next(iter(content))
        if kind in _RARE if bot.allowed is None else kind not in bot.allowed:
            return number
        update = {"update_id": number, **content}
        bot.updates.append(update)
        bot.history[number] = update
        self._wake(bot)
        return number

    def redeliver(self, token: str, update_id: int) -> None:
        """Deliver an update once more, even if it was confirmed long ago."""
        bot = self.bots[token]
        bot.again.append(bot.history[update_id])
        self._wake(bot)

    def _wake(self, bot: Bot) -> None:
        if bot.poll is not None and not bot.poll.done():
            bot.poll.set_result("update")

    def record(self, sent: Sent) -> None:
        self.bots[sent.token].sent.append(sent)
        for waiter in [w for w in self._waiters if len(self.sent(w[0])) >= w[1]]:
            self._waiters.remove(waiter)
            if not waiter[2].done():
                waiter[2].set_result(None)

    def sent(self, token: str | None = None) -> list[Sent]:
        """What the bot (or all of them) sent, oldest first, without what was refused."""
        if token is not None:
            return self.bots[token].sent
        return sorted((sent for bot in self.bots.values() for sent in bot.sent), key=lambda sent: sent.at)

    async def wait_sent(self, count: int, token: str | None = None, timeout: float = 10.0) -> list[Sent]:
        """Wait until `count` messages were sent in all. Raises TimeoutError."""
        if len(self.sent(token)) < count:
            arrived = asyncio.get_running_loop().create_future()
            self._waiters.append((token, count, arrived))
            await asyncio.wait_for(arrived, timeout)
        return self.sent(token)

    # -- misbehaviour

    def fail(self, kind: str, **settings: Any) -> Fault:
        """Plan a fault; see `Fault` for the kinds and settings."""
        self.faults.append(Fault(kind, **settings))
        return self.faults[-1]

    def fault_for(self, token: str, method: str) -> Fault | None:
        if not self.faults:
            return None
        self.faults = [fault for fault in self.faults if fault.times]
        return next((fault for fault in self.faults if fault.hits(token, method)), None)

    def revoke(self, token: str, revoked: bool = True) -> None:
        """The owner made a new token: the old one gets 401 from now on, a held poll too."""
        bot = self.bots[token]
        bot.revoked = revoked
        if revoked and bot.poll is not None and not bot.poll.done():
            bot.poll.set_result("revoked")

    def add_file(self, token: str, content: bytes, path: str = "documents/file.bin") -> str:
        file_id = f"FILE{next(self._file_ids)}"
        self.bots[token].files[file_id] = (path, content)
        return file_id


def find_marks(text: str) -> list[dict[str, Any]]:
    """Command and mention entities, as the real server finds them by itself."""
    return [
        {
            "type": "bot_command" if found[0][0] == "/" else "mention",
            "offset": units(text[: found.start()]),
            "length": units(found[0]),
        }
        for found in _MARKS.finditer(clean(text))
    ]
