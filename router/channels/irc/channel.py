"""One account on an IRC network: the loop that owns the connection, and the doors for sending.

One `run` is one connection. It ends with AccountTrouble whenever that connection does, and the account's runner, which
has the growing pause, starts it again; so there is one place that decides how often we knock.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time

from protocol.envelope import Address, Outbound
from router.channels.base import (
    AccountRejected,
    AccountTrouble,
    Capabilities,
    ChannelHost,
    Probe,
    Receipt,
    SendDelayed,
    SendRefused,
    SendUncertain,
)
from router.channels.irc.connect import Link, open_link
from router.channels.irc.flood import PING_COST, Bucket
from router.channels.irc.names import without_status
from router.channels.irc.outgoing import Outgoing
from router.channels.irc.render import privmsgs
from router.channels.irc.rooms import State
from router.channels.irc.session import Effects, Session, Timing
from router.channels.irc.settings import IrcSettings
from router.channels.irc.wire import build

log = logging.getLogger(__name__)

_SHORTEST_WAIT = 0.05
_PROBE_PATIENCE = 10.0
#: Characters; many times what the router cuts to. Longer text is a fault, not a message.
_MAX_SOURCE = 16_000


class _Live:
    """One connection while it lasts."""

    def __init__(self, link: Link, session: Session, outgoing: Outgoing) -> None:
        self.link = link
        self.session = session
        self.outgoing = outgoing


class IrcChannel:
    """`channels.base.Channel` for IRC."""

    channel = "irc"

    def __init__(self, account: str, settings: IrcSettings, timing: Timing | None = None) -> None:
        self.account = account
        self.capabilities = Capabilities(text_limit=settings.text_limit)
        self._settings = settings
        self._timing = timing or Timing()
        self._live: _Live | None = None
        self._sending = asyncio.Lock()

    def __repr__(self) -> str:
        state = f"{self._live.session!r}, {self._live.outgoing!r}" if self._live else "not connected"
        return f"IrcChannel({self.account} on {self._settings.host}, {state})"

    # -- receiving ----------------------------------------------------------------------------------------------

    async def run(self, host: ChannelHost) -> None:
        """See `Channel.run`."""
        reason = "stopped"
        try:
            live = self._live = await self._connect()
            await self._serve(live, host)
        except (AccountTrouble, AccountRejected) as error:
            reason = error.reason
            raise
        finally:
            await self._leave(reason)
            host.disconnected(reason)

    async def _connect(self) -> _Live:
        now = asyncio.get_running_loop().time()
        link = await open_link(self._settings, self._timing.connect)
        bucket = Bucket(self._settings.flood_burst, self._settings.flood_interval, now)
        session = Session(self._settings, self.account, _epoch(), now, self._timing)
        return _Live(link, session, Outgoing(link, bucket, self._timing.patience))

    async def _serve(self, live: _Live, host: ChannelHost) -> None:
        for line in live.session.start():
            live.link.write(line)
        await live.link.flush()
        while True:
            await self._perform(await self._next(live), live, host)

    async def _next(self, live: _Live) -> Effects:
        """What the next bytes, or the passing of time, ask for.

        Reading comes before the clock: after a slow `receive` the server's bytes are there and it is not dead.
        """
        loop = asyncio.get_running_loop()
        data = await live.link.read(max(live.session.next_due() - loop.time(), _SHORTEST_WAIT))
        if data:
            return live.session.feed(data, loop.time(), time.time())
        return live.session.tick(loop.time())

    async def _perform(self, effects: Effects, live: _Live, host: ChannelHost) -> None:
        """Messages are handed over before anything here can fail: nobody will send them again."""
        for line in effects.lines:
            live.link.write(line)
        for reply in effects.replies:
            live.outgoing.settle(reply)
        if effects.welcomed:
            host.connected(f"{live.session.nick}@{self._settings.host}")
        if effects.messages:
            await host.receive(effects.messages)
        for note in effects.notes:
            log.warning("irc %s: %s", self.account, note)
        await live.link.flush()
        if effects.trouble is not None:
            raise effects.trouble

    async def _leave(self, reason: str) -> None:
        live, self._live = self._live, None
        if live is None:
            return
        live.outgoing.lose(f"the link was lost: {reason}")
        live.link.write(build("QUIT", "bye"))
        await live.link.close()

    # -- sending ------------------------------------------------------------------------------------------------

    async def send(self, message: Outbound) -> Receipt:
        """See `Channel.send`. The receipt holds the server's id of the first line where it gives ids."""
        target = message.address.target
        async with self._sending:
            live = self._ready(target)
            lines = self._lines(message, live.session.nick)
            return await live.outgoing.deliver(live.session.fold(target), lines) if lines else Receipt()

    def _ready(self, target: str) -> _Live:
        live = self._live
        if live is None or not live.session.welcomed:
            raise SendDelayed(f"not connected to {self._settings.host}")
        seat = live.session.rooms.find(without_status(target, live.session.isupport))
        if seat is not None and seat.state is not State.IN:
            wait = max(1.0, seat.due - asyncio.get_running_loop().time()) if seat.reason else 1.0
            raise SendDelayed(f"not in {seat.room.name} now: {seat.reason or 'joining'}", retry_after=wait)
        return live

    def _lines(self, message: Outbound, nick: str) -> list[bytes]:
        if len(message.text) > _MAX_SOURCE:
            raise SendRefused(f"a text of {len(message.text)} characters")
        try:
            return privmsgs(message.text, nick, message.address.target)
        except ValueError as error:
            raise SendRefused(f"cannot be sent to {message.address.target[:80]!r}: {error}") from None

    def note(self, message: Outbound) -> str:
        """See `Channel.note`. Nothing: IRC keeps no history that could be asked."""
        return ""

    async def confirm(self, message: Outbound, note: str) -> Receipt | None:
        """See `Channel.confirm`."""
        raise SendUncertain("IRC keeps no history to look in")

    async def typing(self, address: Address) -> None:
        """See `Channel.typing`: the IRCv3 client tag, where the server passes tags on and there is room for it."""
        live = self._live
        if live is None or "message-tags" not in live.session.caps or not live.outgoing.spare(PING_COST):
            return
        try:
            live.link.write(b"@+typing=active " + build("TAGMSG", address.target))
        except ValueError:
            return

    # -- looking ------------------------------------------------------------------------------------------------

    async def probe(self) -> Probe:
        """See `Channel.probe`: the running connection, or a login of its own that joins nothing."""
        live = self._live
        if live is not None and live.session.welcomed:
            return Probe(True, self._name(live.session), live.session.rooms.missing())
        try:
            async with asyncio.timeout(_PROBE_PATIENCE):
                return await self._try_login()
        except TimeoutError:
            return Probe(False, error=f"no welcome from {self._settings.host} in {_PROBE_PATIENCE:g} s")
        except (AccountTrouble, AccountRejected) as error:
            return Probe(False, error=error.reason)

    async def _try_login(self) -> Probe:
        live = await self._connect()
        try:
            await self._register(live)
            return Probe(True, self._name(live.session))
        finally:
            live.link.write(build("QUIT", "probe"))
            await live.link.close()

    async def _register(self, live: _Live) -> None:
        lines = live.session.start()
        while not live.session.welcomed:
            for line in lines:
                live.link.write(line)
            await live.link.flush()
            effects = await self._next(live)
            if effects.trouble is not None:
                raise effects.trouble
            lines = effects.lines

    def _name(self, session: Session) -> str:
        return f"{session.nick}@{self._settings.host}"

    async def close(self) -> None:
        """See `Channel.close`. `run` has left the network already."""
        await self._leave("closed")


def _epoch() -> str:
    """Prefix of our own message ids: differs for every connection, sorts by time."""
    return f"{time.time_ns() // 1_000_000:x}-{secrets.token_hex(3)}"
