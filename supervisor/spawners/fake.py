"""Workers that are only imagined: for tests of everything above the spawner, without a process.

`Scene` is the world outside the supervisor. It survives a spawner, as containers would survive a supervisor, so that
`restore` can be tried. What an imagined worker does is a function: see `obedient`, the default.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from supervisor.life import Exit
from supervisor.spawners.base import Handle, HandleInfo, SpawnError, SpawnSpec


class FakeWorker:
    """One imagined worker, and its own Handle."""

    def __init__(self, number: int, spec: SpawnSpec, behaviour: Behaviour) -> None:
        self.spec = spec
        self.signals: list[int] = []
        self._number = number
        self._behaviour = behaviour
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f"FakeWorker({self._number}, {self._exit.result() if self._exit.done() else 'running'})"

    @property
    def pid_text(self) -> str:
        return f"fake:{self._number}"

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    def signal(self, number: int) -> None:
        if not self._exit.done():
            self.signals.append(number)
            self._behaviour(self, number)

    def kill(self) -> None:
        self.end(Exit(signal=signal.SIGKILL))

    def describe(self) -> HandleInfo:
        return {"fake": self._number}

    def end(self, how: Exit) -> None:
        """What happens to it from outside: a crash, a kill, a clean end. Only the first end counts."""
        if not self._exit.done():
            self._exit.set_result(how)

    @property
    def running(self) -> bool:
        return not self._exit.done()


#: Called for every signal the worker gets, and with 0 when it has been made.
Behaviour = Callable[[FakeWorker, int], None]


def obedient(worker: FakeWorker, number: int) -> None:
    """Ends when it is told to, as a worker should."""
    if number == signal.SIGTERM:
        worker.end(Exit())
    elif number not in {0, signal.SIGUSR2}:
        worker.end(Exit(signal=number))


class Scene:
    """Where imagined workers live. `broken` is a reason why none can be made now."""

    def __init__(self, behaviour: Behaviour = obedient) -> None:
        self.behaviour = behaviour
        self.broken = ""
        self.workers: list[FakeWorker] = []


class FakeSpawner:
    """The Spawner of a Scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    async def spawn(self, spec: SpawnSpec) -> Handle:
        await asyncio.sleep(0)
        if self._scene.broken:
            raise SpawnError(self._scene.broken)
        worker = FakeWorker(len(self._scene.workers), spec, self._scene.behaviour)
        self._scene.workers.append(worker)
        self._scene.behaviour(worker, 0)
        return worker

    async def restore(self, info: HandleInfo) -> Handle | None:
        number = info.get("fake")
        living = [worker for worker in self._scene.workers if worker.running and worker.describe()["fake"] == number]
        return living[0] if living else None
