"""One Telegram bot: long poll in, messages out.

The offset of the next poll is the only confirmation Telegram knows, so it moves after `host.receive` has returned
and not before. Everything that can go wrong on the wire becomes one of the errors of `channels/base.py` here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from protocol.envelope import Address, Inbound, Outbound
from router.channels.base import (
    AccountRejected,
    Capabilities,
    ChannelHost,
    Probe,
    Receipt,
    SendDelayed,
    SendRefused,
    SendUncertain,
)
from router.channels.telegram.marks import Marks
from router.channels.telegram.parse import GENERAL, Me, Update, parse
from router.channels.telegram.render import render, strip, units
from router.channels.telegram.search import decode_note, decode_sent, find
from router.channels.telegram.wire import ApiError, NoAnswer, NotSent, Wire

#: Seconds the server may hold a poll. Telegram allows 50; 30 is what the original asks for.
POLL_SECONDS = 30
#: Seconds beyond it after which a silent poll counts as stalled.
POLL_MARGIN = 10
#: Updates asked for in one poll: the server's maximum.
BATCH = 100
#: What we can read; everything else stays on the server's side.
ALLOWED_UPDATES = ("message", "channel_post")
#: Longest message after rendering, in UTF-16 units, by the server's rule.
MAX_UNITS = 4096
#: First and longest pause in seconds between attempts to connect, and the longest that the server may name.
FIRST_PAUSE, LONGEST_PAUSE, LONGEST_NAMED_PAUSE = 0.5, 30.0, 3600.0
#: Seconds for an answer that nobody waits for: typing and probes.
ASIDE_SECONDS = 5.0
#: Seconds after a send was noted before its absence means anything: a request that was cut off may still be carried
#: out on the other side.
SETTLE_SECONDS = 2.0
#: Seconds `confirm` waits for the poller to have read the backlog.
CATCH_UP_SECONDS = 30.0

_UPDATES = msgspec.json.Decoder(list[Update])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_UPDATE = msgspec.json.Decoder(Update)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _UpdateId(msgspec.Struct, frozen=True):
    update_id: int


class _Trouble(Exception):
    """Messages do not flow at the moment. `pause` in seconds where the server named one."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pause = pause


class TelegramChannel:
    """One account. `run` receives; `send`, `confirm`, `typing` and `probe` work beside it."""

    channel = "telegram"

    def __init__(
        self,
        account: str,
        wire: Wire,
        *,
        text_limit: int,
        link_preview: bool = True,
        poll_seconds: int = POLL_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self.account = account
        self.capabilities = Capabilities(text_limit=text_limit, can_confirm=True)
        self._wire = wire
        self._link_preview = link_preview
        self._poll_seconds = poll_seconds
        self._settle_seconds = settle_seconds
        self._marks = Marks()
        self._moved: dict[int, int] = {}
        self._me: Me | None = None
        self._offset = 0
        self._flowing = False
        self._steady = False
        self._caught_up = asyncio.Event()

    def __repr__(self) -> str:
        state = "receiving" if self._caught_up.is_set() else "not receiving"
        return f"<TelegramChannel {self.account} {self._me.login if self._me else '?'} {state}>"

    # -- receiving

    async def run(self, host: ChannelHost) -> None:
        """Receive until cancelled; trouble on the way is waited out. Raises AccountRejected."""
        cursor = await host.cursor()
        self._offset = int(cursor) if cursor is not None and cursor.lstrip("-").isdecimal() else 0
        failures = 0
        while True:
            self._flowing = self._steady = False
            try:
                await self._receive(host)
            except _Trouble as trouble:
                self._caught_up.clear()
                host.disconnected(trouble.reason)
                failures = 1 if self._steady else failures + 1
                await asyncio.sleep(trouble.pause or pause_after(failures, random.random()))

    async def _receive(self, host: ChannelHost) -> None:
        me = await self._login()
        while True:
            # The first poll does not wait: it shows at once whether messages flow and whether the backlog is read.
            updates = await self._poll(self._poll_seconds if self._flowing else 0)
            self._steady = self._flowing  # a held poll came back: another poller would have ended it
            if not self._flowing:
                self._flowing = True
                host.connected(me.login)
            if updates:
                await self._take(host, me, updates)
            if len(updates) < BATCH:
                self._caught_up.set()

    async def _take(self, host: ChannelHost, me: Me, updates: Sequence[Update]) -> None:
        messages = [found for update in updates if (found := self._read(update, me)) is not None]
        # The newest id of this answer even if it is lower than before: the server picks new numbers after a quiet
        # week, and for ids it has forgotten a lower offset does no harm.
        offset = max(update.update_id for update in updates) + 1
        await host.receive(messages, cursor=str(offset))
        self._offset = offset  # from here on the next poll confirms them: they are on disk

    def _read(self, update: Update, me: Me) -> Inbound | None:
        message = update.message or update.channel_post
        if message is not None:
            self._marks.receive(message.chat.id, message.message_id, message.date)
        return parse(update, self.account, me)

    async def _login(self) -> Me:
        me = self._me = _decode_me(await self._ask("getMe", {}))
        self._marks.begin(self._wire.date)
        await self._ask("deleteWebhook", {"drop_pending_updates": False})
        return me

    async def _poll(self, seconds: int) -> list[Update]:
        params = {"offset": self._offset, "limit": BATCH, "timeout": seconds, "allowed_updates": ALLOWED_UPDATES}
        return decode_updates(await self._ask("getUpdates", params, timeout=seconds + POLL_MARGIN))

    async def _ask(self, method: str, params: Mapping[str, Any], timeout: float | None = None) -> msgspec.Raw:
        """A call of the receiving side. Raises AccountRejected or _Trouble."""
        try:
            return await self._wire.call(method, params, timeout=timeout)
        except ApiError as error:
            if error.code in (401, 404):
                raise AccountRejected(self._rejection(method, error)) from None
            named = None if error.retry_after is None else min(error.retry_after, LONGEST_NAMED_PAUSE)
            raise _Trouble(f"{method}: {error.code} {error}", named) from None
        except (NotSent, NoAnswer) as error:
            raise _Trouble(f"{method}: {error}") from None

    def _rejection(self, method: str, error: ApiError) -> str:
        return (
            f"Telegram refuses the bot token of account {self.account!r} ({method} returned {error.code} {error}): "
            f"$.channels.telegram.accounts.{self.account}.botToken"
        )

    # -- sending

    async def send(self, message: Outbound) -> Receipt:
        """Send as HTML, or as it came where Telegram cannot take our HTML. Raises SendRefused/Delayed/Uncertain."""
        html = render(message.text)
        if html_fits(html):
            try:
                return await self._deliver(message.address, {"text": html, "parse_mode": "HTML"})
            except _Unparsed:
                pass
        return await self._deliver(message.address, {"text": message.text})

    async def _deliver(self, address: Address, content: Mapping[str, Any]) -> Receipt:
        chat = self._chat(address)
        try:
            result = await self._wire.call("sendMessage", {**self._envelope(chat, address), **content})
        except ApiError as error:
            if error.moved_to is not None:
                self._moved[chat] = error.moved_to
            raise send_error(error) from None
        except NotSent as error:
            raise SendDelayed(str(error)) from None
        except NoAnswer as error:
            raise SendUncertain(str(error)) from None
        number = decode_sent(result).message_id
        self._marks.acknowledge(chat, number)
        return Receipt(str(number))

    def _envelope(self, chat: int, address: Address) -> dict[str, Any]:
        params: dict[str, Any] = {"chat_id": chat}
        if not self._link_preview:
            params["link_preview_options"] = {"is_disabled": True}
        # Messages to General must not name it, or Telegram says that there is no such thread.
        if address.thread is not None and address.thread != str(GENERAL):
            params["message_thread_id"] = int(address.thread)
        if address.reply_to is not None:
            params["reply_parameters"] = {
                "message_id": int(address.reply_to.rpartition(":")[2]),
                "allow_sending_without_reply": True,
            }
        return params

    def _chat(self, address: Address) -> int:
        try:
            chat = int(address.target)
            int(address.thread or 0), int((address.reply_to or "0").rpartition(":")[2])
        except ValueError:
            raise SendRefused(f"not a Telegram address: {address.target[:64]!r}") from None
        return self._moved.get(chat, chat)

    # -- finding a lost send

    def note(self, message: Outbound) -> str:
        """Where to look for this message, should its receipt be lost. See `marks`."""
        try:
            chat = self._chat(message.address)
        except SendRefused:
            return ""  # `send` will refuse it too
        return msgspec.json.encode(self._marks.note(chat, self._now() or 0.0)).decode()

    async def confirm(self, message: Outbound, note: str) -> Receipt | None:
        """Look for the message above its anchor; see `search`. Raises SendDelayed or SendUncertain."""
        mark = decode_note(note)
        await self._wait_for_backlog()
        await self._settle(mark.at)
        found = await find(self._wire, self._marks, mark, message.text)
        if found is None:
            return None
        self._marks.recover(mark.chat, found)
        return Receipt(str(found))

    async def _wait_for_backlog(self) -> None:
        try:
            await asyncio.wait_for(self._caught_up.wait(), CATCH_UP_SECONDS)
        except TimeoutError:
            raise SendDelayed("messages do not flow, so a lost one cannot be looked for") from None

    async def _settle(self, sent_at: float) -> None:
        now = self._now()
        age = now - sent_at if now is not None and sent_at else 0.0
        await asyncio.sleep(min(max(self._settle_seconds - age, 0.0), self._settle_seconds))

    # -- the rest

    async def typing(self, address: Address) -> None:
        """Show "typing…" for five seconds; General is named here, unlike in messages."""
        try:
            params: dict[str, Any] = {"chat_id": self._chat(address), "action": "typing"}
            if address.thread is not None:
                params["message_thread_id"] = int(address.thread)
            await self._wire.call("sendChatAction", params, timeout=ASIDE_SECONDS)
        except (ApiError, NotSent, NoAnswer, SendRefused):
            return

    async def probe(self) -> Probe:
        """Ask who the token belongs to."""
        try:
            me = msgspec.json.decode(await self._wire.call("getMe", {}, timeout=ASIDE_SECONDS), type=Me)
        except (ApiError, NotSent, NoAnswer, msgspec.MsgspecError) as error:
            return Probe(ok=False, error=f"getMe: {error}")
        return Probe(ok=True, name=me.login)

    async def close(self) -> None:
        await self._wire.close()

    def _now(self) -> float | None:
        """The server's time in seconds since the epoch, once it is known."""
        return None if self._wire.clock is None else time.time() + self._wire.clock


class _Unparsed(SendDelayed):
    """Telegram found a fault in our HTML; the text itself is still to be sent."""


def pause_after(failures: int, draw: float) -> float:
    """Seconds to wait before attempt `failures` + 1: doubling, and half of it by chance (`draw` in 0..1)."""
    whole = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
    return float(whole * (0.5 + draw / 2))


def html_fits(html: str) -> bool:
    """Rendering may lengthen a text (tables) or leave nothing of it (an empty fence)."""
    shown = strip(html)
    return bool(shown.strip()) and units(shown) <= MAX_UNITS


def send_error(error: ApiError) -> SendRefused | SendDelayed:
    """What a refusal of sendMessage means for the message."""
    reason = f"sendMessage: {error.code} {error}"
    if error.code == 400 and "can't parse entities" in str(error):
        return _Unparsed(reason)
    if error.moved_to is not None:
        return SendDelayed(reason, retry_after=0.0)
    if error.code in (400, 403):
        return SendRefused(reason)
    # 429, and a token that is refused now (401, 404, 409): the account is in trouble, not the message.
    return SendDelayed(reason, retry_after=error.retry_after)


def _decode_me(result: msgspec.Raw) -> Me:
    try:
        return msgspec.json.decode(result, type=Me)
    except _UNREADABLE as error:
        raise _Trouble(f"getMe: unreadable answer: {type(error).__name__}") from None


def decode_updates(body: msgspec.Raw) -> list[Update]:
    """The updates of one answer. One that we cannot read still counts, as an empty one. Raises _Trouble."""
    try:
        return _UPDATES.decode(body)
    except _UNREADABLE:
        pass
    try:
        return [_decode_update(item) for item in _ITEMS.decode(body)]
    except _UNREADABLE as error:
        raise _Trouble(f"getUpdates: unreadable answer: {type(error).__name__}") from None


def _decode_update(item: msgspec.Raw) -> Update:
    try:
        return _UPDATE.decode(item)
    except _UNREADABLE:
        return Update(msgspec.json.decode(item, type=_UpdateId).update_id)
