"""Docker missing, an image missing, a daemon that stops, a full disk, on the whole gateway: whoever asks is told why,
nothing runs on the host instead, other agents go on, and what waited is answered without a restart when Docker is back.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from supervisor.sandbox import images
from tests.support.docker_daemon import Daemon
from tests.support.docker_engine import DockerEngine
from tests.support.founding import Stage, stage
from tests.support.gateway import Ran
from tests.support.sandboxes import Sandboxes, private_engine, sandboxes_on

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a Docker daemon of the tests' own"),
]

AGENTS = {
    "agents": {
        "list": [
            {"id": "boxed", "sandbox": {"mode": "all"}, "apiKey": "sk-ant-boxed-0123456789"},
            {"id": "free", "apiKey": "sk-ant-free-0123456789"},
        ]
    }
}
#: Longest pause between two attempts to make a container (supervisor/children.py), and time for that on a busy machine.
BACK_WITHIN = 100.0


class Scene:
    """One gateway with an agent in a sandbox and one on the host."""

    def __init__(self, it: Stage, boxes: Sandboxes) -> None:
        self.it, self.boxes = it, boxes
        self.waiting: list[str] = []

    async def ask(self, agent: str, text: str, timeout: float = 60.0) -> Ran:
        return await self.it.ask("agent", "--agent", agent, "--timeout", f"{timeout:g}", "-m", text)

    async def answers(self, agent: str, timeout: float = 60.0) -> None:
        text = f"hello {secrets.token_hex(4)}"
        ran = await self.ask(agent, text, timeout)
        assert (ran.code, ran.out) == (0, f"echo: {text}\n"), (ran, self.it.gateway.output())

    async def runs_inside(self) -> None:
        """A command of the sandboxed agent runs in its container."""
        ran = await self.ask("boxed", f"use tool exec {json.dumps({'command': 'hostname'})}")
        assert ran.code == 0, (ran, self.it.gateway.output())
        assert self.boxes.only()["Id"][:12] in ran.out, (ran, self.it.gateway.output())

    async def is_told(self, reason: str, hint: str) -> None:
        """Messages to the sandboxed agent wait, everybody is told why, and nothing of it runs here."""
        await self.it.logged(reason, 60)
        while True:
            self.waiting.append(f"waits {secrets.token_hex(4)}")
            ran = await self.ask("boxed", self.waiting[-1], 2)
            assert ran.code == 1 and "agent boxed did not answer within 2 s" in ran.err, ran
            if reason in ran.err:
                break
        assert f"hint: {hint}" in ran.err and "the message stays in its queue" in ran.err, ran
        assert reason in await self.status() and hint in await self.status()
        assert not any(one.name.startswith("worker boxed") for one in self.it.gateway.processes())
        asked = "".join(json.dumps(one.body) for one in self.it.models.seen)
        assert not [one for one in self.waiting if one in asked]
        await self.answers("free", 10)

    async def is_back(self) -> None:
        """Every message that waited is answered, each once, by the gateway that was there all the time."""
        async with asyncio.timeout(BACK_WITHIN):
            while not all(f"echo: {one}" in self.said() for one in self.waiting):
                await asyncio.sleep(0.1)
        await self.runs_inside()
        assert all(self.said().count(f"echo: {one}") == 1 for one in self.waiting)
        assert self.it.log().count('"message":"starting..."') == 1

    async def status(self) -> str:
        """What `gateway status` says of the sandboxed agent."""
        ran = await self.it.ask("gateway", "status", "--json")
        [reason] = [one["reason"] for one in json.loads(ran.out)["processes"] if one["agent"] == "boxed"]
        return str(reason)

    def said(self) -> str:
        return self.it.transcripts("boxed").get("agent:boxed:main", "")


@asynccontextmanager
async def a_scene(engine: DockerEngine, **docker: Any) -> AsyncIterator[Scene]:
    with sandboxes_on(engine) as boxes:
        async with stage(json.dumps(AGENTS), boxes.lab(**docker), environ=boxes.environ) as it:
            yield Scene(it, boxes)


@pytest.fixture(scope="module")
def private(docker_engine: DockerEngine) -> Iterator[tuple[Daemon, DockerEngine]]:
    with private_engine(docker_engine, "900m") as found:
        yield found


@pytest.fixture
def own(private: tuple[Daemon, DockerEngine]) -> Iterator[tuple[Daemon, DockerEngine]]:
    """A daemon of these tests' own; one that a test has left stopped is started again."""
    yield private
    if not Path(f"/proc/{private[0].pid}").exists():
        start(private[0])


def start(daemon: Daemon) -> None:
    """Again, in the same folder."""
    assert daemon.folder
    daemon.pid = Daemon.private(daemon.folder).pid


async def test_docker_is_missing_at_the_start_and_comes_later(own: tuple[Daemon, DockerEngine]) -> None:
    daemon, engine = own
    daemon.stop()
    async with a_scene(engine) as scene:
        await scene.is_told(f"there is no Docker at {engine.host}", "systemctl start docker")
        await asyncio.to_thread(start, daemon)
        await scene.is_back()


async def test_the_default_image_is_missing_and_is_built_later(own: tuple[Daemon, DockerEngine]) -> None:
    _, engine = own
    async with a_scene(engine, image=images.TAG) as scene:
        await scene.is_told(f"there is no image {images.TAG}", "openclaw sandbox build")
        with closing(engine.client()) as client:
            client.tag(engine.image, *images.TAG.split(":"))
        await scene.is_back()


async def test_docker_stops_in_the_middle_and_comes_back(own: tuple[Daemon, DockerEngine]) -> None:
    daemon, engine = own
    async with a_scene(engine) as scene:
        await scene.runs_inside()
        await asyncio.to_thread(daemon.stop)
        await scene.is_told(f"there is no Docker at {engine.host}", "systemctl start docker")
        await asyncio.to_thread(start, daemon)
        await scene.is_back()


async def test_the_agent_in_its_container_does_not_notice_that_docker_is_killed(
    own: tuple[Daemon, DockerEngine],
) -> None:
    daemon, engine = own
    async with a_scene(engine) as scene:
        await scene.runs_inside()
        await asyncio.to_thread(daemon.kill)
        await scene.answers("boxed", 10)
        await scene.answers("free", 10)
        await asyncio.to_thread(start, daemon)
        await scene.runs_inside()


async def test_docker_has_no_disk_space_until_somebody_makes_room(own: tuple[Daemon, DockerEngine]) -> None:
    daemon, engine = own
    assert daemon.folder
    filler = daemon.folder / "data" / "filler"
    fill(filler)
    try:
        async with a_scene(engine) as scene:
            await scene.is_told("Docker has no disk space left", "docker system df")
            filler.unlink()
            await scene.is_back()
    finally:
        filler.unlink(missing_ok=True)


def fill(path: Path) -> None:
    """Until nothing more fits on the daemon's own disk."""
    assert os.path.ismount(path.parent.parent)
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
