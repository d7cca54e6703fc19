"""The containers of this gateway: made, started, used again, renewed when the configuration changed, removed.

For each name there is at most one container that takes new workers. One whose specification has changed while workers
are still finishing in it is renamed and lives on until they are done. A container without workers is stopped after a
while and kept, so that the next start finds it; `prune` removes it one day. What is not ours by label is never touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from protocol.errors import Permanent
from protocol.pipe import PipeClosed
from protocol.tasks import Tasks
from supervisor.life import Exit
from supervisor.logs import Journal
from supervisor.sandbox import profile
from supervisor.sandbox.boot_socket import BootSocket
from supervisor.sandbox.box import Box
from supervisor.sandbox.engine import Engine, EngineError, Gone, how_to_get
from supervisor.sandbox.registry import Entry, Registry
from supervisor.sandbox.setup import Setup
from supervisor.sandbox.spec import ContainerSpec, digest
from supervisor.spawners.base import SpawnError

#: Seconds for a container to report after its start, and between two looks at whether it still runs.
READY_WITHIN = 30.0
_LOOK_EVERY = 0.25
#: Seconds a container may take to end by itself, and how long it lives without a worker.
ENDS_WITHIN = 5.0
#: So many are started side by side: with more, all of them are ready late instead of each as early as it can be.
STARTS_AT_ONCE = max(4, os.cpu_count() or 1)
LINGER = 120.0
_HOUR, _DAY = 3600_000, 24 * 3600_000


class Keep(NamedTuple):
    """`sandbox.prune`: how long a container that nobody uses is kept; 0 is for ever."""

    idle_hours: int = 24
    max_age_days: int = 7


class Found(NamedTuple):
    """A container as Docker tells of it."""

    id: str
    name: str
    running: bool
    labels: Mapping[str, str]


class Containers:
    """All of one gateway; `folder` is `<state>/sandbox`, `seccomp` the text of our profile."""

    def __init__(
        self, engine: Engine, folder: Path, owner: str, seccomp: str, journal: Journal, tasks: Tasks,
        linger: float = LINGER,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._owner = owner
        self._seccomp = seccomp
        self._journal = journal
        self._tasks = tasks
        self._linger = linger
        self._registry = Registry(folder)
        self._setup = Setup(engine, folder / "setup", owner, journal)
        self._boxes: dict[str, Box] = {}
        self._leaving: set[Box] = set()
        self._starting = asyncio.Semaphore(STARTS_AT_ONCE)
        self._locks: dict[str, asyncio.Lock] = {}
        self._timers: dict[Box, asyncio.TimerHandle] = {}
        self._unreaped: tuple[Collection[str], Collection[str]] | None = None

    def __repr__(self) -> str:
        return f"Containers({sorted(self._boxes.values(), key=repr)}, leaving {len(self._leaving)})"

    # --- one container -------------------------------------------------------------------------------------------

    async def ensure(self, spec: ContainerSpec) -> Box:
        """A running container of exactly this specification. Raises SpawnError with what to type."""
        async with self._locks.setdefault(spec.name, asyncio.Lock()):
            box = self._boxes.get(spec.name)
            if box is None or not box.usable or box.spec != spec:
                try:
                    box = await self._make(spec, box)
                except Permanent as error:
                    raise SpawnError(error.reason) from None
            self._stay(box)
            return box

    async def _make(self, spec: ContainerSpec, old: Box | None) -> Box:
        await self._reap_again()
        image = await self._setup.image(spec)
        if old is not None:
            await self._make_room(old)
        seccomp = await asyncio.to_thread(self._profile_text, spec)
        body = profile.arguments(spec, image.name, seccomp, image.command, now_ms())
        async with self._starting:
            return await self._begin(spec, body, image.id)

    async def _begin(self, spec: ContainerSpec, body: dict[str, Any], image: str) -> Box:
        with BootSocket(spec) as door:
            container = await self._again(spec, body, image) or await self._create(spec, body)
            box = await self._start(spec, container, door)
        self._boxes[spec.name] = box
        return box

    async def _make_room(self, old: Box) -> None:
        """Workers may still be finishing in the old one."""
        if old.usable and old.busy:
            name = f"{old.spec.name[:50]}-{old.id[:12]}"
            self._journal.log("info", "sandbox", f"container {old.spec.name} finishes as {name}, its settings changed")
            await self._engine.call(lambda client: client.rename(old.id, name))
            self._leaving.add(old)
        else:
            old.end()
            await old.over()
        if self._boxes.get(old.spec.name) is old:
            del self._boxes[old.spec.name]

    async def _again(self, spec: ContainerSpec, body: Mapping[str, Any], image: str) -> str | None:
        """The container of this name from before, when it is just what is wanted; any other one of ours is removed."""
        try:
            found = await self._engine.call(lambda client: client.inspect_container(spec.name))
        except Gone:
            return None
        labels = found["Config"]["Labels"] or {}
        if labels.get(profile.OWNER) != spec.owner or labels.get(profile.SANDBOX) != "1":
            raise SpawnError(
                f'a container named "{spec.name}" is there that is not this gateway\'s; hint: docker rm -f {spec.name}'
                " (or set another agents.defaults.sandbox.docker.containerPrefix)"
            )
        container = str(found["Id"])
        same = all(labels.get(key) == body["Labels"][key] for key in (profile.CONFIG_HASH, profile.PROFILE_HASH))
        if not same or found["Image"] != image or found["State"].get("Dead"):
            self._journal.log("info", "sandbox", f"container {spec.name} is made anew, its settings or image changed")
            await self._discard(container)
            return None
        if found["State"]["Running"]:
            await self._kill(container)
        return container

    async def _create(self, spec: ContainerSpec, body: dict[str, Any]) -> str:
        made = await self._engine.call(
            lambda client: client.create_container_from_config(body, spec.name), image=spec.image
        )
        created = int(body["Labels"][profile.CREATED])
        self._remember(
            Entry(
                container_name=spec.name, runtime_label=spec.name, session_key=spec.scope_key, created_at_ms=created,
                last_used_at_ms=created, image=spec.image, config_hash=digest(spec),
            )
        )  # fmt: skip
        return str(made["Id"])

    async def _start(self, spec: ContainerSpec, container: str, door: BootSocket) -> Box:
        began = time.monotonic()
        try:
            await self._engine.call(lambda client: client.start(container), image=spec.image)
            box = await self._welcome(spec, container, door)
        except BaseException:
            # Nothing half-made stays; the next try begins from the start.
            await asyncio.shield(self._clear(spec.name, container))
            raise
        took = round((time.monotonic() - began) * 1000)
        text = f"container {spec.name} ({container[:12]}) runs for {', '.join(spec.agents)} after {took} ms"
        self._journal.log("info", "sandbox", text, container=container)
        return box

    async def _welcome(self, spec: ContainerSpec, container: str, door: BootSocket) -> Box:
        """Wait for its first words, but not for one that has ended already."""
        waiting = asyncio.ensure_future(self._connected(spec, container, door))
        try:
            async with asyncio.timeout(READY_WITHIN):
                while not (await asyncio.wait([waiting], timeout=_LOOK_EVERY))[0]:
                    state = await self._engine.call(lambda client: client.inspect_container(container)["State"])
                    if not state["Running"]:
                        raise SpawnError(await self._why(spec, container, state))
            return waiting.result()
        except (TimeoutError, PipeClosed):
            state = await self._engine.call(lambda client: client.inspect_container(container)["State"])
            raise SpawnError(await self._why(spec, container, state)) from None
        finally:
            waiting.cancel()
            await asyncio.wait([waiting])

    async def _connected(self, spec: ContainerSpec, container: str, door: BootSocket) -> Box:
        sock = await door.accept(container)
        box = Box(spec, container, sock, self._finish, self._changed, self._tasks)
        try:
            await box.ready()
        except SpawnError as error:
            box.drop()
            raise SpawnError(f"image {spec.image}: {error.reason}; hint: {how_to_get(spec.image)}") from None
        except BaseException:
            box.drop()
            raise
        return box

    async def _why(self, spec: ContainerSpec, container: str, state: Mapping[str, Any]) -> str:
        said = b""
        with contextlib.suppress(EngineError):
            said = await self._engine.call(lambda client: client.logs(container, tail=20))
        return why_not(spec, said.decode(errors="replace"), state)

    # --- its end -------------------------------------------------------------------------------------------------

    async def _finish(self, box: Box) -> Exit:
        """The connection is closed: make sure of the end, and tell how it came."""
        oom = False
        try:
            await self._await_end(box.id)
            state = await self._engine.call(lambda client: client.inspect_container(box.id)["State"])
            oom = bool(state.get("OOMKilled"))
        except Gone:
            pass
        except EngineError as error:
            box.problem = box.problem or error.reason
        if box.problem:
            self._journal.log("error", "sandbox", f"container {box.spec.name}: {box.problem}", container=box.id)
        return Exit(signal=signal.SIGKILL, oom=oom)

    async def _await_end(self, container: str) -> None:
        deadline = time.monotonic() + ENDS_WITHIN
        while time.monotonic() < deadline:
            state = await self._engine.call(lambda client: client.inspect_container(container)["State"])
            if not state["Running"]:
                return
            await asyncio.sleep(0.05)
        await self._kill(container)

    def _changed(self, box: Box) -> None:
        """A worker or the whole container has ended."""
        if box in self._leaving:
            if not box.busy:
                self._leaving.discard(box)
                self._tasks.start(self._away_with(box), f"removal of {box.spec.name}")
            return
        if not box.usable and self._boxes.get(box.spec.name) is box:
            del self._boxes[box.spec.name]
            self._stay(box)
        elif not box.busy and box not in self._timers:
            self._used(box.spec.name)
            self._timers[box] = asyncio.get_running_loop().call_later(self._linger, self._rest, box)

    def _stay(self, box: Box) -> None:
        if timer := self._timers.pop(box, None):
            timer.cancel()
        self._used(box.spec.name)

    def _rest(self, box: Box) -> None:
        self._timers.pop(box, None)
        if not box.busy and not self._lock_held(box.spec.name):
            box.end()

    def _lock_held(self, name: str) -> bool:
        return name in self._locks and self._locks[name].locked()

    async def _away_with(self, box: Box) -> None:
        box.end()
        with contextlib.suppress(EngineError):
            await self._discard(box.id)

    # --- all of them ---------------------------------------------------------------------------------------------

    async def reap(self, known: Collection[str], agents: Collection[str]) -> None:
        """Remove what an earlier gateway of this state left and nobody will ask for: a container is kept when its name
        is `known`, or when it is in the registry and all its agents are among `agents`. Never raises; tried again
        before the next container is made."""
        self._unreaped = (known, agents)
        if not known and not self._registry.entries():
            self._unreaped = None
            return
        try:
            await self._reap_again()
        except EngineError as error:
            self._journal.log("warn", "sandbox", f"containers of an earlier run are not looked for yet: {error.reason}")

    async def _reap_again(self) -> None:
        if self._unreaped is None:
            return
        known, agents = self._unreaped
        found = await self._ours()
        mine = self._mine()
        registered = self._registry.entries()
        for one in found:
            if one.id in mine:
                continue
            of_known_agents = set(one.labels.get(profile.AGENTS, "").split(",")) <= set(agents)
            if one.name in known or (one.name in registered and of_known_agents):
                if one.running:
                    await self._kill(one.id)
            else:
                self._journal.log("info", "sandbox", f"container {one.name} is removed, nobody wants it any more")
                await self._clear(one.name, one.id)
        for name in registered.keys() - {one.name for one in found}:
            self._forget(name)
        self._unreaped = None

    def entries(self) -> tuple[Entry, ...]:
        """Those that were made and not removed since, as the list on disk has them."""
        return tuple(self._registry.entries().values())

    async def prune(self, keeps: Mapping[str, Keep], default: Keep) -> list[str]:
        """Remove what has been idle too long or is too old, but nothing in use; `keeps` by container name. Gives the
        names. Raises EngineError."""
        if not self._registry.entries():
            return []
        gone = []
        for one in await self._ours():
            box = self._boxes.get(one.name)
            if (box is not None and box.busy) or any(other.id == one.id for other in self._leaving):
                continue
            if self._expired(one, keeps.get(one.name, default)):
                await self.remove([one.name])
                gone.append(one.name)
        return gone

    def _expired(self, one: Found, keep: Keep) -> bool:
        created = int(one.labels.get(profile.CREATED, "0"))
        entry = self._registry.entries().get(one.name)
        idle, age = now_ms() - (entry.last_used_at_ms if entry else created), now_ms() - created
        too_idle = 0 < keep.idle_hours * _HOUR < idle
        return too_idle or 0 < keep.max_age_days * _DAY < age

    async def remove(self, names: Collection[str]) -> list[str]:
        """Remove them with whatever runs in them. Gives those that were there. Raises EngineError."""
        gone = []
        for name in names:
            async with self._locks.setdefault(name, asyncio.Lock()):
                box = self._boxes.pop(name, None)
                if box is not None:
                    box.end()
                    await box.over()
                found = [one for one in await self._ours() if one.name == name]
                for one in found:
                    await self._clear(name, one.id)
                gone += [one.name for one in found]
                self._forget(name)
        return gone

    async def close(self) -> None:
        """End all; they are kept for the next start. Never raises."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        boxes = [box for box in (*self._boxes.values(), *self._leaving) if box.usable]
        for box in boxes:
            self._used(box.spec.name)
            box.end()
        if boxes:
            await asyncio.wait([asyncio.ensure_future(box.over()) for box in boxes], timeout=2 * ENDS_WITHIN)
        self._engine.close()

    # --- small steps ---------------------------------------------------------------------------------------------

    async def _ours(self) -> list[Found]:
        wanted = [f"{profile.SANDBOX}=1", f"{profile.OWNER}={self._owner}"]
        rows = await self._engine.call(lambda client: client.containers(all=True, filters={"label": wanted}))
        return [
            Found(row["Id"], str((row["Names"] or ["/"])[0]).lstrip("/"), row["State"] == "running", row["Labels"])
            for row in rows
        ]

    def _mine(self) -> set[str]:
        return {box.id for box in (*self._boxes.values(), *self._leaving)}

    async def _kill(self, container: str) -> None:
        with contextlib.suppress(Gone):
            try:
                await self._engine.call(lambda client: client.kill(container))
            except EngineError as error:
                if "is not running" not in error.reason:
                    raise
            await self._engine.call(lambda client: client.wait(container, timeout=ENDS_WITHIN), within=2 * ENDS_WITHIN)

    async def _discard(self, container: str) -> None:
        try:
            await self._engine.call(lambda client: client.remove_container(container, force=True, v=True))
        except Gone:
            return
        except EngineError as error:
            if "already in progress" not in error.reason:
                raise

    async def _clear(self, name: str, container: str) -> None:
        with contextlib.suppress(EngineError):
            await self._discard(container)
        self._forget(name)

    def _profile_text(self, spec: ContainerSpec) -> str:
        path = spec.docker.get("seccompProfile")
        if not path:
            return self._seccomp
        try:
            return Path(path).expanduser().read_text()
        except (OSError, UnicodeError) as error:
            raise SpawnError(f"seccomp profile {path} cannot be read: {error}") from None

    def _remember(self, entry: Entry) -> None:
        try:
            self._registry.put(entry)
        except OSError as error:
            self._complain(error)

    def _used(self, name: str) -> None:
        try:
            self._registry.touch(name, now_ms())
        except OSError as error:
            self._complain(error)

    def _forget(self, name: str) -> None:
        try:
            self._registry.forget(name)
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        """The file only helps: Docker's labels are what counts."""
        self._journal.log("warn", "sandbox", f"cannot write the list of containers: {error.strerror}")


def why_not(spec: ContainerSpec, said: str, state: Mapping[str, Any]) -> str:
    """Why a container did not become ready, from its last words."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else str(state.get("Error") or "")
    if state.get("OOMKilled"):
        return f"container {spec.name} had too little memory to start; hint: raise sandbox.docker.memory"
    if program := re.search(r"exec (\S+) failed: No such file", last):
        return f"the image {spec.image} has no {program.group(1)}; hint: {how_to_get(spec.image)}"
    if "No module named" in last:
        return f"the image {spec.image} holds no worker ({last}); hint: {how_to_get(spec.image)}"
    if (runtime := spec.docker.get("runtime")) and "cannot connect to" in last:
        # What gVisor needs: https://gvisor.dev/docs/user_guide/filesystem/
        return (
            f'the runtime "{runtime}" keeps the gateway\'s sockets out of the container ({last});'
            f" hint: runsc install --runtime={runtime} -- --host-uds=open && systemctl restart docker"
        )
    if state.get("Running"):
        return f"container {spec.name} did not report within {READY_WITHIN:g} s: {last or 'it says nothing'}"
    return (
        f"container {spec.name} ended at once with code {state.get('ExitCode')}: {last or 'it says nothing'};"
        f" hint: docker run --rm {spec.image} true"
    )


def now_ms() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)
