"""The workers as the router sees them: one link socket per agent and place, and on it one or two generations.

Says to the supervisor what only the router can see (ready, silent, drained, misbehaving) and to the dispatcher what a
worker said. A worker is treated as hostile: which agent it is follows from the socket, which messages it may send from
the phase, and a violation ends that generation with a name for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from typing import Any, Protocol

from protocol import messages as m
from protocol.errors import ProtocolViolation
from protocol.link import AgentSocket, PeerGone, RouterLinks
from protocol.sandbox import Seat
from protocol.slices import AgentLink
from router.calls.limits import Bucket

log = logging.getLogger(__name__)

#: Pings without an answer until a worker counts as silent.
UNANSWERED_PINGS = 3
#: Frames of one worker a second and at once; a long one counts as one more for every FRAME_BYTES. A busy worker says
#: some 2000 a second; a link is read at some 4000 at most, so that a flood is named within two seconds.
FRAME_RATE, FRAME_BURST, FRAME_BYTES = 2500.0, 3000.0, 4096
#: Frames under the number of a generation that is not expected: those of one that has just ended, or whose start we are
#: told of in a moment.
STRANGE_RATE, STRANGE_BURST = 10.0, 1000.0


class WorkerHandler(Protocol):
    """Who hears what workers say."""

    def worker_up(self, seat: Seat, generation: int, hello: m.Hello) -> None:
        """Hello was said and is answered; deliveries may begin."""

    def worker_said(self, seat: Seat, generation: int, message: m.WorkerToRouter) -> None:
        """Anything after Hello, except Pong and Drained."""


class _Generation:
    """One life of a worker. `greeted` after Hello of this connection; `unanswered` counts pings."""

    def __init__(self) -> None:
        self.frames = Bucket(FRAME_RATE, FRAME_BURST, time.monotonic())
        self.greeted = False
        self.refused = False
        self.unanswered = 0
        self.reported_silent = False


class _Slot:
    def __init__(self, link: AgentLink, socket: AgentSocket) -> None:
        self.link = link
        self.socket = socket
        self.generations: dict[int, _Generation] = {}
        self.strange = Bucket(STRANGE_RATE, STRANGE_BURST, time.monotonic())


class Workers:
    """Binds links, checks phases, answers Hello, pings."""

    def __init__(
        self,
        links: RouterLinks,
        handler: WorkerHandler,
        report: Callable[[m.RouterToSupervisor], None],
        router_life: str,
    ) -> None:
        self._links = links
        self._handler = handler
        self._report = report
        self._life = router_life
        self._slots: dict[Seat, _Slot] = {}
        self._ping = 0

    def keep(self, agents: Collection[str]) -> None:
        """Close the links of all other agents."""
        for seat in [seat for seat in self._slots if seat.agent not in agents]:
            self._close(seat)

    def expect(self, link: AgentLink, generation: int) -> None:
        """The supervisor started this generation: its Hello will be taken. A link that is new or other is bound."""
        seat = Seat(link.agent, link.place)
        slot = self._slots.get(seat)
        if slot is not None and slot.link != link:
            self._close(seat)
            slot = None
        if slot is None:
            slot = self._slots[seat] = _Slot(link, self._bind(seat, link))
        slot.generations[generation] = _Generation()

    def forget(self, seat: Seat, generation: int, *, close: bool = False) -> None:
        """The generation has ended. With `close` its link goes when it was the last one: nobody is expected there."""
        if slot := self._slots.get(seat):
            slot.generations.pop(generation, None)
            if close and not slot.generations:
                self._close(seat)

    def living(self) -> list[tuple[Seat, int]]:
        """The newest generation of each worker that has said Hello."""
        greeted = {
            seat: [number for number, one in slot.generations.items() if one.greeted and not one.refused]
            for seat, slot in self._slots.items()
        }
        return [(seat, max(numbers)) for seat, numbers in greeted.items() if numbers]

    def misbehaved(self, seat: Seat, number: int, reason: str) -> None:
        """Nothing is heard from that generation any more, and the supervisor replaces it."""
        slot = self._slots.get(seat)
        generation = slot.generations.get(number) if slot else None
        if generation is None or generation.refused:
            return
        generation.refused = True
        log.error("worker %s generation %d broke the protocol: %s; it will be replaced", seat, number, reason)
        self._report(m.WorkerMisbehaved(agent=seat.agent, place=seat.place, generation=number, reason=reason))

    def send(self, seat: Seat, generation: int, message: m.RouterToWorker) -> bool:
        """False when that generation cannot take it now; it will say Hello again or be reported as ended."""
        slot = self._slots.get(seat)
        if slot is None:
            return False
        try:
            slot.socket.send(generation, message)
        except PeerGone as error:
            log.info("%s", error)
            return False
        return True

    def heartbeat(self) -> None:
        """Call once per heartbeat interval: pings everybody, reports who went silent."""
        self._ping += 1
        for seat, slot in self._slots.items():
            for number, generation in slot.generations.items():
                if generation.greeted and not generation.refused:
                    self._check(seat, number, generation)

    def close(self) -> None:
        for slot in self._slots.values():
            slot.socket.close()
        self._slots.clear()

    def _bind(self, seat: Seat, link: AgentLink) -> AgentSocket:
        return self._links.bind(
            f"{seat.agent}@{seat.place}",
            link.socket,
            secret=link.router_secret,
            worker_public=link.worker_public,
            on_message=lambda generation, data: self._receive(seat, generation, data),
            on_stranger=lambda name: self._all_misbehaved(seat, f"it speaks under the name {name[:32]!r}"),
        )

    def _close(self, seat: Seat) -> None:
        self._slots.pop(seat).socket.close()

    def _check(self, seat: Seat, number: int, generation: _Generation) -> None:
        if generation.unanswered >= UNANSWERED_PINGS and not generation.reported_silent:
            generation.reported_silent = True
            self._report(m.WorkerSilent(agent=seat.agent, place=seat.place, generation=number))
        generation.unanswered += 1
        self.send(seat, number, m.Ping(n=self._ping))

    def _receive(self, seat: Seat, number: int, data: bytes) -> None:
        slot = self._slots[seat]
        generation = slot.generations.get(number)
        if generation is None:
            if not slot.strange.take(time.monotonic()):
                self._all_misbehaved(seat, f"it speaks as generation {number}")
            return
        if generation.refused:
            return
        if not generation.frames.take(time.monotonic(), 1 + len(data) / FRAME_BYTES):
            self.misbehaved(seat, number, "it sends more than anybody could read")
            return
        try:
            self._accept(seat, number, generation, m.worker_to_router.decode(data))
        except ProtocolViolation as error:
            self.misbehaved(seat, number, str(error))

    def _all_misbehaved(self, seat: Seat, reason: str) -> None:
        """Which of its generations it was cannot be told, but all of them are that agent's."""
        for number in list(self._slots[seat].generations):
            self.misbehaved(seat, number, reason)

    def _accept(self, seat: Seat, number: int, generation: _Generation, message: Any) -> None:
        match message:
            case m.Hello():
                self._greet(seat, number, generation, message)
            case _ if not generation.greeted:
                raise ProtocolViolation(f"{type(message).__name__} before Hello")
            case m.Pong():
                generation.unanswered = 0
                generation.reported_silent = False
            case m.Drained():
                self._report(m.WorkerDrained(agent=seat.agent, place=seat.place, generation=number))
            case _:
                self._handler.worker_said(seat, number, message)

    def _greet(self, seat: Seat, number: int, generation: _Generation, hello: m.Hello) -> None:
        if hello.version != m.PROTOCOL_VERSION or hello.generation != number:
            raise ProtocolViolation(
                f"Hello with version {hello.version} (ours {m.PROTOCOL_VERSION}) and generation {hello.generation}"
            )
        first = not generation.greeted
        generation.greeted = True
        generation.unanswered = 0
        self.send(seat, number, m.Welcome(version=m.PROTOCOL_VERSION, router=self._life))
        if first:
            self._report(m.WorkerReady(agent=seat.agent, place=seat.place, generation=number))
        self._handler.worker_up(seat, number, hello)
