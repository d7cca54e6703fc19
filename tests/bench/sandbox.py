"""`python -m tests.bench sandbox`: what a sandbox costs, on a real gateway and a real Docker, with fakes at both ends.

From a first message to its answer when there is no container yet, a stopped one, a dead worker; one tool call in a
container and on the host in turn; then twenty agents in containers and twenty on the host: until all are ready, round
trips, memory, what the idle ones use. Memory is proportional set size (PSS): what containers of one image share, such
as the pages of their files, is divided among them. Docker's own two daemons serve the whole machine and are left out;
the shim that Docker keeps for each container is told by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any

import psutil
from aiohttp import web

from protocol import control as c
from protocol.paths import Paths
from supervisor.cli import client
from tests.bench.common import round_trip, stage
from tests.support.docker_daemon import Unable
from tests.support.docker_engine import DockerEngine, up
from tests.support.gateway import Gateway
from tests.support.model_api import ModelApi
from tests.support.sandboxes import Sandboxes, sandboxes_on
from tests.support.telegram_api import TelegramApi

#: Sessions of one agent, each in a container of its own; no more than run at once.
STARTS = 7
#: So many crashes of one worker are forgiven at once; one more and it is left alone for a while.
KILLS = 3
CALLS, EXECS = 40, 15
AGENTS, TURNS = 20, 5
IDLE = 10.0
TOOLS = {"exec": 'use tool exec {"command": "true"}', "read": 'use tool read {"path": "small.txt"}'}


class Clock(ModelApi):
    """Remembers when each question came and when its answer had been given."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[tuple[float, float]] = []

    async def _ask(self, request: web.BaseRequest, vendor: Any) -> web.StreamResponse:
        came = time.perf_counter()
        response = await super()._ask(request, vendor)
        self.moments.append((came, time.perf_counter()))
        return response

    def between(self) -> float:
        """Seconds from the last answer but one, which asked for a tool, to the question that brought its result."""
        return self.moments[-1][0] - self.moments[-2][1]


def spread(values: Iterable[float], scale: float = 1e3) -> dict[str, float]:
    """Median, least, most; in milliseconds where the values are seconds."""
    found = sorted(value * scale for value in values)
    return {"median": statistics.median(found), "min": found[0], "max": found[-1], "n": len(found)}


def workers(gateway: Gateway) -> list[c.ProcessStatus]:
    found = client.status(Paths.from_environ(gateway.environ)).processes
    return [process for process in found if process.kind == "worker"]


async def until(check: Callable[[], bool], within: float = 120.0) -> None:
    async with asyncio.timeout(within):
        while not check():
            await asyncio.sleep(0.01)


def all_ready(gateway: Gateway, count: int) -> Callable[[], bool]:
    return lambda: sum(process.state in ("ready", "stable") for process in workers(gateway)) == count


# --- starts ------------------------------------------------------------------------------------------------------


async def starts(boxes: Sandboxes) -> dict[str, Any]:
    """One agent with a container for each of its people: no container yet, a stopped one, a killed worker."""
    sandbox = {"mode": "all", "scope": "session", "docker": boxes.docker()}
    async with stage(1, [sandbox], boxes.environ) as (api, _, gateway):
        await gateway.start()
        cold = await first_answers(api, gateway, boxes)
        usual = [await round_trip(api, 0, number) for number in range(STARTS)]
        killed = [await killed_worker(gateway, boxes) for _ in range(KILLS)]
        await gateway.stop()
        await gateway.start()
        warm = await first_answers(api, gateway, boxes)
        await gateway.stop()
        return {"cold": cold, "warm": warm, "usual_ms": spread(usual), "killed_ms": spread(killed)}


async def first_answers(api: TelegramApi, gateway: Gateway, boxes: Sandboxes) -> dict[str, Any]:
    """First messages of all people, one after the other."""
    steps: dict[str, list[float]] = {}
    known: set[str] = set()
    for number in range(STARTS):
        began = time.time()
        answered = began + await round_trip(api, 0, number)
        [worker] = [one for one in workers(gateway) if one.name not in known]
        known.add(worker.name)
        box = max(boxes.all().values(), key=lambda one: str(one["State"]["StartedAt"]))
        started = moment(box["State"]["StartedAt"])
        times = {
            "created": max(0.0, moment(box["Created"]) - began),
            "docker start": started - max(began, moment(box["Created"])),
            "launcher": worker.started_at - started,
            "worker": worker.ready_at - worker.started_at,
            "ready": worker.ready_at - began,
            "answer": answered - began,
        }
        for name, seconds in times.items():
            steps.setdefault(name, []).append(seconds)
    return {name: spread(seconds) for name, seconds in steps.items()}


def moment(text: str) -> float:
    """Docker's times have nanoseconds."""
    return datetime.fromisoformat(f"{text[:26].rstrip('Z'):0<26}+00:00").timestamp()


async def killed_worker(gateway: Gateway, boxes: Sandboxes) -> float:
    """Seconds from a worker's SIGKILL until the next one in that container is ready."""
    box = next(iter(boxes.all().values()))
    victim = processes_of(box)[-1]
    place = box["Name"].removeprefix(f"/{boxes.prefix}")
    began = time.time()
    os.kill(victim.pid, signal.SIGKILL)

    def back() -> list[c.ProcessStatus]:
        return [one for one in workers(gateway) if f"[{place}]" in one.name and one.ready_at > began]

    await until(lambda: bool(back()))
    return back()[0].ready_at - began


# --- tool calls --------------------------------------------------------------------------------------------------


async def tool_calls(boxes: Sandboxes) -> dict[str, Any]:
    """One agent in a container and one on the host, in turn."""
    clock = Clock()
    sandbox = {"mode": "all", "scope": "agent", "docker": boxes.docker()}
    async with stage(2, [sandbox, {"mode": "off"}], boxes.environ, clock) as (api, _, gateway):
        await gateway.start()
        await until(all_ready(gateway, 2))
        await asyncio.sleep(1)
        result: dict[str, Any] = {"memory_mb": memory(gateway, boxes)}
        for agent in (0, 1):
            await round_trip(api, agent, text='use tool exec {"command": "echo small > small.txt"}')
        for tool, text in TOOLS.items():
            result[tool] = await compare(api, clock, text)
        container = next(iter(boxes.all().values()))["Id"]
        result["docker_exec_ms"] = spread([await docker_exec(boxes, container) for _ in range(EXECS)])
        await gateway.stop()
        return result


async def compare(api: TelegramApi, clock: Clock, text: str) -> dict[str, Any]:
    """One tool call in each agent, again and again: from the model's wish to the result at the model."""
    times: dict[int, list[float]] = {0: [], 1: []}
    for count in range(CALLS + 5):
        for agent in times:
            await round_trip(api, agent, text=text)
            if count >= 5:
                times[agent].append(clock.between())
    box, host = spread(times[0]), spread(times[1])
    return {"container_ms": box, "host_ms": host, "ratio": box["median"] / host["median"]}


async def docker_exec(boxes: Sandboxes, container: str) -> float:
    """Seconds of `docker exec … true`, which the gateway does not use."""
    began = time.perf_counter()
    environ = {**os.environ, **boxes.environ}
    process = await asyncio.create_subprocess_exec("docker", "exec", container, "true", env=environ)
    if await process.wait():
        raise RuntimeError("docker exec failed")
    return time.perf_counter() - began


# --- twenty agents -----------------------------------------------------------------------------------------------


async def many(boxes: Sandboxes, mode: str) -> dict[str, Any]:
    """All started at once by the gateway itself; `mode` all or off. Twice where containers can be used again."""
    sandbox = {"mode": mode, "scope": "agent", "docker": boxes.docker()}
    async with stage(AGENTS, [sandbox] * AGENTS, boxes.environ) as (api, _, gateway):
        result: dict[str, Any] = {"mode": mode, "ready": await ready(gateway)}
        if mode != "off":
            await gateway.stop()
            result["ready_again"] = await ready(gateway)
        await asyncio.sleep(2)
        result["memory_mb"] = memory(gateway, boxes)
        result["idle_cpu"] = await idle_cpu(gateway, boxes)
        for agent in range(AGENTS):
            await round_trip(api, agent)
        in_turn = [await round_trip(api, number % AGENTS) for number in range(AGENTS * TURNS)]
        result["in_turn"] = tail(in_turn)
        at_once = [await together(api) for _ in range(TURNS)]
        result["at_once"] = tail([took for times in at_once for took in times])
        result["all_answered_ms"] = spread(max(times) for times in at_once)
        result["memory_after_mb"] = memory(gateway, boxes)
        await gateway.stop()
        return result


async def ready(gateway: Gateway) -> dict[str, float]:
    """Seconds from the command until the gateway is ready, and the first and the last worker."""
    began = time.time()
    await gateway.start()
    taken = time.time() - began
    await until(all_ready(gateway, AGENTS))
    times = [worker.ready_at - began for worker in workers(gateway)]
    return {"gateway_s": taken, "first_s": min(times), "all_s": max(times)}


async def together(api: TelegramApi) -> list[float]:
    """One message to each agent at the same moment."""
    return await asyncio.gather(*(round_trip(api, agent) for agent in range(AGENTS)))


def tail(times: list[float]) -> dict[str, float]:
    ordered = sorted(took * 1e3 for took in times)
    return {"median_ms": statistics.median(ordered), "p99_ms": ordered[int(len(ordered) * 0.99) - 1]}


# --- memory and idle load ----------------------------------------------------------------------------------------


def processes_of(box: dict[str, Any]) -> list[psutil.Process]:
    """docker-init, the launcher, the worker."""
    first = psutil.Process(box["State"]["Pid"])
    return [first, *first.children(recursive=True)]


def pss(processes: Iterable[psutil.Process]) -> float:
    """In MB."""
    return sum(process.memory_full_info().pss for process in processes) / 1e6


def memory(gateway: Gateway, boxes: Sandboxes) -> dict[str, float]:
    """MB of one (median) idle container by process, its shim, a worker on the host, and of everything."""
    running = [processes_of(box) for box in boxes.all().values() if box["State"]["Running"]]
    shims = [[shim] for found in running if (shim := found[0].parent())]
    own = [psutil.Process(named.pid) for named in gateway.processes()]
    hosts = [psutil.Process(named.pid) for named in gateway.processes() if named.name.startswith("worker")]
    parts: dict[str, list[float]] = {
        "container": [pss(found) for found in running],
        "init": [pss(found[:1]) for found in running],
        "launcher": [pss(found[1:2]) for found in running],
        "worker": [pss(found[2:]) for found in running],
        "shim": [pss(found) for found in shims],
        "host_worker": [pss([found]) for found in hosts],
    }
    figures = {name: statistics.median(found) for name, found in parts.items() if found}
    gateways = pss(own)
    whole = gateways + sum(parts["container"])
    return figures | {"gateway": gateways, "all": whole, "all_with_shims": whole + sum(parts["shim"])}


async def idle_cpu(gateway: Gateway, boxes: Sandboxes) -> dict[str, float]:
    """Share of one core in percent while nothing happens: the gateway's processes, the containers', their shims."""
    running = [processes_of(box) for box in boxes.all().values() if box["State"]["Running"]]
    groups = {
        "gateway": [psutil.Process(named.pid) for named in gateway.processes()],
        "containers": [process for found in running for process in found],
        "shims": [shim for found in running if (shim := found[0].parent())],
    }
    before = {name: used(found) for name, found in groups.items()}
    await asyncio.sleep(IDLE)
    return {name: (used(found) - before[name]) / IDLE * 100 for name, found in groups.items()}


def used(processes: Iterable[psutil.Process]) -> float:
    """CPU seconds so far."""
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)


# --- all of it ---------------------------------------------------------------------------------------------------


async def measure(engine: DockerEngine) -> dict[str, Any]:
    """Everything, on this engine. Containers and images of the bench are gone afterwards."""
    parts: tuple[tuple[str, Callable[[Sandboxes], Awaitable[dict[str, Any]]]], ...] = (
        ("starts", starts),
        ("tools", tool_calls),
        ("sandboxed", lambda boxes: many(boxes, "all")),
        ("host", lambda boxes: many(boxes, "off")),
    )
    result: dict[str, Any] = {}
    for name, part in parts:
        with sandboxes_on(engine) as boxes:
            result[name] = await part(boxes)
    return result


def show(found: dict[str, Any]) -> None:
    print(f"\nsandboxes: {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}; median (least – most)")
    show_starts(found["starts"])
    show_tools(found["tools"])
    show_many(found["sandboxed"], found["host"])


def show_starts(starts: dict[str, Any]) -> None:
    for kind, words in (("cold", "no container yet"), ("warm", "a stopped container")):
        print(f"\nfirst message of a session, {words} (n = {STARTS}), ms")
        for name, values in starts[kind].items():
            print(f"  {name:13} {span(values)}")
    print(f"\n  answer of a worker that is there    {span(starts['usual_ms'])} ms")
    print(f"  worker killed → next one ready (n = {KILLS}) {span(starts['killed_ms'])} ms")


def show_tools(tools: dict[str, Any]) -> None:
    print(f"\none tool call (n = {CALLS}), ms      container              host                ratio")
    for tool in TOOLS:
        one = tools[tool]
        print(f"  {tool:6} {span(one['container_ms']):>36}  {span(one['host_ms'])}  {one['ratio']:5.2f}×")
    times = tools["docker_exec_ms"]["median"] / tools["exec"]["container_ms"]["median"]
    print(f"  docker exec true (n = {EXECS}, not used): {span(tools['docker_exec_ms'])}, {times:.0f}× the exec above")
    print("\nmemory, one agent in a container, MB PSS: " + listed(tools["memory_mb"]))


def show_many(sandboxed: dict[str, Any], host: dict[str, Any]) -> None:
    for one, words in ((sandboxed, "in containers"), (host, "on the host")):
        print(f"\n{AGENTS} agents {words}")
        print("  ready, s: " + listed(one["ready"], 2))
        if "ready_again" in one:
            print("  ready when the containers are there, s: " + listed(one["ready_again"], 2))
        print(f"  round trip: in turn {listed(one['in_turn'])}; all at once {listed(one['at_once'])}")
        print(f"  all {AGENTS} answered: {span(one['all_answered_ms'])} ms")
        print("  memory, MB PSS: " + listed(one["memory_mb"]))
        print("  memory after all have talked: " + listed(one["memory_after_mb"]))
        print(f"  idle for {IDLE:g} s, % of a core: " + listed(one["idle_cpu"], 2))


def span(values: dict[str, float]) -> str:
    return f"{values['median']:7.1f} ({values['min']:.1f} – {values['max']:.1f})"


def listed(values: dict[str, float], digits: int = 1) -> str:
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in values.items())


def main(*, as_json: bool) -> None:
    """Print the figures, or one line when there can be no engine here."""
    try:
        engine, daemon = up()
    except Unable as error:
        print(f"\nsandboxes: skipped, there is no Docker: {error}")
        return
    try:
        found = asyncio.run(measure(engine))
        print(json.dumps(found, indent=2)) if as_json else show(found)
    finally:
        if daemon:
            with contextlib.suppress(OSError):
                daemon.stop()
