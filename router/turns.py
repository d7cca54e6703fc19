"""The life of each message between the spool and its worker: dispatch, answers, the end, and crashes.

`AgentQueue` decides what goes out; this module performs it: links, spool commits, live events, typing. Order of a
crash-safe step is always the same: on disk first, then the word to the other side.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from protocol import messages as m
from protocol.envelope import Address, Outbound
from protocol.errors import Temporary
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

Outcome = Literal["answered", "silent", "failed", "cancelled"]

FAREWELL = (
    "⚠️ Something went wrong while processing your request, three times in a row, so I gave it up. "
    "Please try again in other words, or use /new to start a fresh session."
)


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
        self._queues: dict[str, AgentQueue] = {}
        self._wanted: set[str] = set()
        self._typing: dict[str, asyncio.TimerHandle] = {}
        self._questions: dict[int, asyncio.Future[tuple[m.HistoryEntry, ...]]] = {}
        self._question = 0
        self._growing: dict[str, Growing] = {}
        self._relay = Relay()
        self._absent: set[str] = set()
        #: Whether agents that got the same message answer one after the other (`broadcast.strategy`).
        self.sequential = False
        self.outbox = Outbox(spool, accounts, tasks, self._sent)
        self.workers: Workers

    # --- what is there ------------------------------------------------------------------------------------------

    async def load(self, agents: Iterable[RouterAgent]) -> None:
        """Take up what an earlier life of the router left in the spool."""
        self.update(agents)
        inbox, outbox = await self._spool.pending()
        self.outbox.resume(outbox)
        self.add(inbox)

    def update(self, agents: Iterable[RouterAgent]) -> None:
        """Serve these agents. Messages of an agent that is gone become dead letters."""
        wanted = {agent.id: agent for agent in agents}
        for id, agent in wanted.items():
            queue = self._queues.setdefault(id, AgentQueue(id, agent.max_concurrent))
            queue.credit = agent.max_concurrent
        for id in self._queues.keys() - wanted.keys():
            for row in self._queues.pop(id).rows():
                self._pass_on(row)
                self._tasks.start(self._bury_orphan(row), f"bury {row.id}")

    def add(self, rows: Iterable[InboxRow]) -> None:
        """New messages, on disk already."""
        touched: dict[str, None] = {}
        for row in rows:
            queue = self._queues.get(row.agent)
            if queue is None:
                self._tasks.start(self._bury_orphan(row), f"bury {row.id}")
                continue
            queue.add(row)
            if self.sequential and row.agent not in self._absent and self._relay.join(row):
                queue.hold(row.id)
            touched[row.agent] = None
            self._publish_question(row)
        for agent in touched:
            self._pump(agent)

    def busy(self, agent: str, session_key: str) -> bool:
        """Whether an answer is being worked out in this session."""
        queue = self._queues.get(agent)
        return queue is not None and any(queue.owner(row.id) is not None for row in queue.of(session_key))

    def stop(self, agent: str, session_key: str) -> None:
        """End what runs in a session, and forget what waits behind it."""
        queue = self._queues.get(agent)
        for row in queue.of(session_key) if queue else []:
            assert queue is not None
            generation = queue.owner(row.id)
            if generation is not None:
                self.workers.send(agent, generation, m.Cancel(id=row.id))
            else:
                self._withdraw(queue, row)

    def give_way(self, agent: str) -> None:
        """The agent cannot be started: until it can, nobody waits for its turn."""
        self._absent.add(agent)
        queue = self._queues.get(agent)
        for row in queue.rows() if queue else []:
            self._pass_on(row)

    def queue(self, agent: str) -> AgentQueue | None:
        return self._queues.get(agent)

    async def history(self, agent: str, session_key: str, limit: int) -> tuple[m.HistoryEntry, ...]:
        """Ask the agent's worker for the end of a transcript. Raises Temporary when it cannot answer in time."""
        queue = self._queues.get(agent)
        if queue is None or queue.current is None:
            self._want(agent)
            raise Temporary(f"agent {agent} is starting", retry_after=1.0)
        self._question += 1
        answer: asyncio.Future[tuple[m.HistoryEntry, ...]] = asyncio.get_running_loop().create_future()
        self._questions[self._question] = answer
        question = m.GetHistory(request=self._question, session_key=session_key, limit=limit)
        try:
            self.workers.send(agent, queue.current, question)
            async with asyncio.timeout(HISTORY_TIMEOUT):
                return await answer
        except TimeoutError:
            raise Temporary(f"agent {agent} did not answer in {HISTORY_TIMEOUT:g} s", retry_after=1.0) from None
        finally:
            self._questions.pop(question.request, None)

    # --- what the supervisor says ---------------------------------------------------------------------------------

    def retire(self, agent: str, generation: int) -> None:
        """A newer generation is ready: the old one gets nothing more and finishes what it has."""
        if queue := self._queues.get(agent):
            queue.retire(generation)
            self.workers.send(agent, generation, m.Drain())

    def ended(self, agent: str, generation: int, crashed: bool, reason: str) -> None:
        """The worker process is gone. What it had waits again, or is buried after its third crash."""
        self.workers.forget(agent, generation)
        queue = self._queues.get(agent)
        if queue is None:
            return
        lost = queue.lose(generation)
        if crashed and lost:
            log.warning("worker %s died (%s) with %d message(s); they wait for the next one", agent, reason, len(lost))
            lost = [msgspec.structs.replace(row, crashes=row.crashes + 1) for row in lost]
            for row in lost:
                queue.replace(row)
            self._tasks.start(self._blame(queue, lost, reason), f"blame {agent}")
        self._pump(agent)

    # --- what workers say (workers.WorkerHandler) -------------------------------------------------------------------

    def worker_up(self, agent: str, generation: int, hello: m.Hello) -> None:
        queue = self._queues.get(agent)
        if queue is None:
            return
        self._wanted.discard(agent)
        self._absent.discard(agent)
        # What is done there is not delivered again; its Done, with the outcome, follows.
        queue.connect(generation, (*hello.running, *hello.done))
        self._pump(agent)

    def worker_said(self, agent: str, generation: int, message: m.WorkerToRouter) -> None:
        queue = self._queues.get(agent)
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
                self._answer(message)

    async def _say(self, queue: AgentQueue, generation: int, say: m.Say) -> None:
        row = queue.get(say.id)
        if row is not None and 0 <= say.seq < MAX_SEQ:
            answer = replies.read_tag(say.text[:MAX_SAY], row.message)
            to = replies.places(row.message, self._reply_mode(row.message.reply), say.seq, answer.quotes)
            stored = await self.outbox.say(say.id, say.seq, answer.text, to.rest, to.first)
            if stored:
                self._growing.pop(row.id, None)
                self._watch(row, Said(id=row.id, seq=say.seq, text=answer.text, at=time.time()))
        # An id that has ended, or was never this agent's, is acknowledged too: nothing is stored, and nobody waits.
        self.workers.send(queue.agent, generation, m.SayAck(id=say.id, seq=say.seq))

    def _reply_mode(self, address: Address) -> object:
        account = self._accounts.find(address.channel, address.account)
        return account.settings.get("replyToMode") if account else None

    def _finish(self, queue: AgentQueue, generation: int, id: str, outcome: Outcome, error: str) -> None:
        row = queue.finish(id)
        self._stop_typing(id)
        self._growing.pop(id, None)
        if row is not None:
            self._pass_on(row)
        self._tasks.start(self._record_end(queue.agent, generation, row, id, outcome, error[:500]), f"finish {id}")
        self._pump(queue.agent)

    def _withdraw(self, queue: AgentQueue, row: InboxRow) -> None:
        """A message that no worker has is taken back by its sender."""
        queue.finish(row.id)
        self._pass_on(row)
        self._tasks.start(self._end(row, "cancelled", "stopped before it began"), f"withdraw {row.id}")

    def _pass_on(self, row: InboxRow) -> None:
        """Let the next agent of a sequential broadcast begin."""
        following = self._relay.leave(row)
        if following is not None and (queue := self._queues.get(following.agent)):
            queue.let_go(following.id)
            self._pump(following.agent)

    async def _record_end(
        self, agent: str, generation: int, row: InboxRow | None, id: str, outcome: Outcome, error: str
    ) -> None:
        if row is not None:
            await self._end(row, outcome, error)
        self.workers.send(agent, generation, m.DoneAck(id=id))

    async def _end(self, row: InboxRow, outcome: Outcome, error: str) -> None:
        await self._spool.finish(row.id, outcome, error, time.time())
        level = logging.WARNING if outcome == "failed" else logging.INFO
        log.log(level, "%s %s by %s%s", row.id, outcome, row.agent, f": {error}" if error else "")
        self._watch(row, Ended(id=row.id, outcome=outcome, error=error))

    # --- sending it out ---------------------------------------------------------------------------------------------

    def _pump(self, agent: str) -> None:
        """Deliver what may go out now; ask for a worker when there is none."""
        queue = self._queues.get(agent)
        if queue is None:
            return  # the agent was removed while something of its was being written down
        for delivery in queue.next():
            row = delivery.row
            sent = self.workers.send(
                agent, delivery.generation, m.Deliver(id=row.id, session_key=row.session_key, message=row.message)
            )
            if not sent:
                queue.lose(delivery.generation)
                break
        if queue.current is None and queue.waiting:
            self._want(agent)

    def _want(self, agent: str) -> None:
        if agent in self._queues and agent not in self._wanted:
            self._wanted.add(agent)
            self._report(m.WorkerWanted(agent=agent))

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
        self._pump(queue.agent)

    async def _bury_orphan(self, row: InboxRow) -> None:
        log.error("message %s is a dead letter: agent %s is not in the configuration any more", row.id, row.agent)
        await self._spool.bury(row.id, f"agent {row.agent} was removed", [], time.time())

    # --- live -------------------------------------------------------------------------------------------------------

    def running(self, session_key: str, agent: str) -> list[Event]:
        """What a new watcher of a session must know: the live text of its running turns."""
        queue = self._queues.get(agent)
        rows = queue.rows() if queue else []
        return [self._growing[row.id] for row in rows if row.session_key == session_key and row.id in self._growing]

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

    def _answer(self, history: m.History) -> None:
        waiting = self._questions.get(history.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(history.entries)

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
