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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from protocol.control import AccountStatus
from protocol.envelope import Inbound
from protocol.errors import UserError
from protocol.tasks import Tasks
from router.channels.base import AccountRejected, AccountTrouble, Channel, Probe
from router.spool.backoff import pause

log = logging.getLogger(__name__)

#: Seconds between restarts of a channel that ended by itself: first and longest.
RESTART_BASE, RESTART_CAP = 1.0, 60.0
#: A channel that ran this long starts again with the first pause.
SETTLED = 60.0

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
        self.inbound_at = 0.0
        self.outbound_at = 0.0
        self._extra = {"subsystem": f"channels/{channel.channel}"}

    async def receive(self, messages: Sequence[Inbound], cursor: str | None = None) -> None:
        if messages:
            self.inbound_at = time.time()
        await self._receive(messages, cursor)

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
        self.changed = asyncio.Event()

    async def update(self, wanted: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
        """Run these accounts (channel, account) -> settings, and no others."""
        for key, account in list(self._accounts.items()):
            if key in self._runners and wanted.get(key) != account.settings:
                await self._end(key)
        self._broken = {key: status for key, status in self._broken.items() if key in wanted}
        for key, settings in wanted.items():
            if key not in self._accounts:
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

    async def close(self) -> None:
        for key in list(self._accounts):
            await self._end(key)

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
            if self._paused:
                await asyncio.Event().wait()  # never confirmed: the platform keeps it for the next router
            await self._receive(account, messages, cursor)

        account = Account(made, settings, receive, lambda: self._cursor(channel, name))
        self._accounts[key] = account
        self._runners[key] = self._tasks.start(account.run(), f"account {channel}:{name}")

    async def _end(self, key: tuple[str, str]) -> None:
        account = self._accounts.pop(key)
        if runner := self._runners.pop(key, None):
            runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await runner
        await account.channel.close()

    @staticmethod
    async def _nothing(messages: Sequence[Inbound], cursor: str | None) -> None:
        return None

    @staticmethod
    async def _no_cursor() -> str | None:
        return None
