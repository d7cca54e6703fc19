"""All workers: one seat per agent, and on it one worker, or two while one takes over from the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from protocol import messages as m
from protocol.control import ProcessStatus
from protocol.slices import WorkerSlice
from supervisor import life
from supervisor.bodies import WorkerBody
from supervisor.child import Child, Office
from supervisor.life import State
from supervisor.spawners.base import Spawner

#: Up to so many agents have their worker started at once; with more, each worker starts with its first message.
EAGER = 100
#: Workers replaced side by side on a restart.
_ROLLING = 4

Say = Callable[[str], None]


class Seat:
    """One agent. `children[-1]` is the one that serves or will serve; those before it are leaving.

    `leaving`: since this version of the configuration the agent is in it no more, and it stays until `idle`; None for
    who stays. `lock` is held while its worker is exchanged.
    """

    def __init__(self, agent: str, slice: WorkerSlice) -> None:
        self.agent = agent
        self.slice = slice
        self.children: list[Child] = []
        self.leaving: int | None = None
        self.ending = False
        self.idle = asyncio.Event()
        self.lock = asyncio.Lock()

    @property
    def child(self) -> Child:
        return self.children[-1]


class Fleet:
    """The workers of all agents."""

    def __init__(
        self,
        office: Office,
        spawner: Spawner,
        tell_router: Callable[[Any], bool],
        settings: life.Settings,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._office = office
        self._spawner = spawner
        self._tell_router = tell_router
        self._settings = settings
        self._on_end = on_end
        self._seats: dict[str, Seat] = {}
        self._rolling = asyncio.Semaphore(_ROLLING)
        self._open = True

    # --- who there is ---

    def seat_all(self, slices: Mapping[str, WorkerSlice]) -> None:
        """Give every agent its seat and its newest slice. Nobody is started, nobody is sent away; who was on his way
        out stays."""
        for agent, slice_ in slices.items():
            seat = self._seats.get(agent)
            if seat is None:
                seat = self._seats[agent] = Seat(agent, slice_)
                seat.children.append(self._new_child(seat))
            seat.slice = slice_
            seat.leaving = None

    def agents(self) -> tuple[str, ...]:
        return tuple(self._seats)

    def start_eagerly(self) -> None:
        """Start everybody, if they are not too many."""
        if len(self._seats) <= EAGER:
            for seat in self._seats.values():
                self._want(seat)

    def children(self) -> Iterator[Child]:
        return (child for seat in self._seats.values() for child in seat.children)

    def generations(self) -> tuple[tuple[str, int], ...]:
        """The workers that exist or are just being made."""
        return tuple((child.agent, child.body.generation) for child in self.children() if _body(child).living)

    def statuses(self) -> tuple[ProcessStatus, ...]:
        return tuple(child.status() for child in self.children())

    # --- what the router says ---

    def hear(self, message: m.RouterToSupervisor) -> None:
        """Anything but RouterReady. News of workers that are gone is late news."""
        match message:
            case m.WorkerWanted(agent=agent):
                if seat := self._seats.get(agent):
                    self._want(seat)
            case m.AgentIdle(agent=agent, version=version):
                if (seat := self._seats.get(agent)) and seat.leaving is not None and version >= seat.leaving:
                    seat.idle.set()
            case m.WorkerReady(agent=agent, generation=generation):
                self._post(agent, generation, life.ReadySaid())
            case m.WorkerSilent(agent=agent, generation=generation):
                self._post(agent, generation, life.Silent())
            case m.WorkerMisbehaved(agent=agent, generation=generation, reason=reason):
                self._post(agent, generation, life.Misbehaved(f"broke the protocol: {reason}"))

    def tell_again(self) -> None:
        """A new router knows the generations; it must also hear who leaves and who is in quarantine."""
        for child in self.children():
            if child.state is State.DRAINING:
                child.body.drain()
            elif child.state is State.QUARANTINED:
                self._tell_trouble(child)

    # --- replacing ---

    async def roll(self, agents: Iterable[str], say: Say, *, forced: bool = True) -> list[str]:
        """Replace the workers of these agents, a few at a time; returns what went wrong, one line each.

        Not `forced`, who was told the newest already is left alone.
        """
        seats = [seat for agent in agents if (seat := self._seats.get(agent))]
        problems = await asyncio.gather(*(self._roll_one(seat, say, forced) for seat in seats))
        return [problem for problem in problems if problem]

    def see_off(self, agents: Iterable[str], version: int) -> None:
        """These agents are configured no more, from this version on. They stay until `dismiss`."""
        for seat in (self._seats[agent] for agent in agents):
            seat.leaving = version
            seat.idle.clear()

    async def dismiss(self, agents: Iterable[str], patience: float) -> list[str]:
        """Of these leaving agents the workers answer what there is, for at most `patience` seconds, finish and go.

        Returns those whose seats were taken away; who was configured again meanwhile stays.
        """
        seats = [seat for agent in agents if (seat := self._seats.get(agent)) and seat.leaving is not None]
        gone = await asyncio.gather(*(self._dismiss_one(seat, seat.leaving, patience) for seat in seats))
        return [seat.agent for seat, left in zip(seats, gone, strict=True) if left]

    async def _dismiss_one(self, seat: Seat, version: int | None, patience: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(seat.idle.wait(), patience)
        async with seat.lock:
            if seat.leaving != version or self._seats.get(seat.agent) is not seat:
                return False
            seat.ending = True
            await asyncio.gather(*(self._end(child) for child in list(seat.children)))
            seat.ending = False
            if seat.leaving != version:  # configured again while its worker was ending
                self._want(seat)
                return False
            del self._seats[seat.agent]
            self._office.records.forget(f"worker {seat.agent}")
            return True

    async def _roll_one(self, seat: Seat, say: Say, forced: bool) -> str:
        async with seat.lock, self._rolling:
            old = seat.child
            if seat.leaving is not None or self._seats.get(seat.agent) is not seat:
                return ""
            if old.state in {State.STOPPED, State.BACKOFF, State.QUARANTINED}:
                old.post(life.Renew())
                return ""
            if not forced and _body(old).booted in (None, seat.slice):  # None: it reads the newest when it is made
                return ""
            say(f"worker {seat.agent}: starting the new one")
            new = self._new_child(seat)
            seat.children.append(new)
            new.post(life.Want())
            if not await self._comes_up(new):
                return await self._keep(seat, old, new)
            say(f"worker {seat.agent}: the new one is ready, the old one finishes what it does")
            await self._end(old)
            self._leave(seat, old)
            return ""

    def _want(self, seat: Seat) -> None:
        """Somebody needs this agent's worker. One that is being ended is not called back."""
        if self._open and not seat.ending:
            seat.child.post(life.Want())

    async def _comes_up(self, new: Child) -> bool:
        state = await new.until(State.READY, State.STABLE, State.BACKOFF, State.QUARANTINED, State.STOPPED)
        return state in life.SERVING

    async def _keep(self, seat: Seat, old: Child, new: Child) -> str:
        """The new worker does not work: the old one stays."""
        reason = new.policy.reason
        new.post(life.StopNow())
        await new.until(State.STOPPED)
        self._leave(seat, new)
        if seat.child.state is State.STOPPED:
            seat.child.post(life.Renew())
        return f"worker {seat.agent}: the new one does not start ({reason}); the old one is {old.state.value}"

    def _leave(self, seat: Seat, child: Child) -> None:
        seat.children.remove(child)
        self._office.records.keep(seat.child.status())

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

    def _new_child(self, seat: Seat) -> Child:
        # The slice is looked up at every start: a worker that crashes comes back with the newest one.
        body = WorkerBody(
            seat.agent, lambda: seat.slice, self._spawner, self._office.records.new_generation, self._tell_router
        )
        return Child(
            f"worker {seat.agent}", "worker", body, self._settings, self._office, self._changed, agent=seat.agent
        )

    def _changed(self, child: Child) -> None:
        if child.state is State.QUARANTINED:
            self._tell_trouble(child)
        if not child.policy.alive:
            self._on_end()

    def _tell_trouble(self, child: Child) -> None:
        self._tell_router(m.AgentTrouble(agent=child.agent, reason=child.policy.reason, retry_at=child.retry_at))

    def _post(self, agent: str, generation: int, event: life.Event) -> None:
        seat = self._seats.get(agent)
        for child in list(seat.children) if seat else ():
            if child.body.generation == generation and child.policy.alive:
                child.post(event)


def _body(child: Child) -> WorkerBody:
    assert isinstance(child.body, WorkerBody)
    return child.body
