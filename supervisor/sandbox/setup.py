"""`sandbox.docker.setupCommand`: run once, its result kept as an image (SPEC 5.8, last paragraph).

The strict container has no network, no root and a read-only root, so its packages must be there before. They are
installed in a throw-away container from the same image, as root, with a network and a writable root; that is kept as
`openclaw-sandbox-setup:<key>`, where the key is made of the base image, the commands and the environment. The image is
the memory: it is there after a restart, and another command, base or environment has another key.

The commands run as one script, `sh -e`, so the first that fails ends it. Which line that was is known because `sh -v`
repeats each line when it has read it (POSIX, sh). What fails leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from protocol.sandbox import DOCKER
from supervisor.logs import Journal
from supervisor.sandbox import profile
from supervisor.sandbox.engine import Engine, EngineError, ImageMissing, output
from supervisor.sandbox.spec import ContainerSpec
from supervisor.spawners.base import SpawnError

REPOSITORY = "openclaw-sandbox-setup"
#: Label of the throw-away container and of the image made from it: the key.
SETUP = "openclaw.setup"

#: Limits of one run: seconds, bytes of output, processes, and memory where the sandbox sets none.
WITHIN = 600.0
MAX_OUTPUT = 8 * 1024 * 1024
PIDS = 1024
#: Seconds that a throw-away container lives beyond WITHIN: for the making of the image.
LINGERS = 600
MEMORY = "2g"
_TAIL = 5
_FOLDER = "/openclaw/setup"


class Image(NamedTuple):
    """What a container is made from. `command` is its first process."""

    name: str
    id: str
    command: tuple[str, ...]


class Setup:
    """Finds or makes the image of a specification. One run at a time for each key."""

    def __init__(self, engine: Engine, folder: Path, owner: str, journal: Journal, within: float = WITHIN) -> None:
        self._engine = engine
        self._folder = folder
        self._owner = owner
        self._journal = journal
        self._within = within
        self._running: dict[str, asyncio.Task[None]] = {}

    async def image(self, spec: ContainerSpec) -> Image:
        """Raises SpawnError: no such image, or a setup that failed."""
        base = await self._inspect(spec.image)
        if not spec.setup.strip():
            return _image(spec.image, base)
        made = f"{REPOSITORY}:{key_of(base['Id'], spec)}"
        try:
            found = await self._inspect(made)
        except ImageMissing:
            await self._once(made, base, spec)
            found = await self._inspect(made)
        return _image(made, found)

    async def _inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = await self._engine.call(lambda client: client.inspect_image(name), image=name)
        return found

    async def _once(self, made: str, base: Mapping[str, Any], spec: ContainerSpec) -> None:
        """Whoever wants the same image waits for the same run; it goes on when one of them gives up."""
        task = self._running.get(made)
        if task is None:
            task = self._running[made] = asyncio.create_task(self._run(made, base, spec), name=f"setup {made}")
            task.add_done_callback(lambda done: self._done(made, done))
        await asyncio.shield(task)

    def _done(self, made: str, task: asyncio.Task[None]) -> None:
        del self._running[made]
        if not task.cancelled():
            task.exception()  # it was told to whoever still waits

    async def _run(self, made: str, base: Mapping[str, Any], spec: ContainerSpec) -> None:
        began = time.monotonic()
        names = ", ".join(spec.agents)
        self._journal.log("info", "sandbox", f"setupCommand of {names} begins; its result is kept as {made}")
        work = Run(self._engine, self._folder / made.partition(":")[2], self._owner, spec, base, self._journal)
        try:
            async with asyncio.timeout(self._within):
                await work.run()
                await work.keep(made)
        except TimeoutError:
            text = f"setupCommand took longer than {self._within:g} s{work.where()}"
            raise SpawnError(f"{text}; hint: put it into an image built FROM {spec.image}") from None
        finally:
            await asyncio.shield(work.clear())
        took = round(time.monotonic() - began, 1)
        self._journal.log("info", "sandbox", f"setupCommand of {names} is done after {took} s")


class Run:
    """One run in one throw-away container."""

    def __init__(
        self, engine: Engine, folder: Path, owner: str, spec: ContainerSpec, base: Mapping[str, Any], journal: Journal
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._owner = owner
        self._spec = spec
        self._base = base
        self._journal = journal
        self._script = spec.setup if spec.setup.endswith("\n") else spec.setup + "\n"
        self._progress = Progress(self._script)
        self._container = ""
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Raises SpawnError with the line that failed."""
        await asyncio.to_thread(self._write_script)
        key = self._folder.name
        body = body_of(self._spec, self._owner, key, str(self._folder))
        made = await self._engine.call(lambda client: client.create_container_from_config(body), image=self._spec.image)
        self._container = str(made["Id"])
        await self._engine.call(lambda client: client.start(self._container), image=self._spec.image)
        code = await self._engine.call(self._execute, within=7200.0)
        if code:
            raise SpawnError(f"setupCommand failed with code {code}{self.where()}: {self._progress.last}")

    async def keep(self, name: str) -> None:
        """Make the image. What the throw-away container was started with does not stay in it."""
        repository, _, tag = name.partition(":")
        changes = _changes(self._base["Config"])
        await self._engine.call(
            lambda client: client.commit(self._container, repository, tag, changes=changes), within=600.0
        )

    def where(self) -> str:
        """In words, with the agent it is for."""
        line, text = self._progress.line, self._progress.text
        return f" at line {line} ({text[:200]})" if line else ""

    async def clear(self) -> None:
        """Never raises: what stays behind is found by its label."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        if self._container:
            with contextlib.suppress(EngineError):
                await self._engine.call(lambda client: client.remove_container(self._container, force=True, v=True))

    def _write_script(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._folder / "setup.sh").write_text(self._script)

    def _execute(self, client: Any) -> int:
        """In a thread: run the script, read what it says."""
        environ = {"DEBIAN_FRONTEND": "noninteractive", **self._spec.docker.get("env", DOCKER["env"])}
        started = client.exec_create(
            # One stream: of two nobody knows whether a word came before the next line was repeated.
            self._container,
            ["/bin/sh", "-c", f"exec /bin/sh -ev {_FOLDER}/setup.sh 2>&1"],
            environment=environ,
            user="0:0",
            workdir="/",
        )
        with contextlib.closing(output(client, started["Id"])) as chunks:
            for line in self._progress.follow(chunks):
                self._loop.call_soon_threadsafe(self._say, line)
        code = client.exec_inspect(started["Id"])["ExitCode"]
        return 137 if code is None else int(code)

    def _say(self, line: str) -> None:
        self._journal.log("debug", "sandbox", f"setupCommand: {line[:500]}")


class Progress:
    """Follows a script by what `sh -v` repeats of it. Lines count from 1."""

    def __init__(self, script: str) -> None:
        self._lines = script.splitlines()
        self.line = 0
        self._said: deque[str] = deque(maxlen=_TAIL)
        self._rest = b""
        self._size = 0

    @property
    def text(self) -> str:
        """The line it is at."""
        return self._lines[self.line - 1].strip() if self.line else ""

    @property
    def last(self) -> str:
        """The last words of the commands, on one line."""
        return " / ".join(self._said) or "it says nothing"

    def follow(self, chunks: Iterator[bytes]) -> Iterator[str]:
        """Take output as it comes, give its lines. Raises SpawnError for more than MAX_OUTPUT."""
        for chunk in chunks:
            self._size += len(chunk)
            if self._size > MAX_OUTPUT:
                raise SpawnError(f"setupCommand wrote more than {MAX_OUTPUT >> 20} MB at line {self.line}")
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            yield from map(self._take, lines)
            self._rest = self._rest[-4096:]
        if self._rest:
            yield self._take(self._rest)

    def _take(self, raw: bytes) -> str:
        line = raw.decode(errors="replace").rstrip("\r")
        if self._is_next(line):
            self.line += 1
            if line.strip():
                self._said.clear()
            return f"+ {line}"
        if line.strip():
            self._said.append(line.strip()[:300])
        return line

    def _is_next(self, line: str) -> bool:
        """Whether the shell repeats the next line of the script; words without an end may stand before it."""
        if self.line >= len(self._lines):
            return False
        wanted = self._lines[self.line]
        return line.endswith(wanted) if wanted.strip() else not line.strip()


def key_of(base_id: str, spec: ContainerSpec) -> str:
    """Of what the result depends on: the base image, the commands, the environment."""
    parts = (base_id, spec.setup, {**DOCKER["env"], **spec.docker.get("env", {})})
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:16]


def body_of(spec: ContainerSpec, owner: str, key: str, folder: str) -> dict[str, Any]:
    """The throw-away container: it waits, and the commands are executed in it with the environment of their own, so
    that none of it stays in the image."""
    docker = {**DOCKER, **spec.docker}
    network = str(docker["network"])
    memory = profile.size(docker.get("memory") or MEMORY)
    host = {
        "NetworkMode": "bridge" if network in {"none", "host"} or ":" in network else network,
        "Mounts": [{"Type": "bind", "Source": folder, "Target": _FOLDER, "ReadOnly": True}],
        "Init": True,
        # Should nobody be left to remove it: it ends by itself, and goes.
        "AutoRemove": True,
        "SecurityOpt": ["no-new-privileges"],
        "PidsLimit": PIDS,
        "Memory": max(memory, profile.size(MEMORY)),
        "MemorySwap": max(memory, profile.size(MEMORY)),
        "CpuShares": profile.CPU_SHARES,
        "OomScoreAdj": profile.OOM_SCORE,
        "Dns": list(docker.get("dns") or ()),
        "ExtraHosts": list(docker.get("extraHosts") or ()),
        "LogConfig": profile.LOG,
    }
    return {
        "Image": spec.image,
        "Entrypoint": ["sleep", str(int(WITHIN) + LINGERS)],
        "Cmd": [],
        "User": "0:0",
        "WorkingDir": "/",
        "Labels": {SETUP: key, profile.OWNER: owner},
        "HostConfig": host,
    }


def _changes(config: Mapping[str, Any]) -> list[str]:
    """Dockerfile lines that put back what the throw-away container was made with."""
    entry, command = config.get("Entrypoint") or [], config.get("Cmd") or []
    return [
        f"ENTRYPOINT {msgspec.json.encode(entry).decode()}",
        f"CMD {msgspec.json.encode(command).decode()}",
        f"USER {config.get('User') or '0:0'}",
        f"WORKDIR {config.get('WorkingDir') or '/'}",
    ]


def _image(name: str, found: Mapping[str, Any]) -> Image:
    entry = tuple((found.get("Config") or {}).get("Entrypoint") or ())
    # Ours says where its own Python is; any other image has to have the worker in its usual one.
    return Image(name, str(found["Id"]), entry if "worker.container" in entry else profile.COMMAND)
