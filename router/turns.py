"""The life of each message between the spool and its worker: dispatch, answers, the end, and crashes.

`AgentQueue` decides what goes out; this module performs it: links, spool commits, live events, typing. Order of a
crash-safe step is always the same: on disk first, then the word to the other side.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

import msgspec

from protocol import messages as m
from protocol.envelope import Address, Outbound
from protocol.errors import Temporary
from protocol.sandbox import Seat
from protocol.slices import RouterAgent
from protocol.tasks import Tasks
from router import replies
from router.accounts import Accounts
from router.dispatch import CRASHES_TO_BURY, AgentQueue
from router.outbound import Outbox
from router.relay import Relay
from router.spool.base import InboxRow, OutboxRow, Spool, part_key
from router.web.events import Doing, Ended, Event, Growing, Said, UserSaid
from router.web.feed import Feed
from router.workers import Workers

log = logging.getLogger(__name__)

#: Longest text taken from one Say, in characters, and most Says of one turn: a worker is hostile.
MAX_SAY, MAX_SEQ = 100_000, 200
#: Longest activity label shown to people.
MAX_LABEL = 200
#: Seconds without an answer until "typing" is shown, and between its refreshes (platforms drop it after 5-10 s).
TYPING_AFTER, TYPING_EVERY = 0.4, 5.0
#: Seconds a worker has to answer a question about its transcript.
HISTORY_TIMEOUT = 5.0
#: Seconds without anything to do after which the worker of a single session rests; its container is kept.
REST_AFTER = 300.0

Outcome = Literal["answered", "silent", "failed", "cancelled"]

FAREWELL = (
    "⚠️ Something went wrong while processing your request, three times in a row, so I gave it up. "
    "Please try again in other words, or use /new to start a fresh session."
)


class Calls(Protocol):
    """Hears what workers ask of the router beyond their answers (`router.calls`)."""

    def heard(
        self, seat: Seat, generation: int, row: InboxRow | None, message: m.Request | m.ApprovalWanted | m.Elevate
    ) -> None:
        """`row` is the message in whose name it asks; None when that is not with this worker now."""


class Turns:
    """All unfinished messages of all agents. Implements `workers.WorkerHandler`."""

    def __init__(
        self,
        spool: Spool,
        accounts: Accounts,
        feed: Feed,
        tasks: Tasks,
        report: Callable[[m.RouterToSupervisor], None],
    ) -> None:
        self._spool = spool
        self._accounts = accounts
        self._feed = feed
        self._tasks = tasks
        self._report = report
        self._agents: dict[str, RouterAgent] = {}
        self._queues: dict[Seat, AgentQueue] = {}
        self._wanted: set[Seat] = set()
        self._unused: dict[Seat, float] = {}
        self._typing: dict[str, asyncio.TimerHandle] = {}
        self._questions: dict[int, tuple[Seat, asyncio.Future[tuple[Any, ...]]]] = {}
        self._question = 0
        self._growing: dict[str, Growing] = {}
        self._relay = Relay()
        self._absent: set[Seat] = set()
        self._named: set[Seat] = set()
        #: Whether agents that got the same message answer one after the other (`broadcast.strategy`).
        self.sequential = False
        self.outbox = Outbox(spool, accounts, tasks, self._sent)
        self.workers: Workers
        self.calls: Calls
        #: What the sender of a message may have its agent do.
        self.grant: Callable[[InboxRow], m.Grant] = lambda row: m.Grant()

    # --- what is there ------------------------------------------------------------------------------------------

    async def load(self, agents: Iterable[RouterAgent]) -> None:
        """Take up what an earlier life of the router left in the spool."""
        self.update(agents)
        inbox, outbox = await self._spool.pending()
        self.outbox.resume(outbox)
        self.add(inbox)

    def update(self, agents: Iterable[RouterAgent]) -> None:
        """Serve these agents. Messages of an agent that is gone become dead letters, and those of a session that is
        worked on elsewhere now go there."""
        self._agents = {agent.id: agent for agent in agents}
        for seat, queue in list(self._queues.items()):
            if seat.agent in self._agents:
                queue.credit = self._agents[seat.agent].max_concurrent
                self._move(queue)
            else:
                del self._queues[seat]
                for row in queue.rows():
                    self._pass_on(row)
                    self._tasks.start(self._bury_orphan(row), f"bury {row.id}")

    def add(self, rows: Iterable[InboxRow]) -> None:
        """New messages, on disk already."""
        touched: dict[Seat, None] = {}
        for row in rows:
            queue = self._queue_for(row)
            if queue is None:
                self._tasks.start(self._bury_orphan(row), f"bury {row.id}")
                continue
            queue.add(row)
            if self.sequential and queue.seat not in self._absent and self._relay.join(row):
                queue.hold(row.id)
            touched[queue.seat] = None
            self._publish_question(row)
        for seat in touched:
            self._pump(seat)

    def busy(self, agent: str, session_key: str) -> bool:
        """Whether an answer is being worked out in this session."""
        return any(queue.owner(row.id) is not None for queue in self.queues(agent) for row in queue.of(session_key))

    def stop(self, agent: str, session_key: str) -> None:
        """End what runs in a session, and forget what waits behind it."""
        for queue in self.queues(agent):
            for row in queue.of(session_key):
                generation = queue.owner(row.id)
                if generation is not None:
                    self.workers.send(queue.seat, generation, m.Cancel(id=row.id))
                else:
                    self._withdraw(queue, row)

    def give_way(self, seat: Seat) -> None:
        """The worker cannot be started: until it can, nobody waits for its turn."""
        self._absent.add(seat)
        queue = self._queues.get(seat)
        for row in queue.rows() if queue else []:
            self._pass_on(row)

    def is_out(self, row: InboxRow) -> bool:
        """Whether a worker has this message now."""
        return any(queue.owner(row.id) is not None for queue in self.queues(row.agent))

    def seat(self, agent: str, session_key: str) -> Seat | None:
        """Where a session of the agent is worked on; None for an agent that is not served."""
        known = self._agents.get(agent)
        return Seat(agent, known.placement.place(agent, session_key)) if known else None

    def queue(self, agent: str, session_key: str) -> AgentQueue | None:
        """What is unfinished where this session is worked on."""
        seat = self.seat(agent, session_key)
        return self._queues.get(seat) if seat else None

    def queues(self, agent: str) -> list[AgentQueue]:
        """What the agent has not finished, one queue for each place."""
        return [queue for seat, queue in self._queues.items() if seat.agent == agent]

    def unused(self, now: float) -> list[Seat]:
        """Workers of single sessions that have had nothing to do for REST_AFTER seconds, each named once."""
        idle = {seat for seat, queue in self._queues.items() if self._may_rest(queue)}
        self._unused = {seat: self._unused.get(seat, now) for seat in idle}
        found = [seat for seat, since in self._unused.items() if now - since >= REST_AFTER]
        for seat in found:
            self._queues[seat].retire(self._queues[seat].current or 0)
        return found

    def _may_rest(self, queue: AgentQueue) -> bool:
        return queue.current is not None and not queue.rows() and not self._is_fixed(queue.seat)

    def _is_fixed(self, seat: Seat) -> bool:
        agent = self._agents.get(seat.agent)
        return agent is not None and seat.place in agent.placement.fixed(seat.agent)

    def _queue_for(self, row: InboxRow) -> AgentQueue | None:
        seat = self.seat(row.agent, row.session_key)
        if seat is None:
            return None
        if seat not in self._queues:
            self._queues[seat] = AgentQueue(seat, self._agents[row.agent].max_concurrent)
        return self._queues[seat]

    def _move(self, queue: AgentQueue) -> None:
        """What is no longer worked on here goes where it is; what a worker has, it finishes first."""
        rows = queue.hand_over(lambda session: self.seat(queue.seat.agent, session) == queue.seat)
        for row in rows:
            if (other := self._queue_for(row)) is not None:
                other.add(row)
        for seat in {other.seat for row in rows if (other := self._queue_for(row))}:
            self._pump(seat)

    async def history(self, agent: str, session_key: str, limit: int) -> tuple[m.HistoryEntry, ...]:
        """Ask the session's worker for the end of a transcript. Raises Temporary when it cannot answer in time."""
        seat, queue = self.seat(agent, session_key), self.queue(agent, session_key)
        if seat is None or queue is None or queue.current is None:
            if seat is not None:
                self._want(seat, session_key)
            raise Temporary(f"agent {agent} is starting", retry_after=1.0)

        def ask(number: int) -> m.RouterToWorker:
            return m.GetHistory(request=number, session_key=session_key, limit=limit)

        answer = await self._ask(seat, queue.current, ask, HISTORY_TIMEOUT)
        return tuple(answer)

    async def probe(
        self, seat: Seat, generation: int, targets: tuple[m.ProbeTarget, ...], timeout: float
    ) -> tuple[m.Finding, ...]:
        """Have a living worker try these attacks. Raises Temporary when it does not answer within `timeout` seconds."""
        answer = await self._ask(seat, generation, lambda number: m.Probe(request=number, targets=targets), timeout)
        return tuple(answer)

    async def _ask(
        self, seat: Seat, generation: int, make: Callable[[int], m.RouterToWorker], timeout: float
    ) -> tuple[Any, ...]:
        self._question += 1
        number = self._question
        answer: asyncio.Future[tuple[Any, ...]] = asyncio.get_running_loop().create_future()
        self._questions[number] = seat, answer
        try:
            self.workers.send(seat, generation, make(number))
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise Temporary(f"worker {seat} did not answer in {timeout:g} s", retry_after=1.0) from None
        finally:
            del self._questions[number]

    # --- what the supervisor says ---------------------------------------------------------------------------------

    def retire(self, seat: Seat, generation: int) -> None:
        """A newer generation is ready: the old one gets nothing more and finishes what it has."""
        if queue := self._queues.get(seat):
            queue.retire(generation)
        self.workers.send(seat, generation, m.Drain())

    def ended(self, seat: Seat, generation: int, crashed: bool, reason: str) -> None:
        """The worker process is gone. What it had waits again, or is buried after its third crash."""
        self.workers.forget(seat, generation, close=not self._is_fixed(seat))
        self._named.discard(seat)
        queue = self._queues.get(seat)
        if queue is None:
            return
        lost = queue.lose(generation)
        if crashed and lost:
            log.warning("worker %s died (%s) with %d message(s); they wait for the next one", seat, reason, len(lost))
            lost = [msgspec.structs.replace(row, crashes=row.crashes + 1) for row in lost]
            for row in lost:
                queue.replace(row)
            self._tasks.start(self._blame(queue, lost, reason), f"blame {seat}")
        self._move(queue)
        self._pump(seat)

    # --- what workers say (workers.WorkerHandler) -------------------------------------------------------------------

    def worker_up(self, seat: Seat, generation: int, hello: m.Hello) -> None:
        agent = self._agents.get(seat.agent)
        if agent is None:
            return
        queue = self._queues.setdefault(seat, AgentQueue(seat, agent.max_concurrent))
        self._wanted.discard(seat)
        self._absent.discard(seat)
        # What is done there is not delivered again; its Done, with the outcome, follows.
        queue.connect(generation, (*hello.running, *hello.done))
        self._pump(seat)

    def worker_said(self, seat: Seat, generation: int, message: m.WorkerToRouter) -> None:
        queue = self._queues.get(seat)
        if queue is None:
            return
        match message:
            case m.Say():
                self._tasks.start(self._say(queue, generation, message), f"say {message.id}")
            case m.Done():
                self._finish(queue, generation, message.id, message.outcome, message.error)
            case m.Accepted():
                self._start_typing(queue, message.id)
            case m.Partial():
                self._grow(queue, message)
            case m.Activity():
                doing = Doing(id=message.id, doing=message.doing, label=message.label[:MAX_LABEL])
                self._watch(queue.get(message.id), doing)
            case m.History():
                self._answer(seat, message.request, message.entries)
            case m.Probed():
                self._answer(seat, message.request, message.findings)
            case m.Request() | m.ApprovalWanted() | m.Elevate():
                # Only for a message that this very worker has: everything it asks for is asked in somebody's name.
                has_it = queue.owner(message.turn) == generation
                self.calls.heard(seat, generation, queue.get(message.turn) if has_it else None, message)

    async def _say(self, queue: AgentQueue, generation: int, say: m.Say) -> None:
        row = queue.get(say.id)
        if row is None:
            self._name_if_foreign(queue, say.id)
        elif 0 <= say.seq < MAX_SEQ:
            answer = replies.read_tag(say.text[:MAX_SAY], row.message)
            to = replies.places(row.message, self._reply_mode(row.message.reply), say.seq, answer.quotes)
            stored = await self.outbox.say(say.id, say.seq, answer.text, to.rest, to.first)
            if stored:
                self._growing.pop(row.id, None)
                self._watch(row, Said(id=row.id, seq=say.seq, text=answer.text, at=time.time()))
        # An id that has ended, or was never this agent's, is acknowledged too: nothing is stored, and nobody waits.
        self.workers.send(queue.seat, generation, m.SayAck(id=say.id, seq=say.seq))

    def _reply_mode(self, address: Address) -> object:
        account = self._accounts.find(address.channel, address.account)
        return account.settings.get("replyToMode") if account else None

    def _finish(self, queue: AgentQueue, generation: int, id: str, outcome: Outcome, error: str) -> None:
        row = queue.finish(id)
        if row is None:
            self._name_if_foreign(queue, id)
        else:
            self._stop_typing(id)
            self._growing.pop(id, None)
            self._pass_on(row)
        self._tasks.start(self._record_end(queue.seat, generation, row, id, outcome, error[:500]), f"finish {id}")
        self._move(queue)
        self._pump(queue.seat)

    def _name_if_foreign(self, queue: AgentQueue, id: str) -> None:
        """A worker speaks of a message that another one has: said once. Late words about its own are no lie."""
        if queue.seat in self._named:
            return
        if any(other.get(id) is not None for other in self._queues.values()):
            self._named.add(queue.seat)
            log.warning("worker %s speaks of message %s, which is not its own; nothing is done", queue.seat, id)

    def _withdraw(self, queue: AgentQueue, row: InboxRow) -> None:
        """A message that no worker has is taken back by its sender."""
        queue.finish(row.id)
        self._pass_on(row)
        self._tasks.start(self._end(row, "cancelled", "stopped before it began"), f"withdraw {row.id}")

    def _pass_on(self, row: InboxRow) -> None:
        """Let the next agent of a sequential broadcast begin."""
        following = self._relay.leave(row)
        if following is not None and (queue := self._queue_for(following)):
            queue.let_go(following.id)
            self._pump(queue.seat)

    async def _record_end(
        self, seat: Seat, generation: int, row: InboxRow | None, id: str, outcome: Outcome, error: str
    ) -> None:
        if row is not None:
            await self._end(row, outcome, error)
        self.workers.send(seat, generation, m.DoneAck(id=id))

    async def _end(self, row: InboxRow, outcome: Outcome, error: str) -> None:
        await self._spool.finish(row.id, outcome, error, time.time())
        level = logging.WARNING if outcome == "failed" else logging.INFO
        log.log(level, "%s %s by %s%s", row.id, outcome, row.agent, f": {error}" if error else "")
        self._watch(row, Ended(id=row.id, outcome=outcome, error=error))

    # --- sending it out ---------------------------------------------------------------------------------------------

    def _pump(self, seat: Seat) -> None:
        """Deliver what may go out now; ask for a worker when there is none."""
        queue = self._queues.get(seat)
        if queue is None:
            return  # the agent was removed while something of its was being written down
        for generation, row in queue.next():
            order = m.Deliver(id=row.id, session_key=row.session_key, message=row.message, grant=self.grant(row))
            if not self.workers.send(seat, generation, order):
                queue.lose(generation)
                break
        if queue.current is None and queue.waiting:
            self._want(seat, next(row.session_key for row in queue.rows() if queue.owner(row.id) is None))

    def _want(self, seat: Seat, session_key: str) -> None:
        if seat.agent in self._agents and seat not in self._wanted:
            self._wanted.add(seat)
            self._report(m.WorkerWanted(agent=seat.agent, place=seat.place, session_key=session_key))

    async def _blame(self, queue: AgentQueue, rows: list[InboxRow], reason: str) -> None:
        await self._spool.blame([row.id for row in rows])
        for row in rows:
            if row.crashes >= CRASHES_TO_BURY:
                await self._bury(queue, row, f"its worker died {row.crashes} times with it: {reason}")

    async def _bury(self, queue: AgentQueue, row: InboxRow, reason: str) -> None:
        log.error("message %s for %s is a dead letter: %s", row.id, row.agent, reason)
        queue.finish(row.id)
        self._stop_typing(row.id)
        self._pass_on(row)
        farewell = Outbound(key=part_key(row.id, MAX_SEQ, 0), address=row.message.reply, text=FAREWELL)
        self.outbox.resume(await self._spool.bury(row.id, reason, [farewell], time.time()))
        self._watch(row, Ended(id=row.id, outcome="failed", error=reason))
        self._pump(queue.seat)

    async def _bury_orphan(self, row: InboxRow) -> None:
        log.error("message %s is a dead letter: agent %s is not in the configuration any more", row.id, row.agent)
        await self._spool.bury(row.id, f"agent {row.agent} was removed", [], time.time())

    # --- live -------------------------------------------------------------------------------------------------------

    def running(self, session_key: str, agent: str) -> list[Event]:
        """What a new watcher of a session must know: the live text of its running turns."""
        rows = [row for queue in self.queues(agent) for row in queue.of(session_key)]
        return [self._growing[row.id] for row in rows if row.id in self._growing]

    def _publish_question(self, row: InboxRow) -> None:
        inbound = row.message
        sender = inbound.sender.name or inbound.sender.id
        text = f"/{inbound.command} {inbound.text}".strip() if inbound.command else inbound.text
        said = UserSaid(id=row.id, text=text, at=inbound.at, sender=sender, channel=inbound.channel)
        self._watch(row, said)

    def _watch(self, row: InboxRow | None, event: Event) -> None:
        if row is not None and self._feed.watched(row.session_key):
            self._feed.publish(row.session_key, event)

    def _grow(self, queue: AgentQueue, partial: m.Partial) -> None:
        """Live text: passed on, and kept for watchers who come later."""
        row = queue.get(partial.id)
        if row is None:
            return
        known = self._growing.get(row.id)
        before = known.text if known and known.seq == partial.seq else ""
        if partial.offset == len(before) and len(before) + len(partial.text) <= MAX_SAY:
            self._growing[row.id] = Growing(id=row.id, seq=partial.seq, offset=0, text=before + partial.text)
        self._watch(row, Growing(id=row.id, seq=partial.seq, offset=partial.offset, text=partial.text))

    def _sent(self, row: OutboxRow) -> None:
        self._stop_typing(row.inbound)

    def _answer(self, seat: Seat, request: int, entries: tuple[Any, ...]) -> None:
        asked, waiting = self._questions.get(request, (None, None))
        if asked == seat and waiting is not None and not waiting.done():
            waiting.set_result(entries)

    def _start_typing(self, queue: AgentQueue, id: str) -> None:
        row = queue.get(id)
        if row is not None and id not in self._typing:
            self._typing[id] = self._later(TYPING_AFTER, id, row.message.reply)

    def _later(self, seconds: float, id: str, address: Address) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self._show_typing, id, address)

    def _show_typing(self, id: str, address: Address) -> None:
        account = self._accounts.find(address.channel, address.account)
        if account is not None and account.online.is_set():
            self._tasks.start(account.channel.typing(address), f"typing {id}")
        self._typing[id] = self._later(TYPING_EVERY, id, address)

    def _stop_typing(self, id: str) -> None:
        if timer := self._typing.pop(id, None):
            timer.cancel()
