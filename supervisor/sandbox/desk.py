"""What an operator may ask about sandboxes while the gateway runs: list, recreate, and what really runs where.

`inspect` looks at Docker and at /proc, never at the configuration alone: a place that should be a container and is
not must show (FIELD 62).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import msgspec

from protocol import control as c
from protocol import messages as m
from protocol.errors import UserError
from protocol.paths import Paths
from protocol.sandbox import HOST, Seat
from protocol.session_key import main_session_key
from supervisor.bodies import WorkerBody
from supervisor.child import Child
from supervisor.plan import Plan
from supervisor.sandbox import listing
from supervisor.sandbox.engine import Engine, EngineError, Gone
from supervisor.sandbox.listing import Wanted
from supervisor.sandbox.profile import CONFIG_HASH, OWNER
from supervisor.sandbox.spec import ContainerSpec, digest
from supervisor.spawners.base import SpawnError
from supervisor.workerplan import WorkerPlan

#: The walls of a process that /proc shows.
NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup")

Say = Callable[[Any], None]
Request = c.ListSandboxes | c.RecreateSandboxes | c.InspectPlace | c.StartWorkers


class SandboxDesk:
    """Answers the requests of `openclaw sandbox` and of `doctor --isolation`.

    `children` are all workers of the fleet, `start` has the fleet start those of some agents, and `hear`
    one for a session; `remove` is the spawner's, `admit` the gate's.
    """

    def __init__(
        self,
        paths: Paths,
        engine: Engine,
        plan: Callable[[], Plan],
        children: Callable[[], Iterable[Child]],
        start: Callable[[Iterable[str]], None],
        remove: Callable[[Collection[str]], Awaitable[list[str]]],
        hear: Callable[[m.WorkerWanted], None],
        admit: Callable[[ContainerSpec], ContainerSpec],
    ) -> None:
        self._paths = paths
        self._engine = engine
        self._plan = plan
        self._children = children
        self._start = start
        self._remove = remove
        self._hear = hear
        self._admit = admit

    async def answer(self, request: Request, say: Say) -> None:
        """Says one last reply. Raises UserError."""
        try:
            await self._answer(request, say)
        except EngineError as error:
            message, _, hint = str(error).partition("\nhint: ")
            raise UserError(message, where=self._engine.host, hint=hint or "docker info") from None

    async def _answer(self, request: Request, say: Say) -> None:
        match request:
            case c.ListSandboxes():
                say(c.Sandboxes(rows=await self.rows()))
            case c.RecreateSandboxes(names=names):
                ours = {row.name for row in await listing.rows(self._engine, self._paths)}
                removed = await self._remove([name for name in names if name in ours])
                say(c.Finished(text=f"removed {len(removed)}"))
            case c.InspectPlace(agent=agent, session_key=session_key):
                say(await self.inspect(agent, session_key))
            case c.StartWorkers(agents=agents):
                self._start_all(agents or tuple(self._plan().agents))
                say(c.Finished())

    async def rows(self) -> tuple[c.SandboxRow, ...]:
        """Ours, with what the configuration wants of them. Raises EngineError."""
        found = await listing.rows(self._engine, self._paths)
        wanted = {**self._wanted(), **self._wanted_of_sessions(found)}
        return await listing.rows(self._engine, self._paths, wanted) if found else ()

    async def inspect(self, agent: str, session_key: str) -> c.PlaceFacts:
        """What runs for this session. Raises UserError for an agent that is not there; Docker's troubles are told in
        the answer."""
        plan = self._plan()
        if agent not in plan.agents:
            text = f'Unknown agent id "{agent}". Use "openclaw agents list" to see configured agents.'
            raise UserError(text, hint="openclaw agents list")
        place = plan.agents[agent].placement.place(agent, session_key)
        worker = plan.cutter.worker(Seat(agent, place), session_key)
        facts = self._of_worker(Seat(agent, place))
        if worker is None or worker.container is None:
            return _with_process(facts, facts.pid)
        try:
            return await self._of_container(facts, worker)
        except EngineError as error:
            named = msgspec.structs.replace(facts, container_name=worker.container.name, pid=0)
            return msgspec.structs.replace(named, problem=str(error))

    # --- details ---

    def _start_all(self, agents: Iterable[str]) -> None:
        """Those that are there whatever sessions come; of single sessions one, to stand for all."""
        self._start(agents)
        plan = self._plan()
        for agent in agents:
            placement = plan.agents[agent].placement if agent in plan.agents else None
            if placement is not None and placement.mode != "off" and placement.scope == "session":
                key = (
                    main_session_key(agent, placement.main_key) if placement.mode == "all" else f"agent:{agent}:doctor"
                )
                self._hear(m.WorkerWanted(agent=agent, place=placement.place(agent, key), session_key=key))

    def _of_worker(self, seat: Seat) -> c.PlaceFacts:
        child = next((one for one in reversed(list(self._children())) if _seat(one) == seat), None)
        if child is None:
            return c.PlaceFacts(agent=seat.agent, place=seat.place)
        pid = child.handle.pid_text if child.handle else ""
        return c.PlaceFacts(
            agent=seat.agent,
            place=seat.place,
            state=child.state.value,
            reason=child.policy.reason,
            pid=int(pid) if pid.isdecimal() and child.policy.alive else 0,
        )

    async def _of_container(self, facts: c.PlaceFacts, worker: WorkerPlan) -> c.PlaceFacts:
        """The container as Docker knows it by name, its process as /proc knows it by pid."""
        assert worker.container is not None
        name = worker.container.name
        facts = msgspec.structs.replace(facts, container_name=name, pid=0)
        try:
            found = await self._engine.call(lambda client: client.inspect_container(name))
        except Gone:
            return facts
        labels, state = found["Config"].get("Labels") or {}, found["State"]
        ours = labels.get(OWNER) == worker.container.owner
        facts = msgspec.structs.replace(
            facts,
            container=found["Id"],
            container_status=str(state.get("Status", "")),
            config_match=labels.get(CONFIG_HASH) == self._digest(worker.container),
            problem="" if ours else f"container {name} belongs to somebody else",
        )
        return _with_process(facts, int(state.get("Pid") or 0))

    def _digest(self, spec: ContainerSpec) -> str:
        """As it would be made now; of one that would be refused as it stands."""
        try:
            return digest(self._admit(spec))
        except SpawnError:
            return digest(spec)

    def _wanted(self) -> dict[str, Wanted]:
        specs = (worker.container for worker in self._plan().fixed.values())
        return {one.name: Wanted(one.image, self._digest(one)) for one in specs if one is not None}

    def _wanted_of_sessions(self, found: Iterable[c.SandboxRow]) -> dict[str, Wanted]:
        """Containers of single sessions are in no plan until somebody writes; their scope key is the session's."""
        plan, wanted = self._plan(), {}
        for row in found:
            for agent in row.agents:
                place = plan.agents[agent].placement.place(agent, row.session_key) if agent in plan.agents else HOST
                worker = plan.cutter.worker(Seat(agent, place), row.session_key) if place != HOST else None
                if worker is not None and worker.container is not None and worker.container.name == row.name:
                    wanted[row.name] = Wanted(worker.container.image, self._digest(worker.container))
        return wanted


def namespaces(pid: int, proc: Path = Path("/proc")) -> tuple[c.Namespace, ...]:
    """The namespaces of a process, each with whether it is another one than ours; empty for who is gone."""
    found = []
    for kind in NAMESPACES:
        try:
            theirs = os.readlink(proc / str(pid) / "ns" / kind)
            ours = os.readlink(proc / "self" / "ns" / kind)
        except OSError:
            continue
        found.append(c.Namespace(kind=kind, id=theirs, own=theirs != ours))
    return tuple(found)


def user_of(pid: int, proc: Path = Path("/proc")) -> int:
    """The effective uid of a process, -1 for who is gone."""
    try:
        lines = (proc / str(pid) / "status").read_text().splitlines()
    except OSError:
        return -1
    found = next((line.split() for line in lines if line.startswith("Uid:")), [])
    return int(found[2]) if len(found) > 2 else -1


def _with_process(facts: c.PlaceFacts, pid: int) -> c.PlaceFacts:
    if pid <= 0:
        return facts
    return msgspec.structs.replace(facts, pid=pid, uid=user_of(pid), namespaces=namespaces(pid))


def _seat(child: Child) -> Seat | None:
    return child.body.seat if isinstance(child.body, WorkerBody) else None
