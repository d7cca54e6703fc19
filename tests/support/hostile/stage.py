"""The test's side: a whole gateway with hostile agents, two neighbours who are always asked, and how they fare."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import secrets
import socket
import statistics
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from docker.errors import ImageNotFound

from protocol import control as c
from protocol.paths import Paths
from protocol.pipe import Pipe
from tests.support.docker_engine import DockerEngine
from tests.support.gateway import Gateway
from tests.support.model_api import ModelApi
from tests.support.telegram_api import TelegramApi

Mode = Literal["host", "container"]

NEIGHBOURS = ("ann", "bob")
#: Three, so that none has to die so often that it is quarantined.
MALLORIES = MALLORY, FLOODS, HOGS = ("mallory", "mallory-floods", "mallory-hogs")
KEY = "sk-ant-{}-0123456789"
BOT = "7000:ann-bot-token-0123456789-0123456789"
#: Seconds between an answer and the next question of one neighbour.
PAUSE = 0.02
#: Questions in one session: the model is sent all of it each time.
IN_SESSION = 20
#: Limits under which hostile agents live, small so that they are soon met.
MEMORY, PIDS, CPUS, TMPFS = "256m", 96, 0.5, "16m"

_HERE = Path(__file__).parent
_PACKAGES = "/opt/openclaw/lib/python3.11/site-packages"
_ENTRY = ["/opt/openclaw/bin/python3", "-P", "-m", "tests.support.hostile.container", "worker.container"]


@dataclass
class Sample:
    """One question of a neighbour: when it was asked, how long the answer took, and in which phase that was."""

    at: float
    seconds: float
    phase: str


@dataclass
class Neighbour:
    """An ordinary agent that has a conversation."""

    agent: str
    asked: int = 0
    samples: list[Sample] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Stage:
    """The gateway of one test. `phase` names what is being done to the neighbours now."""

    def __init__(self, mode: Mode, gateway: Gateway, models: ModelApi, api: TelegramApi) -> None:
        self.mode = mode
        self.gateway, self.models, self.api = gateway, models, api
        self.paths = Paths.from_environ(gateway.environ)
        self.neighbours = {agent: Neighbour(agent) for agent in NEIGHBOURS}
        self.phase = ""
        self._streams: list[asyncio.Task[None]] = []

    # --- talking ---

    async def order(self, agent: str, attack: str, *, patience: float = 30.0, **order: Any) -> dict[str, str]:
        """Have a hostile worker do this; what came of each attempt."""
        answer = await ask(self.paths, agent, json.dumps({"attack": attack, **order}), patience)
        lines = (line.partition(": ") for text in answer.texts for line in text.splitlines())
        return {attempt: outcome for attempt, _, outcome in lines}

    async def talk(self) -> None:
        """Neighbours are asked from now on."""
        self._streams = [asyncio.create_task(self._talk(one)) for one in self.neighbours.values()]

    @property
    def mark(self) -> str:
        """What the command lines of all hostile workers hold."""
        return "openclaw: worker mallory"

    async def fall_silent(self) -> None:
        """Every question that was asked is answered, and no other follows."""
        streams, self._streams = self._streams, []
        self.phase = "end"
        await asyncio.gather(*streams)

    async def _talk(self, one: Neighbour) -> None:
        while self.phase != "end":
            await self._ask(one)
            await asyncio.sleep(PAUSE)

    async def _ask(self, one: Neighbour) -> None:
        number, phase, at = one.asked, self.phase, time.monotonic()
        one.asked += 1
        text = f"{one.agent} asks number {number}"
        key = f"agent:{one.agent}:talk-{number // IN_SESSION}"
        answer = await ask(self.paths, one.agent, text, 60, key)
        if answer.texts != (f"echo: {text}",) or answer.outcome != "answered":
            one.wrong.append(f"{text}: {answer}")
        if phase == self.phase:
            one.samples.append(Sample(at, time.monotonic() - at, phase))

    @asynccontextmanager
    async def during(self, phase: str) -> AsyncIterator[None]:
        """Samples taken in this block count for this phase."""
        self.phase = phase
        try:
            yield
        finally:
            self.phase = "between"

    def latencies(self, phase: str) -> list[float]:
        """Milliseconds of all neighbours in the phases that begin so."""
        return [
            sample.seconds * 1000
            for one in self.neighbours.values()
            for sample in one.samples
            if sample.phase.startswith(phase)
        ]

    # --- looking ---

    def log(self) -> list[dict[str, Any]]:
        """The gateway's log."""
        # Its last line may be half written.
        whole, _, _ = self.paths.log_file.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def says_of(self, agent: str) -> list[str]:
        """Messages of the log that name the agent, but for what its own worker wrote."""
        return [
            line["message"]
            for line in self.log()
            if agent in (line["message"] + line["subsystem"]) and line["subsystem"] != f"worker/{agent}"
        ]

    async def logged(self, agent: str, text: str, by: str = "") -> None:
        """Until the gateway has said so of this agent, or its worker itself (`by`)."""
        try:
            async with asyncio.timeout(15):
                while not any(text in line for line in (self.said_by(by) if by else self.says_of(agent))):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"nobody said of {agent}: {text}") from None

    def said_by(self, agent: str) -> list[str]:
        """What a worker wrote into the log."""
        return [line["message"] for line in self.log() if line["subsystem"] == f"worker/{agent}"]

    def pids(self) -> dict[str, int]:
        """Everybody who is not hostile."""
        return {one.name: one.pid for one in self.gateway.processes() if "mallory" not in one.name}

    async def serving(self, *agents: str) -> None:
        """Until the workers of these agents serve."""
        async with asyncio.timeout(60):
            while True:
                status = await request(self.paths, c.GetStatus(), c.from_supervisor)
                states = {one.agent: one.state for one in status.processes if one.kind == "worker"}
                if all(states.get(agent) in {"ready", "stable"} for agent in agents):
                    return
                await asyncio.sleep(0.05)


#: Has an attack done and looks what became of it. Raises AssertionError when anything gave way.
Check = Callable[[Stage], Awaitable[None]]


@dataclass
class Fared:
    """How the neighbours fared: milliseconds of a quiet and of a loud run."""

    quiet: list[float]
    loud: list[float]

    @property
    def medians(self) -> tuple[float, float]:
        return statistics.median(self.quiet), statistics.median(self.loud)

    @property
    def p99s(self) -> tuple[float, float]:
        return _percentile(self.quiet), _percentile(self.loud)

    @property
    def well(self) -> bool:
        """Within the bounds of issue 4: the median within 25 %, the 99th percentile within twice the quiet run's."""
        return self.medians[1] <= 1.25 * self.medians[0] and self.p99s[1] <= 2 * self.p99s[0]

    def __str__(self) -> str:
        medians, p99s = self.medians, self.p99s
        return (
            f"median {medians[0]:.1f} -> {medians[1]:.1f} ms ({medians[1] / medians[0] - 1:+.0%}),"
            f" p99 {p99s[0]:.1f} -> {p99s[1]:.1f} ms ({p99s[1] / p99s[0]:.2f} x),"
            f" {len(self.quiet)} and {len(self.loud)} answers"
        )


def _percentile(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def nothing_succeeded(report: dict[str, str]) -> None:
    """Of all these attempts. Raises AssertionError."""
    succeeded = {key: said for key, said in report.items() if said.startswith("DONE") or key == "broken"}
    assert not succeeded and report


# --- asking ------------------------------------------------------------------------------------------------------


async def ask(paths: Paths, agent: str, text: str, patience: float, session_key: str = "") -> c.Answered:
    """A message of the operator, and its whole answer. Raises AssertionError."""
    sock = await _dial(paths)
    pipe = Pipe(sock, c.from_router)
    try:
        async with asyncio.timeout(patience):
            pipe.send(c.Attach())
            reply, _ = await pipe.receive()
            assert isinstance(reply, c.Attached), reply
            pipe.send(c.Ask(agent=agent, text=text, session_key=session_key, timeout=patience))
            while isinstance(reply, c.Attached | c.Heard):
                reply, _ = await pipe.receive()
    finally:
        pipe.close()
    assert isinstance(reply, c.Answered), reply
    return reply


async def request(paths: Paths, asked: Any, decoder: Any) -> Any:
    """One request to the supervisor, and its answer."""
    pipe = Pipe(await _dial(paths), decoder)
    try:
        pipe.send(asked)
        return (await pipe.receive())[0]
    finally:
        pipe.close()


async def _dial(paths: Paths) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, str(paths.control_socket))
    except OSError:
        sock.close()
        raise
    return sock


# --- making ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def a_stage(mode: Mode, engine: DockerEngine | None = None) -> AsyncIterator[Stage]:
    """A gateway whose mallories are hostile. `engine` is needed for containers; what it made there is removed."""
    prefix = f"oc{secrets.token_hex(4)}-"
    sandbox = _sandbox(engine, prefix) if engine else {}
    async with TelegramApi() as api, ModelApi() as models, Gateway() as gateway:
        api.world.add_bot(BOT, "ann_bot")
        gateway.command = [sys.executable, "-P", "-m", "tests.support.hostile.gateway", "gateway", "run"]
        gateway.write(config(models.url, api.url, sandbox))
        stage = Stage(mode, gateway, models, api)
        try:
            await gateway.start()
            await stage.serving(*NEIGHBOURS, *MALLORIES)
            yield stage
        finally:
            stage.phase = "end"
            for stream in stage._streams:
                stream.cancel()
            gateway.kill_all()
            if engine:
                await asyncio.to_thread(_remove, engine, prefix)


def config(models: str, telegram: str, sandbox: dict[str, Any]) -> dict[str, Any]:
    """Two neighbours, one of them with a bot; the hostile ones may do little, and each in its own place."""
    hostile = {
        "limits": {"memory": MEMORY, "pids": PIDS, "cpus": CPUS},
        "tools": {"deny": ["group:sessions", "cron", "gateway"]},
        "sandbox": sandbox or {"mode": "off"},
    }
    agents = [{"id": agent} for agent in NEIGHBOURS] + [{"id": agent, **hostile} for agent in MALLORIES]
    return {
        "agents": {
            "defaults": {"model": "anthropic/claude-sonnet-4-5"},
            "list": [{**agent, "apiKey": KEY.format(agent["id"])} for agent in agents],
        },
        "bindings": [{"agentId": "ann", "match": {"channel": "telegram", "accountId": "ann"}}],
        "channels": {
            "telegram": {
                "apiRoot": telegram,
                "accounts": {"ann": {"botToken": BOT, "dmPolicy": "open", "allowFrom": ["*"]}},
            }
        },
        "models": {"providers": {"anthropic": {"baseUrl": models}}},
    }


def _sandbox(engine: DockerEngine, prefix: str) -> dict[str, Any]:
    docker = {
        "image": image(engine),
        "containerPrefix": prefix,
        "memory": MEMORY,
        "pidsLimit": PIDS,
        "cpus": CPUS,
        "tmpfs": [f"{folder}:rw,nosuid,nodev,noexec,size={TMPFS}" for folder in ("/tmp", "/var/tmp", "/run")],
    }
    return {"mode": "all", "scope": "agent", "workspaceAccess": "none", "docker": docker}


def image(engine: DockerEngine) -> str:
    """The sandbox image of this checkout with the hostile worker in it."""
    files = {path.name: path.read_bytes() for path in sorted(_HERE.glob("*.py")) if path.name != "stage.py"}
    digest = hashlib.sha256(b"\0".join([engine.image.encode(), *files.values()])).hexdigest()[:12]
    tag = f"openclaw-test-hostile:{digest}"
    with contextlib.closing(engine.client()) as client:
        try:
            client.inspect_image(tag)
        except ImageNotFound:
            for event in client.build(
                fileobj=_context(engine.image, files), custom_context=True, tag=tag, rm=True, decode=True
            ):
                assert "error" not in event, event
    return tag


def _context(base: str, files: dict[str, bytes]) -> io.BytesIO:
    dockerfile = f"FROM {base}\nCOPY tests {_PACKAGES}/tests\nENTRYPOINT {json.dumps(_ENTRY)}\n"
    packages = {"tests/__init__.py": b"", "tests/support/__init__.py": b""}
    hostile = {f"tests/support/hostile/{name}": data for name, data in files.items()}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data in {"Dockerfile": dockerfile.encode(), **packages, **hostile}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    archive.seek(0)
    return archive


def _remove(engine: DockerEngine, prefix: str) -> None:
    with contextlib.closing(engine.client()) as client:
        for one in client.containers(all=True, filters={"name": prefix}):
            client.remove_container(one["Id"], force=True)
