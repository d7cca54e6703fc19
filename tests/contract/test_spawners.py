"""Every spawner keeps the same promises: fake, process and Docker run the same cases."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from protocol import messages as m
from protocol.pipe import Pipe, make_pair
from protocol.process import become_subreaper
from protocol.slices import WorkerSlice
from supervisor.life import Exit
from supervisor.spawners.base import Handle, Spawner, SpawnError, SpawnSpec
from supervisor.spawners.fake import FakeSpawner, FakeWorker, Scene, obedient
from supervisor.spawners.local import LocalProcess, launch
from supervisor.spawners.process import ProcessSpawner
from tests.support.containers import Yard, a_yard


def spec(log_fd: int) -> SpawnSpec:
    slice_ = WorkerSlice(
        agent="main", name="Main", workspace="/w", sessions="/s", link_socket="/l", router_public="r",
        worker_public="w", worker_secret="x" * 100_000, proxy_socket="/p", proxy_token="t",
    )  # fmt: skip
    boot = m.WorkerBoot(version=m.PROTOCOL_VERSION, generation=7, slice=slice_)
    return SpawnSpec(title="openclaw: worker main", boot=boot, log_fd=log_fd)


def imagine(behaviour: str) -> Scene:
    def act(worker: FakeWorker, number: int) -> None:
        if number == 0:
            os.write(worker.spec.log_fd, b"booted main 7\n")
        ends = {"exits": Exit(code=3), "dies-by-signal": Exit(signal=signal.SIGSEGV)}
        if number == 0 and behaviour in ends:
            worker.end(ends[behaviour])
        elif behaviour != "ignores-term" or number != signal.SIGTERM:
            obedient(worker, number)

    scene = Scene(act)
    scene.broken = "no more processes" if behaviour == "refuses" else ""
    return scene


@asynccontextmanager
async def a_zygote(behaviour: str) -> AsyncIterator[tuple[ProcessSpawner, LocalProcess]]:
    become_subreaper()
    ours, theirs = make_pair()
    folder = Path(tempfile.mkdtemp(prefix="oc"))
    (folder / "zygote").write_text(behaviour)
    command = [sys.executable, "-m", "tests.support.peers", "zygote", str(folder), "--pipe", str(theirs.fileno())]
    zygote = launch(command, os.environ, [theirs.fileno()], 2)
    theirs.close()
    pipe = Pipe(ours, m.zygote_to_supervisor)
    spawner = ProcessSpawner()
    spawner.attach(pipe)
    async with asyncio.TaskGroup() as group:
        hearing = group.create_task(hear(pipe, spawner))
        yield spawner, zygote
        hearing.cancel()
    pipe.close()
    zygote.kill()
    await zygote.wait()
    shutil.rmtree(folder)


async def hear(pipe: Pipe[m.ZygoteToSupervisor], spawner: ProcessSpawner) -> None:
    while True:
        try:
            message, _ = await pipe.receive()
        except ConnectionError:
            return
        spawner.hear(message)


class Place:
    """One kind of spawner, and the log that its workers write to."""

    def __init__(self, kind: str, stack: AsyncExitStack) -> None:
        self.kind = kind
        self._stack = stack
        self._made: list[Handle] = []
        self._yard: Yard | None = None
        self._reading, self._writing = os.pipe()

    async def spawner(self, behaviour: str) -> Spawner:
        if self.kind == "fake":
            return FakeSpawner(imagine(behaviour))
        if self.kind == "docker":
            self._yard = await self._stack.enter_async_context(a_yard())
            return self._yard.spawner
        return (await self._stack.enter_async_context(a_zygote(behaviour)))[0]

    def spec(self, behaviour: str) -> SpawnSpec:
        """What to make; a container is told in its environment how its worker behaves."""
        told = spec(self._writing)
        return msgspec.structs.replace(told, container=self._yard.spec(behaviour)) if self._yard else told

    async def spawn(self, behaviour: str = "obeys") -> Handle:
        spawner = await self.spawner(behaviour)
        handle = await spawner.spawn(self.spec(behaviour))
        self._made.append(handle)
        await self.read_log("booted main 7")
        return handle

    async def read_log(self, until: str) -> str:
        """Everything written up to and including this text."""
        loop, text = asyncio.get_running_loop(), ""
        while until not in text:
            readable: asyncio.Future[None] = loop.create_future()
            loop.add_reader(self._reading, lambda f=readable: f.done() or f.set_result(None))
            await readable
            loop.remove_reader(self._reading)
            text += os.read(self._reading, 65536).decode()
        return text

    async def close(self) -> None:
        for handle in self._made:
            handle.kill()
            await handle.wait()
        os.close(self._reading)
        os.close(self._writing)


@pytest.fixture(params=["fake", "process", "docker"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        place = Place(request.param, stack)
        yield place
        await place.close()


async def test_a_worker_gets_its_boot_message_and_runs_until_it_is_told_to_end(place: Place) -> None:
    handle = await place.spawn()
    assert "running" in repr(handle)
    handle.signal(signal.SIGTERM)
    end = await handle.wait()
    assert (end.code, end.signal) == (0, 0)


async def test_everybody_who_waits_hears_of_the_end_also_afterwards(place: Place) -> None:
    handle = await place.spawn()
    waiting = asyncio.gather(handle.wait(), handle.wait())
    handle.kill()
    assert {end.signal for end in await waiting} == {signal.SIGKILL}
    assert (await handle.wait()).signal == signal.SIGKILL


async def test_giving_up_waiting_does_not_disturb_the_others(place: Place) -> None:
    handle = await place.spawn()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(handle.wait(), 0.01)
    handle.kill()
    assert (await handle.wait()).signal == signal.SIGKILL


async def test_an_exit_code_is_told(place: Place) -> None:
    assert (await (await place.spawn("exits")).wait()).code == 3


async def test_a_deadly_signal_is_told(place: Place) -> None:
    assert (await (await place.spawn("dies-by-signal")).wait()).signal == signal.SIGSEGV


async def test_a_worker_that_ignores_sigterm_is_still_killed(place: Place) -> None:
    handle = await place.spawn("ignores-term")
    handle.signal(signal.SIGTERM)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(handle.wait(), 0.1)
    handle.kill()
    assert (await handle.wait()).signal == signal.SIGKILL


async def test_signals_to_a_worker_that_has_ended_do_nothing(place: Place) -> None:
    handle = await place.spawn("exits")
    await handle.wait()
    handle.signal(signal.SIGTERM)
    handle.kill()
    assert (await handle.wait()).code == 3


async def test_a_worker_that_cannot_be_made_is_an_error_with_the_reason(place: Place) -> None:
    spawner = await place.spawner("refuses")
    with pytest.raises(SpawnError, match="no more processes"):
        await place.spawn("refuses")
    assert await spawner.restore({}) is None


async def test_a_worker_that_has_ended_is_never_restored(place: Place) -> None:
    spawner = await place.spawner("exits")
    handle = await spawner.spawn(place.spec("exits"))
    await handle.wait()
    assert await spawner.restore(handle.describe()) is None


# --- what only one of them promises --------------------------------------------------------------------------------


async def test_an_imagined_worker_is_found_again_by_the_next_spawner() -> None:
    scene = Scene()
    handle = await FakeSpawner(scene).spawn(spec(2))
    assert await FakeSpawner(scene).restore(handle.describe()) is handle


@pytest.fixture
async def log() -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        place = Place("process", stack)
        yield place
        await place.close()


async def test_the_end_of_a_zygote_touches_no_living_worker_and_fails_only_spawns_under_way(log: Place) -> None:
    async with a_zygote("obeys") as (spawner, zygote):
        worker = await spawner.spawn(spec(log._writing))
        zygote.signal(signal.SIGSTOP)
        under_way = asyncio.create_task(spawner.spawn(spec(log._writing)))
        while not spawner.busy:
            await asyncio.sleep(0)
        zygote.kill()
        await zygote.wait()
        spawner.detach()
        with pytest.raises(SpawnError, match="ended while it forked"):
            await under_way
        worker.signal(signal.SIGTERM)
        assert (await worker.wait()).code == 0


async def test_what_a_worker_leaves_in_its_group_ends_with_it(log: Place) -> None:
    handle = await log.spawn("leaves-a-child")
    left = int((await log.read_log("child ")).split("child ")[1].split()[0])
    assert (await handle.wait()).code == 0
    while True:
        try:
            pid, status = os.waitpid(left, 0)
        except ChildProcessError:
            await asyncio.sleep(0.005)
            continue
        assert (pid, os.WTERMSIG(status)) == (left, signal.SIGKILL)
        return
