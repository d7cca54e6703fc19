"""The workers as the router sees them: one link socket per agent, and on it one or two generations.

Says to the supervisor what only the router can see (ready, silent, drained, misbehaving) and to the dispatcher what a
worker said. A worker is treated as hostile: which agent it is follows from the socket, which messages it may send from
the phase, and a violation ends that generation with a name for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from protocol import messages as m
from protocol.errors import ProtocolViolation
from protocol.link import AgentSocket, PeerGone, RouterLinks
from protocol.slices import AgentLink

log = logging.getLogger(__name__)

#: Pings without an answer until a worker counts as silent.
UNANSWERED_PINGS = 3


class WorkerHandler(Protocol):
    """Who hears what workers say."""

    def worker_up(self, agent: str, generation: int, hello: m.Hello) -> None:
        """Hello was said and is answered; deliveries may begin."""

    def worker_said(self, agent: str, generation: int, message: m.WorkerToRouter) -> None:
        """Anything after Hello, except Pong and Drained."""


class _Generation:
    """One life of a worker. `greeted` after Hello of this connection; `unanswered` counts pings."""

    def __init__(self) -> None:
        self.greeted = False
        self.refused = False
        self.unanswered = 0
        self.reported_silent = False


class _Slot:
    def __init__(self, link: AgentLink, socket: AgentSocket) -> None:
        self.link = link
        self.socket = socket
        self.generations: dict[int, _Generation] = {}


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
        self._slots: dict[str, _Slot] = {}
        self._ping = 0

    def update(self, links: Sequence[AgentLink]) -> None:
        """Bind the links of these agents and no others; unchanged ones are not touched."""
        wanted = {link.agent: link for link in links}
        for agent, slot in list(self._slots.items()):
            if wanted.get(agent) != slot.link:
                slot.socket.close()
                del self._slots[agent]
        for agent, link in wanted.items():
            if agent not in self._slots:
                self._slots[agent] = _Slot(link, self._bind(link))

    def expect(self, agent: str, generation: int) -> None:
        """The supervisor started this generation: its Hello will be taken."""
        if slot := self._slots.get(agent):
            slot.generations[generation] = _Generation()

    def forget(self, agent: str, generation: int) -> None:
        """The generation has ended."""
        if slot := self._slots.get(agent):
            slot.generations.pop(generation, None)

    def send(self, agent: str, generation: int, message: m.RouterToWorker) -> bool:
        """False when that generation cannot take it now; it will say Hello again or be reported as ended."""
        slot = self._slots.get(agent)
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
        for agent, slot in self._slots.items():
            for number, generation in slot.generations.items():
                if generation.greeted and not generation.refused:
                    self._check(agent, number, generation)

    def close(self) -> None:
        for slot in self._slots.values():
            slot.socket.close()
        self._slots.clear()

    def _bind(self, link: AgentLink) -> AgentSocket:
        return self._links.bind(
            link.agent,
            link.socket,
            secret=link.router_secret,
            worker_public=link.worker_public,
            on_message=lambda generation, data: self._receive(link.agent, generation, data),
        )

    def _check(self, agent: str, number: int, generation: _Generation) -> None:
        if generation.unanswered >= UNANSWERED_PINGS and not generation.reported_silent:
            generation.reported_silent = True
            self._report(m.WorkerSilent(agent=agent, generation=number))
        generation.unanswered += 1
        self.send(agent, number, m.Ping(n=self._ping))

    def _receive(self, agent: str, number: int, data: bytes) -> None:
        generation = self._slots[agent].generations.get(number)
        if generation is None or generation.refused:
            return
        try:
            self._accept(agent, number, generation, m.worker_to_router.decode(data))
        except ProtocolViolation as error:
            generation.refused = True
            log.error("worker %s generation %d broke the protocol: %s; it will be replaced", agent, number, error)
            self._report(m.WorkerMisbehaved(agent=agent, generation=number, reason=str(error)))

    def _accept(self, agent: str, number: int, generation: _Generation, message: Any) -> None:
        match message:
            case m.Hello():
                self._greet(agent, number, generation, message)
            case _ if not generation.greeted:
                raise ProtocolViolation(f"{type(message).__name__} before Hello")
            case m.Pong():
                generation.unanswered = 0
                generation.reported_silent = False
            case m.Drained():
                self._report(m.WorkerDrained(agent=agent, generation=number))
            case _:
                self._handler.worker_said(agent, number, message)

    def _greet(self, agent: str, number: int, generation: _Generation, hello: m.Hello) -> None:
        if hello.version != m.PROTOCOL_VERSION or hello.generation != number:
            raise ProtocolViolation(
                f"Hello with version {hello.version} (ours {m.PROTOCOL_VERSION}) and generation {hello.generation}"
            )
        first = not generation.greeted
        generation.greeted = True
        generation.unanswered = 0
        self.send(agent, number, m.Welcome(version=m.PROTOCOL_VERSION, router=self._life))
        if first:
            self._report(m.WorkerReady(agent=agent, generation=number))
        self._handler.worker_up(agent, number, hello)
