"""The operator's desk: what the page and the command line may do with agents. Implements `web.desk.OperatorDesk`.

A message from an operator needs no access check and no routing: it names its agent. It goes through the same spool and
the same session as every other message of that agent.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Literal

from protocol.control import AccountStatus
from protocol.envelope import Address, Inbound, Outbound, Peer, Sender
from protocol.errors import UserError
from protocol.messages import Finding, HistoryEntry, ProbeTarget
from protocol.sandbox import Seat
from protocol.slices import RouterAgent
from router import commands
from router.accounts import Accounts
from router.channels.base import Capabilities, ChannelHost, Probe, Receipt
from router.spool.base import Admission, Spool
from router.turns import Turns
from router.web.desk import Pending
from router.web.events import AgentState, AgentView
from router.web.feed import Feed, Subscription

CHANNEL = "webchat"
ACCOUNT = "default"
#: The page shows text of any length in one piece.
TEXT_LIMIT = 100_000


class WebchatChannel:
    """The page as a channel. Sending is free: the answer is in the transcript, and live events carry it to the page.

    That is why a lost answer is simply "not arrived": showing it again changes nothing.
    """

    channel = CHANNEL
    account = ACCOUNT
    capabilities = Capabilities(text_limit=TEXT_LIMIT, can_confirm=True)

    async def run(self, host: ChannelHost) -> None:
        host.connected("webchat")

    async def send(self, message: Outbound) -> Receipt:
        return Receipt(message.key)

    def note(self, message: Outbound) -> str:
        return ""

    async def confirm(self, message: Outbound, note: str) -> Receipt | None:
        return None

    async def typing(self, address: Address) -> None:
        return None

    async def probe(self) -> Probe:
        return Probe(True, "webchat")

    async def close(self) -> None:
        return None


class Desk:
    """What operators see and do."""

    def __init__(
        self,
        spool: Spool,
        turns: Turns,
        accounts: Accounts,
        feed: Feed,
        main_key: Callable[[str], str],
    ) -> None:
        self._spool = spool
        self._turns = turns
        self._accounts = accounts
        self._feed = feed
        self._main_key = main_key
        self._agents: dict[str, RouterAgent] = {}
        self._default = ""
        self._trouble: dict[str, str] = {}
        self.failing: list[str] = ["starting"]

    def update(self, agents: tuple[RouterAgent, ...], default: str) -> None:
        self._agents = {agent.id: agent for agent in agents}
        self._default = default

    def trouble(self, agent: str, reason: str) -> None:
        """The supervisor could not start the agent."""
        self._trouble[agent] = reason
        self._show_state(agent)

    def why(self, agent: str) -> str:
        """Why the agent cannot be started; empty when nothing is known to be wrong."""
        return self._trouble.get(agent, "")

    def recovered(self, agent: str) -> None:
        """The agent's worker said Hello."""
        if self._trouble.pop(agent, None) is not None:
            self._show_state(agent)

    def _show_state(self, agent: str) -> None:
        if known := self._agents.get(agent):
            self._feed.publish(self._main_key(agent), AgentState(agent=self._view(known)))

    def agents(self) -> list[AgentView]:
        return [self._view(agent) for agent in self._agents.values()]

    def session_key(self, agent: str, asked: str = "") -> str:
        return asked or self._main_key(agent)

    async def submit(self, agent: str, text: str, client_key: str = "", session_key: str = "") -> str:
        """Take over one operator message; durable when it returns. A repeated `client_key` gives the first id."""
        self._known(agent)
        key = f"{agent}:{client_key or uuid.uuid4().hex}"
        command = commands.parse(text)
        fresh = command if command and command.name in commands.WITH_TEXT else None
        message = Inbound(
            channel=CHANNEL,
            account=ACCOUNT,
            message_id=key,
            peer=Peer("direct", "operator"),
            sender=Sender("operator", "Operator"),
            text=fresh.text if fresh else text,
            command=fresh.name if fresh else "",
            at=time.time(),
            reply=Address(CHANNEL, ACCOUNT, agent),
        )
        admission = Admission(agent, self.session_key(agent, session_key), message, "operator")
        rows = await self._spool.admit([admission], None, message.at)
        self._turns.add(rows)
        return rows[0].id if rows else await self._spool.known(CHANNEL, ACCOUNT, key, agent)

    async def history(self, agent: str, limit: int) -> tuple[HistoryEntry, ...]:
        self._known(agent)
        return await self._turns.history(agent, self._main_key(agent), limit)

    def pending(self, agent: str) -> list[Pending]:
        """Messages of the agent's main session without an end yet."""
        key = self._main_key(agent)
        rows = [row for queue in self._turns.queues(agent) for row in queue.of(key)]
        return [Pending(row.id, row.message.text, row.message.at) for row in rows]

    def subscribe(self, agent: str) -> Subscription:
        return self.watch(agent, self._main_key(agent))

    def watch(self, agent: str, session_key: str) -> Subscription:
        """Events of one session of an agent."""
        self._known(agent)
        subscription = self._feed.subscribe(session_key)
        for event in self._turns.running(session_key, agent):
            subscription.offer(event)
        return subscription

    def living(self) -> list[tuple[Seat, int]]:
        """The workers that answer, with their generations."""
        return self._turns.workers.living()

    async def probe(
        self, seat: Seat, generation: int, targets: tuple[ProbeTarget, ...], timeout: float
    ) -> tuple[Finding, ...]:
        """Have a worker attack from where it is. Raises Temporary when it does not answer in time."""
        return await self._turns.probe(seat, generation, targets, timeout)

    def accounts(self) -> tuple[AccountStatus, ...]:
        return self._accounts.statuses()

    def ready(self) -> tuple[bool, list[str]]:
        return not self.failing, list(self.failing)

    def _known(self, agent: str) -> None:
        if agent not in self._agents:
            raise UserError(
                f'Unknown agent id "{agent}". Use "openclaw agents list" to see configured agents.',
                hint="openclaw agents list",
            )

    def _view(self, agent: RouterAgent) -> AgentView:
        trouble = self._trouble.get(agent.id, "")
        waits = any(queue.current is None and queue.waiting for queue in self._turns.queues(agent.id))
        state: Literal["ready", "starting", "trouble"] = "trouble" if trouble else "starting" if waits else "ready"
        return AgentView(
            id=agent.id,
            name=agent.name,
            emoji=agent.identity.emoji or "",
            is_default=agent.id == self._default,
            state=state,
            detail=trouble,
        )
