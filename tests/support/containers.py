"""Real containers for tests: the daemon, an image whose worker does what a test says, and what is put into it.

Without Docker or without the image a test is skipped on a laptop and fails where CI is set.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import docker
import msgspec
import pytest

from protocol import messages as m
from protocol.slices import WorkerSlice
from protocol.tasks import Tasks
from supervisor.logs import Journal, LogFile
from supervisor.sandbox.box import BoxWorker
from supervisor.sandbox.containers import Containers
from supervisor.sandbox.engine import Engine
from supervisor.sandbox.seccomp import profile
from supervisor.sandbox.spec import LINK, PROXY, SESSIONS, WORKSPACE, ContainerSpec, Mount
from supervisor.spawners.base import SpawnSpec
from supervisor.spawners.docker import DockerSpawner
from tests.support.docker_daemon import Daemon, Unable
from tests.support.docker_engine import DockerEngine, up

ROOT = Path(__file__).parents[2]
PEER_IMAGE = "openclaw-test-peer"
ENTRY = ["/opt/openclaw/bin/python3", "-P", "/peer.py", "worker.container"]
UID = 2_000_090_001


def missing(reason: str) -> None:
    """Skip on a laptop, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@functools.cache
def client(host: str = "") -> Any:
    return docker.APIClient(host or None, version="auto", timeout=60)


@functools.cache
def _engine() -> DockerEngine:
    try:
        engine, daemon = up()
    except Unable as error:
        missing(str(error))
        raise
    if daemon:
        atexit.register(daemon.stop)
    return engine


@functools.cache
def peer_image() -> str:
    """The image of tests/support/container_peer.py, made from the sandbox image of this checkout."""
    engine = _engine()
    peer = (ROOT / "tests/support/container_peer.py").read_bytes()
    tag = f"{PEER_IMAGE}:{hashlib.sha256(engine.image.encode() + peer).hexdigest()[:12]}"
    try:
        client().inspect_image(tag)
    except docker.errors.ImageNotFound:
        build(f"FROM {engine.image}\nCOPY peer.py /peer.py\nENTRYPOINT {json.dumps(ENTRY)}\n", tag, peer)
    return tag


def build(dockerfile: str, tag: str, peer: bytes = b"", host: str = "") -> None:
    """An image from a Dockerfile without any other file than peer.py."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data in {"Dockerfile": dockerfile.encode(), "peer.py": peer}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    archive.seek(0)
    for event in client(host).build(fileobj=archive, custom_context=True, tag=tag, rm=True, decode=True):
        assert "error" not in event, event


class Yard:
    """Where containers of one test live; everything with its owner's label is removed at the end."""

    def __init__(self, folder: Path, host: str = "", linger: float = 120.0) -> None:
        self.folder = folder
        self.host = host
        self.owner = folder.name
        self.linger = linger
        self.base_image = _engine().base
        self.crashes: list[str] = []
        self.journal = Journal(LogFile(folder / "log"), level="debug")
        self.log_reading, self.log_writing = os.pipe()
        os.set_blocking(self.log_reading, False)
        self.spawner = self.gateway()

    def gateway(self) -> DockerSpawner:
        """Another life of the supervisor."""
        tasks = Tasks(lambda name, error: self.crashes.append(f"{name}: {error!r}"))
        containers = Containers(
            Engine(self.host), self.folder / "sandbox", self.owner, profile(), self.journal, tasks, self.linger
        )
        self.spawner = DockerSpawner(containers)
        return self.spawner

    def spec(
        self, behaviour: str = "obeys", *, name: str = "x", image: str = "", setup: str = "", uid: int = UID,
        agents: tuple[str, ...] = ("x",), **settings: Any,
    ) -> ContainerSpec:  # fmt: skip
        folders = {"workspace": WORKSPACE, "sessions": SESSIONS, "link": LINK, "proxy": PROXY}
        for folder in folders:
            (self.folder / name / folder).mkdir(parents=True, exist_ok=True)
            os.chown(self.folder / name / folder, uid, uid)
        return ContainerSpec(
            name=f"{self.owner}-{name}", scope_key=f"agent:{name}", agents=agents, image=image or peer_image(),
            uid=uid, gid=uid, boot_folder=str(self.folder / name / "boot"), owner=self.owner, setup=setup,
            mounts=tuple(
                Mount(source=str(self.folder / name / folder), target=target, read_only=folder in {"link", "proxy"})
                for folder, target in folders.items()
            ),
            docker={"env": {"BEHAVIOUR": behaviour}, "memory": "256m", **settings},
        )  # fmt: skip

    async def spawn(self, spec: ContainerSpec, *, uid: int = 0, until: str = "booted main 7") -> BoxWorker:
        order = SpawnSpec(
            title="openclaw: worker x", boot=boot(), log_fd=self.log_writing, container=spec, uid=uid, gid=uid
        )
        handle = await self.spawner.spawn(order)
        assert isinstance(handle, BoxWorker)
        if until:
            await self.read_log(until)
        return handle

    def order(self, spec: ContainerSpec, uid: int = 0) -> SpawnSpec:
        title = "openclaw: worker x"
        return SpawnSpec(title=title, boot=boot(), log_fd=self.log_writing, container=spec, uid=uid, gid=uid)

    async def read_log(self, until: str) -> str:
        """Everything the workers wrote up to and including this text."""
        loop, text = asyncio.get_running_loop(), ""
        while until not in text:
            readable: asyncio.Future[None] = loop.create_future()
            loop.add_reader(self.log_reading, lambda f=readable: f.done() or f.set_result(None))
            try:
                await readable
            finally:
                loop.remove_reader(self.log_reading)
            text += os.read(self.log_reading, 65536).decode()
        return text

    def said(self) -> str:
        """The journal."""
        return (self.folder / "log").read_text()

    def inspect(self, name: str = "x") -> dict[str, Any]:
        found: dict[str, Any] = client(self.host).inspect_container(f"{self.owner}-{name}")
        return found

    def all(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = client(self.host).containers(
            all=True, filters={"label": f"openclaw.owner={self.owner}"}
        )
        return rows

    def top(self, name: str = "x") -> str:
        return "\n".join(" ".join(row) for row in client(self.host).top(f"{self.owner}-{name}")["Processes"])

    async def close(self) -> None:
        await self.spawner.close()
        for row in self.all():
            # One that is being removed just now is as good as gone.
            with contextlib.suppress(docker.errors.APIError):
                client(self.host).remove_container(row["Id"], force=True)
        os.close(self.log_reading)
        os.close(self.log_writing)
        self.journal.close()
        assert not self.crashes, self.crashes


def boot() -> m.WorkerBoot:
    slice_ = WorkerSlice(
        agent="main", name="Main", workspace=WORKSPACE, sessions=SESSIONS, link_socket=f"{LINK}/link",
        router_public="r", worker_public="w", worker_secret="x" * 100_000, proxy_socket=f"{PROXY}/proxy",
        proxy_token="t",
    )  # fmt: skip
    return m.WorkerBoot(version=m.PROTOCOL_VERSION, generation=7, slice=slice_)


@asynccontextmanager
async def a_yard(host: str = "", linger: float = 120.0) -> AsyncIterator[Yard]:
    peer_image()
    folder = Path(tempfile.mkdtemp(prefix="octest"))
    yard = Yard(folder, host, linger)
    try:
        yield yard
    finally:
        await yard.close()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def a_daemon(*more: str, size: str = "") -> Iterator[Daemon]:
    """A daemon of its own, with the peers' image, that a test may stop, kill and starve. It has no network.

    `more` are options of its own, `size` limits its disk.
    """
    image = peer_image()
    folder = Path(tempfile.mkdtemp(prefix="ocd"))
    if size:
        (folder / "data").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder / "data")], check=True)
    try:
        daemon = Daemon.private(folder, *more)
    except Unable as error:
        missing(str(error))
        raise
    try:
        _copy(image, daemon.host)
        yield daemon
    finally:
        daemon.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _copy(image: str, host: str) -> None:
    with contextlib.closing(docker.APIClient(host, version="auto", timeout=120)) as there:
        there.load_image(client().get_image(image))


def decode_facts(text: str) -> dict[str, Any]:
    """The line a worker that `tells` has written."""
    found: dict[str, Any] = msgspec.json.decode(next(line for line in text.splitlines() if line.startswith("{")))
    return found
