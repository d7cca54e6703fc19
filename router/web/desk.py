"""The seam between the web listener and the router: all that an operator at the page may see and do.

The listener knows nothing of spool, links or routing; the router core is an `OperatorDesk` and has never heard of HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from protocol.control import AccountStatus
from protocol.messages import HistoryEntry
from router.web.events import AgentView
from router.web.feed import Subscription


class Pending(NamedTuple):
    """A message that is on disk and not answered yet. `at` is in seconds since the epoch."""

    id: str
    text: str
    at: float


class OperatorDesk(Protocol):
    """Methods that take an agent raise UserError when there is no such agent."""

    def agents(self) -> Sequence[AgentView]:
        """Every configured agent, in the order of the configuration."""

    async def submit(self, agent: str, text: str, client_key: str) -> str:
        """Take over one message for the agent's main session; on return it is on disk. Returns its inbound id.

        The same `client_key` again gives the same id and no second message. Raises Temporary when it cannot be
        stored now.
        """

    async def history(self, agent: str, limit: int) -> tuple[HistoryEntry, ...]:
        """The last `limit` visible lines of the main session, oldest first.

        Asked of the worker: raises Temporary when it does not answer in time.
        """

    def pending(self, agent: str) -> Sequence[Pending]:
        """Messages of the main session without an end yet, oldest first; some may be in the history already."""

    def subscribe(self, agent: str) -> Subscription:
        """Events of the agent's main session from now on, beginning with the live state of turns that run.

        That is, for each of them: Doing, and Growing from offset 0. Raises Temporary when too many watch.
        """

    def accounts(self) -> Sequence[AccountStatus]:
        """Every channel account and whether messages flow."""

    def ready(self) -> tuple[bool, list[str]]:
        """Whether the router serves, and the names of what does not work yet."""
