"""A Docker daemon that is missing, stops, is killed or has no disk space: clear words, no worker on the host, and
everything comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.spawners.base import Handle, SpawnError
from tests.support.containers import Yard, a_daemon, a_yard
from tests.support.docker_daemon import Daemon

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """One for all that leave it running again: to give a new one its images takes long."""
    with a_daemon() as daemon:
        yield daemon


def again(daemon: Daemon) -> None:
    assert daemon.folder
    daemon.pid = Daemon.private(daemon.folder).pid


async def spawned(yard: Yard) -> Handle:
    """Tried again, as the policy does: a daemon that comes back ends what outlived it, in its own time."""
    for _ in range(5):
        with contextlib.suppress(SpawnError):
            return await yard.spawn(yard.spec("obeys"))
        await asyncio.sleep(1)
    return await yard.spawn(yard.spec("obeys"))


async def test_a_missing_daemon_is_said_and_used_when_it_comes(daemon: Daemon) -> None:
    daemon.stop()
    async with a_yard(daemon.host) as yard:
        with pytest.raises(SpawnError, match=r"(no Docker at|not running at) unix://.*; hint: systemctl start docker"):
            await yard.spawn(yard.spec("obeys"))
        again(daemon)
        assert "running" in repr(await yard.spawn(yard.spec("obeys")))


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_workers_of_a_daemon_that_ends_in_the_middle_are_told_of_and_come_back(daemon: Daemon, how: str) -> None:
    async with a_yard(daemon.host) as yard:
        worker = await yard.spawn(yard.spec("obeys"))
        await asyncio.to_thread(daemon.stop if how == "stop" else daemon.kill)
        if how == "stop":
            assert (await asyncio.wait_for(worker.wait(), 30)).signal == signal.SIGKILL
            with pytest.raises(SpawnError, match="hint: systemctl start docker"):
                await yard.spawn(yard.spec("obeys"))
        else:
            # Containers outlive a killed daemon: the connection is there, and new workers need no daemon.
            assert "running" in repr(worker)
            other = await yard.spawn(yard.spec("obeys"))
            assert other.pid_text == worker.pid_text
            other.kill()
            await other.wait()
        again(daemon)
        assert "running" in repr(await spawned(yard))
        if how == "kill":
            worker.kill()
            await asyncio.wait_for(worker.wait(), 30)


async def test_a_full_disk_is_said_and_leaves_nothing() -> None:
    with a_small_daemon() as daemon:
        async with a_yard(daemon.host) as yard:
            assert daemon.folder
            filler = daemon.folder / "data/filler"
            fill(filler)
            with pytest.raises(SpawnError, match=r"Docker has no disk space left; hint: docker system df"):
                await yard.spawn(yard.spec("obeys"))
            filler.unlink()
            assert "running" in repr(await yard.spawn(yard.spec("obeys")))


@contextmanager
def a_small_daemon() -> Iterator[Daemon]:
    with a_daemon(size="700m") as daemon:
        yield daemon


def fill(path: Path) -> None:
    with path.open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        except OSError:
            pass
    with path.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(64))
        except OSError:
            return
