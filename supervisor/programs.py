"""The three programs the supervisor starts itself: zygote, cliproxy, router. Their pipes and what is said on them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from typing import Any

from protocol import messages as m
from protocol.errors import OpenClawError
from protocol.pipe import Pipe
from supervisor import life
from supervisor.bodies import ProgramBody
from supervisor.child import Child, Office
from supervisor.children import PROGRAMS, Commands, ProgramKind, command_line, environment, settings
from supervisor.life import State
from supervisor.spawners.process import ProcessSpawner


class Programs:
    """Zygote, cliproxy and router as children. `grace` is what they are given to finish, in seconds."""

    def __init__(
        self,
        office: Office,
        commands: Commands,
        environ: Mapping[str, str],
        grace: float,
        spawner: ProcessSpawner,
        hear_router: Callable[[m.RouterToSupervisor], None],
        *,
        router_boot: Callable[[], m.RouterBoot],
        proxy_boot: Callable[[], m.ProxyBoot],
    ) -> None:
        self.grace = grace
        self.address: tuple[str, int] | None = None
        self._office = office
        self._spawner = spawner
        self._hear_router_too = hear_router
        self._queries: dict[int, asyncio.Future[str]] = {}

        def body(kind: ProgramKind, decoder: Any, **talk: Any) -> ProgramBody[Any]:
            program = next(program for program in PROGRAMS if program.kind == kind)
            return ProgramBody(
                kind, functools.partial(command_line, commands, kind), environment(program, environ), decoder,
                office.tasks, trouble=functools.partial(self._trouble, kind), **talk,
            )  # fmt: skip

        self._bodies: dict[ProgramKind, ProgramBody[Any]] = {
            "zygote": body("zygote", m.zygote_to_supervisor, hear=self._hear_zygote, on_pipe=self._zygote_pipe),
            "cliproxy": body("cliproxy", m.proxy_to_supervisor, hear=self._hear_proxy, first=proxy_boot,
                             last=lambda: m.ProxyStop(grace=self.grace)),
            "router": body("router", m.router_to_supervisor, hear=self._hear_router, first=router_boot,
                           last=lambda: m.RouterStop(grace=self.grace)),
        }  # fmt: skip
        self._children = {
            kind: Child(kind, kind, body, settings(kind, grace), office, self._changed)
            for kind, body in self._bodies.items()
        }

    @property
    def zygote(self) -> Child:
        return self._children["zygote"]

    @property
    def cliproxy(self) -> Child:
        return self._children["cliproxy"]

    @property
    def router(self) -> Child:
        return self._children["router"]

    def all(self) -> tuple[Child, ...]:
        return tuple(self._children.values())

    def start(self) -> None:
        """All side by side, in the order of the table."""
        for child in self.all():
            child.post(life.Want())

    def renew(self) -> None:
        """The configuration changed: whoever was given up is tried again at once."""
        for child in self.all():
            child.post(life.Renew())

    async def restart_router(self) -> None:
        """A new router in the place of the old one, which sends out what it has; returns when its fate is known."""
        self.router.post(life.Unwant())
        self.router.post(life.Want())
        await self.router.until(State.SPAWNING)
        await self.router.until(State.READY, State.BACKOFF, State.QUARANTINED, State.STOPPED)

    def tell_router(self, message: Any, fds: tuple[int, ...] = ()) -> bool:
        """False when there is no router now; the next one is told everything it must know when it starts."""
        return self._bodies["router"].tell(message, fds)

    def tell_cliproxy(self, message: Any) -> bool:
        return self._bodies["cliproxy"].tell(message)

    async def usage(self, timeout: float) -> str:
        """What the cliproxy counted, as JSON text. Raises OpenClawError."""
        number, answer = max(self._queries, default=0) + 1, asyncio.get_running_loop().create_future()
        self._queries[number] = answer
        try:
            if not self.tell_cliproxy(m.ProxyStatusQuery(request=number)):
                raise OpenClawError("the cliproxy is not running")
            async with asyncio.timeout(timeout):
                text: str = await answer
            return text
        except TimeoutError:
            raise OpenClawError("the cliproxy does not answer") from None
        finally:
            del self._queries[number]

    def _hear_zygote(self, message: m.ZygoteToSupervisor) -> None:
        self._spawner.hear(message)
        if isinstance(message, m.ZygoteReady):
            self.zygote.post(life.ReadySaid())

    def _zygote_pipe(self, pipe: Pipe[Any] | None) -> None:
        if pipe is None:
            self._spawner.detach()
        else:
            self._spawner.attach(pipe)

    def _hear_proxy(self, message: m.ProxyToSupervisor) -> None:
        match message:
            case m.ProxyReady():
                self.cliproxy.post(life.ReadySaid())
            case m.ProxyStatus(request=request, text=text):
                answer = self._queries.get(request)
                if answer is not None and not answer.done():
                    answer.set_result(text)

    def _hear_router(self, message: m.RouterToSupervisor) -> None:
        if isinstance(message, m.RouterReady):
            self.address = (message.host, message.port)
            self.router.post(life.ReadySaid())
        self._hear_router_too(message)

    def _trouble(self, kind: ProgramKind, reason: str) -> None:
        self._children[kind].post(life.Misbehaved(reason))

    def _changed(self, child: Child) -> None:
        text = f"{child.name}: {child.policy.reason}" if child.state is State.QUARANTINED else ""
        if text:
            self._office.journal.log("error", "gateway", f"{text}; nothing works without it until it is back")
