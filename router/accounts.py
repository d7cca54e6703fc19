"""The channel accounts of this router: each runs by itself, so one dead login never touches another.

A runner keeps its channel running with a growing pause; a login that the platform rejects rests until its settings
change. What an operator sees of an account (`channels status`) is collected here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from protocol.control import AccountStatus
from protocol.envelope import Inbound, Outbound
from protocol.errors import UserError
from protocol.tasks import Tasks
from router.channels.base import AccountRejected, AccountTrouble, Channel, Probe, Receipt, SendDelayed
from router.spool.backoff import pause

log = logging.getLogger(__name__)

#: Seconds between restarts of a channel that ended by itself: first and longest.
RESTART_BASE, RESTART_CAP = 1.0, 60.0
#: A channel that ran this long starts again with the first pause.
SETTLED = 60.0

#: Seconds that sends under way get to arrive before their account is restarted.
LAST_SENDS = 5.0
#: What decides about people and answers, not about the connection: it changes without a new login.
NOT_OF_THE_LOGIN = frozenset({"dmPolicy", "allowFrom", "groupPolicy", "groupAllowFrom", "groups", "replyToMode"})

Receive = Callable[[Sequence[Inbound], str | None], Awaitable[None]]
Create = Callable[[str, str, Mapping[str, Any]], Channel]


class Account:
    """One login: its channel, its runner and what is known of it. Is the ChannelHost of its channel."""

    def __init__(
        self,
        channel: Channel,
        settings: Mapping[str, Any],
        receive: Receive,
        cursor: Callable[[], Awaitable[str | None]],
    ) -> None:
        self.channel = channel
        self.settings = settings
        self._receive = receive
        self._cursor = cursor
        self.online = asyncio.Event()
        self.login = ""
        self.error = ""
        self.running = False
        self.paused = False
        self.inbound_at = 0.0
        self.outbound_at = 0.0
        self._extra = {"subsystem": f"channels/{channel.channel}"}
        self._closing = False
        self._taking: set[asyncio.Future[None]] = set()
        self._sending: set[asyncio.Future[None]] = set()

    async def receive(self, messages: Sequence[Inbound], cursor: str | None = None) -> None:
        """A batch is taken whole or not at all: a channel that is ended meanwhile does not cut it in two."""
        if self.paused:
            await asyncio.Event().wait()  # never confirmed: the platform keeps it for the next router
        if messages:
            self.inbound_at = time.time()
        taking = asyncio.ensure_future(self._receive(messages, cursor))
        self._taking.add(taking)
        taking.add_done_callback(self._taking.discard)
        await asyncio.shield(taking)

    async def send(self, message: Outbound) -> Receipt:
        """As the channel does it. An account that is being ended begins nothing: the next one of its name sends it."""
        with self._use():
            return await self.channel.send(message)

    async def confirm(self, message: Outbound, note: str) -> Receipt | None:
        """As the channel does it."""
        with self._use():
            return await self.channel.confirm(message, note)

    async def close(self, runner: asyncio.Task[None] | None) -> None:
        """Let what is on its way arrive, then end the channel."""
        self._closing = True
        self.online.clear()
        if self._sending:
            await asyncio.wait(self._sending, timeout=LAST_SENDS)
        if runner is not None:
            runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await runner
        if self._taking:
            await asyncio.wait(self._taking)
        await self.channel.close()

    async def cursor(self) -> str | None:
        return await self._cursor()

    def connected(self, login: str) -> None:
        log.info("%s connected as %s", self, login, extra=self._extra)
        self.login, self.error = login, ""
        self.online.set()

    def disconnected(self, reason: str) -> None:
        if reason != self.error:
            log.warning(
                "%s disconnected: %s; it goes on trying",
                self,
                reason,
                extra={"subsystem": f"channels/{self.channel.channel}"},
            )
        self.error = reason
        self.online.clear()

    async def run(self) -> None:
        """Keep the channel running until it is cancelled or its login is rejected."""
        self.running = True
        attempt = 0
        try:
            while True:
                started = time.monotonic()
                try:
                    await self.channel.run(self)
                except AccountRejected as error:
                    self._stop(error.reason)
                    return
                except AccountTrouble as error:
                    self.disconnected(error.reason)
                    wait = error.retry_after
                except Exception:
                    log.exception("%s: the channel failed by our own fault; it will be started again", self)
                    self.disconnected("internal error, see the log")
                    wait = None
                else:
                    wait = None
                attempt = 1 if time.monotonic() - started > SETTLED else attempt + 1
                await asyncio.sleep(wait or pause(attempt, RESTART_BASE, RESTART_CAP, random.random()))
        finally:
            self.running = False
            self.online.clear()

    def status(self) -> AccountStatus:
        return AccountStatus(
            channel=self.channel.channel,
            account=self.channel.account,
            enabled=True,
            configured=True,
            running=self.running,
            connected=self.online.is_set(),
            login=self.login,
            error=self.error,
            inbound_at=self.inbound_at,
            outbound_at=self.outbound_at,
        )

    async def probe(self, timeout: float) -> Probe:
        try:
            async with asyncio.timeout(timeout):
                return await self.channel.probe()
        except TimeoutError:
            return Probe(False, error=f"no answer within {timeout:g} s")

    @contextlib.contextmanager
    def _use(self) -> Iterator[None]:
        if self._closing:
            raise SendDelayed("the account is being restarted", retry_after=0.0)
        using = asyncio.get_running_loop().create_future()
        self._sending.add(using)
        try:
            yield
        finally:
            self._sending.discard(using)
            using.set_result(None)

    def _stop(self, reason: str) -> None:
        log.error(
            "%s rejected: %s; this account rests until its settings change, all others go on",
            self,
            reason,
            extra=self._extra,
        )
        self.error = reason

    def __str__(self) -> str:
        return f"[{self.channel.channel}] [{self.channel.account}]"


class Accounts:
    """All accounts. `update` applies exactly the difference; `find` waits for nothing."""

    def __init__(
        self,
        create: Create,
        receive: Callable[[Account, Sequence[Inbound], str | None], Awaitable[None]],
        cursor: Callable[[str, str], Awaitable[str | None]],
        tasks: Tasks,
    ) -> None:
        self._create = create
        self._receive = receive
        self._cursor = cursor
        self._tasks = tasks
        self._accounts: dict[tuple[str, str], Account] = {}
        self._runners: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._broken: dict[tuple[str, str], AccountStatus] = {}
        self._paused = False
        self._updating = asyncio.Lock()
        self.changed = asyncio.Event()

    async def update(self, wanted: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
        """Run these accounts (channel, account) -> settings, and no others. Who is not touched does not notice."""
        async with self._updating:
            changed = [key for key in self._runners if not _same_login(self._accounts[key].settings, wanted.get(key))]
            for key in changed:
                log.info("[%s] [%s] %s", *key, "restarting" if key in wanted else "ending")
            await asyncio.gather(*(self._end(key) for key in changed))
            self._broken = {key: status for key, status in self._broken.items() if key in wanted}
            for key, settings in wanted.items():
                if key in self._accounts:
                    self._accounts[key].settings = settings
                else:
                    self._begin(key, settings)
            self.changed.set()
            self.changed.clear()

    def add(self, channel: Channel) -> Account:
        """A channel of our own that needs no runner (webchat): always online."""
        account = Account(channel, {}, self._nothing, self._no_cursor)
        account.online.set()
        self._accounts[channel.channel, channel.account] = account
        return account

    def find(self, channel: str, account: str) -> Account | None:
        return self._accounts.get((channel, account))

    def statuses(self) -> tuple[AccountStatus, ...]:
        """Everything that has a runner or could not get one, sorted."""
        known = [account.status() for key, account in self._accounts.items() if key in self._runners]
        return tuple(sorted([*known, *self._broken.values()], key=lambda status: (status.channel, status.account)))

    async def probe(self, timeout: float) -> tuple[AccountStatus, ...]:
        """Like `statuses`, with a live check of each login, all at once."""

        async def one(status: AccountStatus) -> AccountStatus:
            account = self.find(status.channel, status.account)
            if account is None:
                return status
            probe = await account.probe(timeout)
            changes: dict[str, Any] = {"probe_ok": probe.ok}
            if probe.name:
                changes["login"] = probe.name
            if not probe.ok:
                changes["error"] = status.error or probe.error
            return msgspec.structs.replace(status, **changes)

        return tuple(await asyncio.gather(*(one(status) for status in self.statuses())))

    def pause(self) -> None:
        """Take no more messages; what we owe can still be sent."""
        self._paused = True
        for account in self._accounts.values():
            account.paused = True

    async def close(self) -> None:
        await asyncio.gather(*(self._end(key) for key in list(self._accounts)))

    def _begin(self, key: tuple[str, str], settings: Mapping[str, Any]) -> None:
        channel, name = key
        self._broken.pop(key, None)
        try:
            made = self._create(channel, name, settings)
        except UserError as error:
            log.error("[%s] [%s] cannot start: %s", channel, name, error.message)
            self._broken[key] = AccountStatus(
                channel=channel,
                account=name,
                enabled=True,
                configured=False,
                running=False,
                connected=False,
                error=error.message,
            )
            return

        async def receive(messages: Sequence[Inbound], cursor: str | None) -> None:
            await self._receive(account, messages, cursor)

        account = Account(made, settings, receive, lambda: self._cursor(channel, name))
        self._accounts[key] = account
        account.paused = self._paused
        self._runners[key] = self._tasks.start(account.run(), f"account {channel}:{name}")

    async def _end(self, key: tuple[str, str]) -> None:
        account = self._accounts[key]
        await account.close(self._runners.pop(key, None))
        del self._accounts[key]
        # Whoever waits for this login to come up looks again, and finds the next one of its name.
        account.online.set()

    @staticmethod
    async def _nothing(messages: Sequence[Inbound], cursor: str | None) -> None:
        return None

    @staticmethod
    async def _no_cursor() -> str | None:
        return None


def _same_login(old: Mapping[str, Any], new: Mapping[str, Any] | None) -> bool:
    """Whether the connection may stay as it is."""
    if new is None or old is new:
        return new is not None
    return all(old.get(key) == new.get(key) for key in (old.keys() | new.keys()) - NOT_OF_THE_LOGIN)
