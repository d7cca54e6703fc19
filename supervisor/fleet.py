"""All workers: on each seat one worker, or two while one takes over from the other.

An agent has a seat for each place where its sessions are worked on. Those of single sessions (sandbox scope `session`)
are made when a message comes, and taken away with the worker that rests.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from protocol import messages as m
from protocol.control import ProcessStatus
from protocol.sandbox import HOST, Seat
from supervisor import life
from supervisor.bodies import WorkerBody
from supervisor.child import Child, Office
from supervisor.disk_usage import Home
from supervisor.life import State
from supervisor.plan import Plan
from supervisor.spawners.base import Spawner
from supervisor.uids import is_ours
from supervisor.workerplan import WorkerPlan

#: Up to so many agents have their worker started at once; with more, each worker starts with its first message.
EAGER = 100
#: Workers of single sessions that one agent may have at once: whoever writes to it chooses how many sessions there are.
SESSIONS_AT_ONCE = 8
#: Workers replaced side by side on a restart.
_ROLLING = 4

Say = Callable[[str], None]


class Bench:
    """Who sits on one seat. `children[-1]` is the one that serves or will serve; those before it are leaving.

    `session_key` is the session it was made for, where that matters. `leaving`: since this version of the configuration
    the agent is in it no more, and it stays until `idle`; None for who stays. `gone`: its sessions are worked on
    elsewhere now. `lock` is held while its worker is exchanged.
    """

    def __init__(self, plan: WorkerPlan, session_key: str = "") -> None:
        self.seat = plan.seat
        self.plan = plan
        self.session_key = session_key
        self.children: list[Child] = []
        self.leaving: int | None = None
        self.gone = False
        self.ending = False
        self.idle = asyncio.Event()
        self.lock = asyncio.Lock()

    @property
    def child(self) -> Child:
        return self.children[-1]

    @property
    def name(self) -> str:
        agent, place = self.seat
        return f"worker {agent}" if place == HOST else f"worker {agent} [{place}]"


class Fleet:
    """The workers of all agents."""

    def __init__(
        self,
        office: Office,
        spawner: Spawner,
        tell_router: Callable[[Any], bool],
        settings: Callable[[WorkerPlan], life.Settings],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._office = office
        self._spawner = spawner
        self._tell_router = tell_router
        self._settings = settings
        self._on_end = on_end
        self._benches: dict[Seat, Bench] = {}
        self._agents: dict[str, None] = {}
        self._seen_off: set[str] = set()
        self._cut: Callable[[Seat, str], WorkerPlan | None] = lambda seat, session_key: None
        self._rolling = asyncio.Semaphore(_ROLLING)
        self._queue: dict[Seat, None] = {}
        self._open = True

    # --- who there is ---

    def seat_all(self, plan: Plan) -> None:
        """Give every agent its seats and their newest plans. Nobody is started; who is on his way out stays, and a
        seat where nothing is worked on any more is given up when its worker has finished."""
        self._agents, self._cut = dict.fromkeys((*self._agents, *plan.agents)), plan.cutter.worker
        self._seen_off -= plan.agents.keys()
        for seat, worker in plan.fixed.items():
            bench = self._benches.get(seat) or self._add(Bench(worker))
            bench.plan, bench.leaving, bench.gone = worker, None, False
        for seat, bench in self._benches.items():
            if seat in plan.fixed or seat.agent not in plan.agents:
                continue
            newest = plan.cutter.worker(seat, bench.session_key) if bench.session_key else None
            bench.plan, bench.leaving = newest or bench.plan, None
            if newest is None and not bench.gone:
                bench.gone = True
                self._office.tasks.start(self._give_up(bench), f"end of {bench.name}")

    def agents(self) -> tuple[str, ...]:
        return tuple(self._agents)

    def start_eagerly(self) -> None:
        """Start everybody, if they are not too many."""
        if len(self._benches) <= EAGER:
            for bench in self._benches.values():
                self._want(bench)

    def start(self, agents: Iterable[str]) -> None:
        """Start the workers of these agents, those of single sessions apart."""
        for bench in (bench for agent in agents for bench in self._of(agent)):
            self._want(bench)

    def children(self) -> Iterator[Child]:
        return (child for bench in self._benches.values() for child in bench.children)

    def generations(self) -> tuple[m.GenerationStarted, ...]:
        """The workers that exist or are just being made."""
        return tuple(_body(child).started() for child in self.children() if _body(child).living)

    def statuses(self) -> tuple[ProcessStatus, ...]:
        return tuple(child.status() for child in self.children())

    # --- what the router says ---

    def hear(self, message: m.RouterToSupervisor) -> None:
        """Anything but RouterReady. News of workers that are gone is late news."""
        match message:
            case m.WorkerWanted(agent=agent, place=place, session_key=session_key):
                self._wanted(Seat(agent, place), session_key)
            case m.WorkerUnused(agent=agent, place=place):
                if bench := self._benches.get(Seat(agent, place)):
                    bench.child.post(life.Unwant())
            case m.AgentIdle(agent=agent, version=version):
                for bench in self._of(agent):
                    if bench.leaving is not None and version >= bench.leaving:
                        bench.idle.set()
            case m.WorkerReady(agent=agent, place=place, generation=generation):
                self._post(Seat(agent, place), generation, life.ReadySaid())
            case m.WorkerSilent(agent=agent, place=place, generation=generation):
                self._post(Seat(agent, place), generation, life.Silent())
            case m.WorkerMisbehaved(agent=agent, place=place, generation=generation, reason=reason):
                self._post(Seat(agent, place), generation, life.Misbehaved(f"broke the protocol: {reason}"))

    def _wanted(self, seat: Seat, session_key: str) -> None:
        """A message waits. What the router says is checked: a place is what the configuration makes of the session."""
        bench = self._benches.get(seat)
        if bench is None and (plan := self._cut(seat, session_key)) is not None:
            bench = self._add(Bench(plan, session_key))
            self._office.journal.learn([plan.slice.worker_secret])
        if bench is not None and (bench.session_key == "" or not self._crowded(bench)):
            self._want(bench)

    def _crowded(self, bench: Bench) -> bool:
        """Whether the agent has as many workers of single sessions as it may; the next one to end makes room."""
        others = [one for one in self._of(bench.seat.agent) if one.session_key and one is not bench]
        if sum(one.child.policy.alive for one in others) < SESSIONS_AT_ONCE or bench.child.policy.alive:
            return False
        self._queue.setdefault(bench.seat)
        self._office.journal.log("warn", "supervisor", f"{bench.name} waits: {SESSIONS_AT_ONCE} sessions of it run")
        return True

    def _next_in_queue(self) -> None:
        """Somebody has ended: whoever waited longest for the room may try."""
        waiting, self._queue = self._queue, {}
        for seat in waiting:
            if bench := self._benches.get(seat):
                self._wanted(seat, bench.session_key)

    def tell_again(self) -> None:
        """A new router knows the generations; it must also hear who leaves and who is in quarantine."""
        for child in self.children():
            if child.state is State.DRAINING:
                child.body.drain()
            elif child.state is State.QUARANTINED:
                self._tell_trouble(child)

    # --- who harms others ---

    def bar(self, agent: str, reason: str) -> None:
        """Its workers end at once and are kept in quarantine; to be said again as long as that holds."""
        for child in [child for bench in self._of(agent) for child in bench.children]:
            child.post(life.Barred(reason))

    def homes(self) -> dict[str, Home]:
        """What is each agent's on the disks of this machine."""
        found: dict[str, Home] = {}
        for seat, bench in self._benches.items():
            plan, known = bench.plan, found.get(seat.agent, Home())
            uid = plan.uid if is_ours(plan.uid) else 0
            found[seat.agent] = Home(folders=known.folders | plan.written, uid=uid, limit=plan.limits.disk)
        return found

    # --- replacing ---

    async def roll(self, agents: Iterable[str], say: Say, *, forced: bool = True) -> list[str]:
        """Replace the workers of these agents, a few at a time; returns what went wrong, one line each.

        Not `forced`, who was told the newest already is left alone.
        """
        benches = [bench for agent in agents for bench in self._of(agent)]
        problems = await asyncio.gather(*(self._roll_one(bench, say, forced) for bench in benches))
        return [problem for problem in problems if problem]

    def see_off(self, agents: Iterable[str], version: int) -> None:
        """These agents are configured no more, from this version on. They stay until `dismiss`."""
        for agent in agents:
            self._seen_off.add(agent)
            for bench in self._of(agent):
                bench.leaving = version
                bench.idle.clear()

    async def dismiss(self, agents: Iterable[str], patience: float) -> list[str]:
        """Of these leaving agents the workers answer what there is, for at most `patience` seconds, finish and go.

        Returns those whose seats were taken away; who was configured again meanwhile stays.
        """
        asked = tuple(agents)
        benches = [bench for agent in asked for bench in self._of(agent) if bench.leaving is not None]
        await asyncio.gather(*(self._dismiss_one(bench, bench.leaving, patience) for bench in benches))
        gone = [agent for agent in asked if agent in self._seen_off and not self._of(agent)]
        for agent in gone:
            self._agents.pop(agent, None)
        return gone

    async def _dismiss_one(self, bench: Bench, version: int | None, patience: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(bench.idle.wait(), patience)
        async with bench.lock:
            if bench.leaving == version and self._benches.get(bench.seat) is bench:
                await self._end_all(bench, lambda: bench.leaving == version)

    async def _give_up(self, bench: Bench) -> None:
        """The router has been told already that its sessions are worked on elsewhere."""
        async with bench.lock:
            if bench.gone and self._benches.get(bench.seat) is bench:
                await self._end_all(bench, lambda: bench.gone)

    async def _end_all(self, bench: Bench, still: Callable[[], bool]) -> None:
        """End its workers, and take the seat away if nobody wants it again by then."""
        bench.ending = True
        await asyncio.gather(*(self._end(child) for child in list(bench.children)))
        bench.ending = False
        if still():
            del self._benches[bench.seat]
            self._office.records.forget(bench.name)
        else:
            self._want(bench)

    async def _roll_one(self, bench: Bench, say: Say, forced: bool) -> str:
        async with bench.lock, self._rolling:
            old = bench.child
            if bench.leaving is not None or bench.gone or self._benches.get(bench.seat) is not bench:
                return ""
            if old.state in {State.STOPPED, State.BACKOFF, State.QUARANTINED}:
                old.post(life.Renew())
                return ""
            if not forced and _body(old).booted in (None, bench.plan):  # None: it reads the newest when it is made
                return ""
            say(f"{bench.name}: starting the new one")
            new = self._new_child(bench)
            bench.children.append(new)
            new.post(life.Want())
            if not await self._comes_up(new):
                return await self._keep(bench, old, new)
            say(f"{bench.name}: the new one is ready, the old one finishes what it does")
            await self._end(old)
            self._leave(bench, old)
            return ""

    def _want(self, bench: Bench) -> None:
        """Somebody needs this worker. One that is being ended is not called back."""
        if self._open and not bench.ending:
            bench.child.post(life.Want())

    async def _comes_up(self, new: Child) -> bool:
        state = await new.until(State.READY, State.STABLE, State.BACKOFF, State.QUARANTINED, State.STOPPED)
        return state in life.SERVING

    async def _keep(self, bench: Bench, old: Child, new: Child) -> str:
        """The new worker does not work: the old one stays."""
        reason = new.policy.reason
        new.post(life.StopNow())
        await new.until(State.STOPPED)
        self._leave(bench, new)
        if bench.child.state is State.STOPPED:
            bench.child.post(life.Renew())
        return f"{bench.name}: the new one does not start ({reason}); the old one is {old.state.value}"

    def _leave(self, bench: Bench, child: Child) -> None:
        bench.children.remove(child)
        self._office.records.keep(bench.child.status())

    async def _end(self, child: Child) -> None:
        child.post(life.Unwant())
        await child.until(State.STOPPED)

    # --- stopping ---

    async def stop(self) -> None:
        """Let every worker finish what it does; nobody is started any more."""
        self._open = False
        await asyncio.gather(*(self._end(child) for child in list(self.children())))

    def stop_now(self) -> None:
        """No more waiting."""
        self._open = False
        for child in self.children():
            child.post(life.StopNow())

    # --- details ---

    def _of(self, agent: str) -> list[Bench]:
        return [bench for seat, bench in self._benches.items() if seat.agent == agent]

    def _add(self, bench: Bench) -> Bench:
        bench.children.append(self._new_child(bench))
        self._benches[bench.seat] = bench
        return bench

    def _new_child(self, bench: Bench) -> Child:
        # The plan is looked up at every start: a worker that crashes comes back with the newest one.
        body = WorkerBody(
            bench.seat, lambda: bench.plan, self._spawner, self._office.records.new_generation, self._tell_router
        )
        agent, settings = bench.seat.agent, self._settings(bench.plan)
        return Child(bench.name, "worker", body, settings, self._office, self._changed, agent=agent)

    def _changed(self, child: Child) -> None:
        if child.state is State.QUARANTINED:
            self._tell_trouble(child)
        if not child.policy.alive:
            self._on_end()
            self._next_in_queue()

    def _tell_trouble(self, child: Child) -> None:
        agent, place = _body(child).seat
        trouble = m.AgentTrouble(agent=agent, place=place, reason=child.policy.reason, retry_at=child.retry_at)
        self._tell_router(trouble)

    def _post(self, seat: Seat, generation: int, event: life.Event) -> None:
        bench = self._benches.get(seat)
        for child in list(bench.children) if bench else ():
            if child.body.generation == generation and child.policy.alive:
                child.post(event)


def _body(child: Child) -> WorkerBody:
    assert isinstance(child.body, WorkerBody)
    return child.body
