"""Hears the requests of all workers: limits them, decides about each by policy, has it done, answers once.

Each request runs in a task of its own and is dropped with its worker. Whatever is wrong with a request is answered with
a refusal and logged with the worker's name; a worker that goes on is replaced (FIELD S64 to S66).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from protocol import messages as m
from protocol.errors import Temporary
from protocol.sandbox import Seat
from protocol.slices import ToolRules
from protocol.tasks import Tasks
from protocol.tool_policy import ALL_TOOLS, normalize
from router import policy
from router.accounts import Accounts
from router.calls.arguments import BadArguments
from router.calls.book import Book, Known
from router.calls.call import Call, Perform, Question, Refused, refusal
from router.calls.channel import InternalChannel
from router.calls.limits import Answer, Ledger
from router.calls.send import Sending
from router.calls.sessions import Sessions
from router.calls.speak import Speaking
from router.rules import Rules
from router.spool.base import InboxRow, Spool
from router.turns import Turns
from router.web.feed import Feed

log = logging.getLogger(__name__)

#: Sessions that are looked up in the spool when the router starts.
RECALLED = 5000
#: Requests kept while the router loads its spool.
MAX_EARLY = 1000
#: Tools of the original that reach beyond a worker and that nobody performs yet.
NOT_BUILT = "not available in this build"


class Calls:
    """The requests of all workers. Implements `turns.Calls`.

    `approve` and `elevate` perform ApprovalWanted and Elevate; `elevated` says how far the sender of a message may
    leave the sandbox. Until somebody sets them, nobody may.
    """

    def __init__(self, spool: Spool, turns: Turns, accounts: Accounts, feed: Feed, tasks: Tasks) -> None:
        self._spool = spool
        self._turns = turns
        self._accounts = accounts
        self._tasks = tasks
        self._rules: Rules
        self._tools: Mapping[str, ToolRules] = {}
        self._ledgers: dict[tuple[Seat, int], Ledger] = {}
        self._running: dict[tuple[Seat, int], set[asyncio.Task[None]]] = {}
        self._early: list[tuple[Seat, int, Question]] | None = []
        self._book = Book()
        sessions = Sessions(turns, self._book)
        sending, speaking = Sending(spool, turns, feed, sessions), Speaking(turns, accounts)
        self._parts = (sessions, speaking)
        self.approve: Perform = _nobody
        self.elevate: Perform = _nobody
        self.elevated: Callable[[InboxRow], m.Elevated] = lambda row: "off"
        self._perform: Mapping[str, Perform] = {
            "sessions_list": sessions.list,
            "sessions_history": sessions.history,
            "session_status": sessions.status,
            "agents_list": sessions.agents,
            "sessions_send": sending.send,
            "message": speaking.message,
        }

    async def start(self) -> None:
        """Recall the sessions there are. Raises SpoolFailed."""
        self._accounts.add(InternalChannel())
        for row in reversed(await self._spool.sessions(RECALLED)):
            self._note(row)

    def loaded(self) -> None:
        """What an earlier life of the router left is queued again: workers that asked meanwhile are heard now."""
        early, self._early = self._early or [], None
        for seat, generation, message in early:
            self._turns.worker_said(seat, generation, message)

    def update(self, rules: Rules) -> None:
        """Decide by this configuration from now on."""
        self._rules = rules
        served = (*rules.slice.agents, *rules.slice.leaving)
        self._tools = {agent.id: agent.tools for agent in served}
        self._book.keep(rules.agents)
        for part in self._parts:
            part.update(rules)

    def grant(self, row: InboxRow) -> m.Grant:
        """What the sender of a message may have its agent do; asked when it is delivered."""
        self._note(row)
        return self._granted(row)

    def heard(self, seat: Seat, generation: int, row: InboxRow | None, message: Question) -> None:
        """A worker asks for something. `row` is None when it is not in the name of a message it has."""
        if row is None and self._early is not None and len(self._early) < MAX_EARLY:
            self._early.append((seat, generation, message))
            return
        now, life = time.monotonic(), (seat, generation)
        ledger = self._ledgers.setdefault(life, Ledger(now))
        if not ledger.requests.take(now):
            self._strike(life, ledger, message, "asks more than it may", now)
        elif (known := ledger.answer(message.request)) is not None:
            self._turns.workers.send(seat, generation, known)
        elif ledger.is_open(message.request):
            return
        elif row is None or row.agent != seat.agent:
            self._strike(life, ledger, message, f"asks in the name of {message.turn[:64]!r}, which it has not", now)
        elif ledger.full:
            self._strike(life, ledger, message, "has too many requests open", now)
        else:
            self._begin(life, ledger, Call(seat, generation, row, self._granted(row), message), now)

    def ended(self, seat: Seat, generation: int) -> None:
        """The worker is gone: nobody waits for what it asked."""
        self._ledgers.pop((seat, generation), None)
        for task in self._running.pop((seat, generation), ()):
            task.cancel()

    # --- deciding ------------------------------------------------------------------------------------------------

    def _begin(self, life: tuple[Seat, int], ledger: Ledger, call: Call, now: float) -> None:
        tool = normalize(call.question.tool) if isinstance(call.question, m.Request) else "exec"
        if tool not in ALL_TOOLS:
            self._strike(life, ledger, call.question, f"asks for the unknown tool {tool[:64]!r}", now)
        elif not self._may(call, tool):
            self._strike(life, ledger, call.question, f"asks for {tool}, which its tool policy denies", now)
        elif (perform := self._performer(call.question, tool)) is None:
            self._refuse(life, call.question, f"{tool} is {NOT_BUILT}")
        else:
            ledger.begin(call.question.request)
            task = self._tasks.start(self._work(ledger, call, perform), f"{tool} of {call.seat}")
            self._running.setdefault(life, set()).add(task)
            task.add_done_callback(lambda done: self._running.get(life, set()).discard(done))

    def _may(self, call: Call, tool: str) -> bool:
        rules = self._tools.get(call.seat.agent)
        return rules is not None and bool(policy.allowed(rules, call.seat.place, call.granted, (tool,)))

    def _performer(self, question: Question, tool: str) -> Perform | None:
        match question:
            case m.ApprovalWanted():
                return self.approve
            case m.Elevate():
                return self.elevate
        return self._perform.get(tool)

    def _granted(self, row: InboxRow) -> m.Grant:
        message, slice = row.message, self._rules.slice
        account = self._accounts.find(message.channel, message.account)
        section = slice.channels.get(message.channel)
        return policy.grant(
            message,
            operator=row.origin == "operator",
            orders=slice.commands,
            section=section if isinstance(section, Mapping) else {},
            settings=self._rules.settings(message.channel, message.account, account.settings if account else {}),
            elevated=self.elevated(row),
        )

    def _note(self, row: InboxRow) -> None:
        if row.agent in self._tools:
            self._book.note(
                Known(row.agent, row.session_key, row.message.channel, row.message.subject[:200], row.created_at)
            )

    # --- doing ---------------------------------------------------------------------------------------------------

    async def _work(self, ledger: Ledger, call: Call, perform: Perform) -> None:
        answer = await self._answer(call, perform)
        ledger.end(answer)
        self._turns.workers.send(call.seat, call.generation, answer)

    async def _answer(self, call: Call, perform: Perform) -> Answer:
        """Every failure is an answer: nothing that a worker asks may end the router."""
        try:
            return await perform(call)
        except Refused as error:
            log.warning("worker %s may not: %s", call.seat, error)
            return refusal(call.question, str(error), error.status)
        except BadArguments as error:
            return refusal(call.question, str(error))
        except Temporary as error:
            log.warning("a request of worker %s failed: %s", call.seat, error)
            return refusal(call.question, f"{error}; try again later")
        except Exception:
            log.exception("a request of worker %s failed by our own fault", call.seat)
            return refusal(call.question, "internal error in the gateway")

    def _strike(self, life: tuple[Seat, int], ledger: Ledger, question: Question, what: str, now: float) -> None:
        """Refuse it, say who it was, and have the worker replaced when it does not stop."""
        if ledger.strikes.take(now):
            log.warning("worker %s generation %d %s; refused", *life, what)
            self._refuse(life, question, f"refused: this worker {what}")
        else:
            self._turns.workers.misbehaved(*life, f"it {what}, again and again")

    def _refuse(self, life: tuple[Seat, int], question: Question, error: str) -> None:
        self._turns.workers.send(*life, refusal(question, error))


async def _nobody(call: Call) -> Answer:
    return refusal(call.question, NOT_BUILT)
