"""Real containers for tests: the daemon, an image whose worker does what a test says, and what is put into it.

Without Docker or without the image a test is skipped on a laptop and fails where CI is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import os
import shutil
import subprocess
import sys
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

ROOT = Path(__file__).parents[2]
#: The worker's image that the peers' image is made from.
WORKER_IMAGE = os.environ.get("OPENCLAW_TEST_IMAGE", "openclaw-sandbox:bookworm-slim")
PEER_IMAGE = "openclaw-test-peer:local"
UID = 2_000_090_001

_DOCKERFILE = f"""\
FROM {WORKER_IMAGE}
USER 0:0
COPY product /tmp/product
RUN cp -R /tmp/product/. "$(/opt/openclaw/bin/python3 -c 'import site; print(site.getsitepackages()[0])')/"
COPY peer.py /peer.py
ENTRYPOINT ["/opt/openclaw/bin/python3", "-P", "/peer.py", "worker.container"]
"""


def missing(reason: str) -> None:
    """Skip on a laptop, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@functools.cache
def client(host: str = "") -> Any:
    return docker.APIClient(host or None, version="auto", timeout=60)


@functools.cache
def peer_image() -> str:
    """The image of tests/support/container_peer.py, with the worker as it is in this checkout."""
    try:
        client().inspect_image(WORKER_IMAGE)
    except docker.errors.DockerException as error:
        missing(f"no Docker, or no image {WORKER_IMAGE}: {error}")
    build(_DOCKERFILE, PEER_IMAGE)
    return PEER_IMAGE


def build(dockerfile: str, tag: str, host: str = "") -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        _add(tar, "Dockerfile", dockerfile.encode())
        _add(tar, "peer.py", (ROOT / "tests/support/container_peer.py").read_bytes())
        for package in ("protocol", "worker"):
            for path in sorted((ROOT / package).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    _add(tar, f"product/{path.relative_to(ROOT)}", path.read_bytes())
    archive.seek(0)
    for event in client(host).build(fileobj=archive, custom_context=True, tag=tag, rm=True, decode=True):
        assert "error" not in event, event


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    tar.addfile(entry, io.BytesIO(data))


class Yard:
    """Where containers of one test live; everything with its owner's label is removed at the end."""

    def __init__(self, folder: Path, host: str = "", linger: float = 120.0) -> None:
        self.folder = folder
        self.host = host
        self.owner = folder.name
        self.linger = linger
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
    if not host:
        peer_image()
    folder = Path(tempfile.mkdtemp(prefix="octest"))
    yard = Yard(folder, host, linger)
    try:
        yield yard
    finally:
        await yard.close()
        shutil.rmtree(folder, ignore_errors=True)


class Daemon:
    """A second Docker daemon that a test may stop, kill and starve. Containers without a network only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        self.host = f"unix://{folder}/d.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            "dockerd", "-H", self.host, "--data-root", str(self.data), "--exec-root", str(self.folder / "exec"),
            "--pidfile", str(self.folder / "pid"), "--bridge=none", "--iptables=false", "--ip-forward=false",
            "--ip-masq=false", "--ip6tables=false",
        ]  # fmt: skip
        with (self.folder / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for_docker(self.host)

    def load(self, image: str) -> None:
        """Copy an image from the usual daemon."""
        client(self.host).load_image(client().get_image(image))

    def stop(self) -> None:
        """As `systemctl stop docker` does."""
        self._end(15)

    def kill(self) -> None:
        self._end(9)

    def close(self) -> None:
        self.stop()
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.folder / "exec/containerd/containerd.pid").read_text()), 15)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(60)
            client.cache_clear()


def wait_for_docker(host: str) -> None:
    for _ in range(300):
        try:
            docker.APIClient(host, version="auto", timeout=5).close()
            return
        except docker.errors.DockerException:
            subprocess.run(["sleep", "0.1"], check=True)
    raise AssertionError(f"no Docker at {host} after 30 s")


@contextlib.contextmanager
def a_daemon() -> Iterator[Daemon]:
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        missing("a second dockerd needs dockerd and root")
    folder = Path(tempfile.mkdtemp(prefix="ocdocker", dir="/tmp"))
    daemon = Daemon(folder)
    try:
        yield daemon
    finally:
        daemon.close()
        subprocess.run(["umount", "-l", str(daemon.data)], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)


def decode_facts(text: str) -> dict[str, Any]:
    """The line a worker that `tells` has written."""
    found: dict[str, Any] = msgspec.json.decode(next(line for line in text.splitlines() if line.startswith("{")))
    return found


if __name__ == "__main__":
    print(peer_image(), file=sys.stderr)
