"""Where a worker runs is the spawner's business: nothing else may assume a child process or a local pid.

A spawner makes one worker from a `SpawnSpec` and gives a `Handle`. All implementations pass the same contract tests
(tests/contract/test_spawners.py).
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from protocol.errors import Temporary
from protocol.messages import WorkerBoot
from protocol.slices import Limits
from supervisor.life import Exit
from supervisor.sandbox.spec import ContainerSpec, Folder

#: What survives a restart of the supervisor, to find a running worker again.
HandleInfo = dict[str, str | int]


class SpawnError(Temporary):
    """No worker could be made now; the reason is for the operator."""


class SpawnSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One worker to be made. `log_fd` takes its stdout and stderr; the caller keeps and closes its own copy.

    `container` is where it is to live, None for a process of this machine; `folders` are then made before, for `uid`
    and `gid`, which are also what a launcher in a shared container makes of the worker.
    """

    title: str
    boot: WorkerBoot
    log_fd: int
    container: ContainerSpec | None = None
    folders: tuple[Folder, ...] = ()
    uid: int = 0
    gid: int = 0
    limits: Limits = Limits()


class Handle(Protocol):
    """One running worker (or program). It never becomes another one: handles are not reused."""

    @property
    def pid_text(self) -> str:
        """For people: a pid, a container id, a service name."""

    async def wait(self) -> Exit:
        """Until it has ended. May be called by several, before and after the end."""

    def signal(self, number: int) -> None:
        """Send a signal to the process itself. Nothing happens when it has ended."""

    def kill(self) -> None:
        """SIGKILL to it and everything it started. Nothing happens when it has ended."""

    def describe(self) -> HandleInfo:
        """Enough to `restore` it after a restart of the supervisor."""


class Spawner(Protocol):
    """Makes workers of one kind of place."""

    async def spawn(self, spec: SpawnSpec) -> Handle:
        """Make the worker and give it its boot message, the only thing it is told. Raises SpawnError."""

    async def restore(self, info: HandleInfo) -> Handle | None:
        """The worker described by an earlier supervisor, or None when it is gone."""
