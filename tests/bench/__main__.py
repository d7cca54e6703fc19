"""`make bench`: what the gateway costs, on this machine, with fakes that answer at once on the same cores.

Every figure is a median of several; ratios are of one run. Caveats: the Telegram and model fakes run inside the
measuring process and take their share of the same cores, so throughput is that of gateway and fakes together; the disk
decides part of the latency (three durable commits and two transcript lines a message); loopback has no network in it.
Compare ratios between runs, not single numbers, and look at the load of the machine first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import psutil

from protocol.config import Binding, Match, PeerMatch
from tests.bench import hostile, sandbox
from tests.bench.common import person, round_trip, stage, token
from tests.bench.resolve import measure_routing
from tests.support.gateway import Gateway
from tests.support.model_api import ModelApi
from tests.support.telegram_api import TelegramApi

WARM_UP, ROUNDS = 30, 200
BURST = 600


async def latency(api: TelegramApi, agents: int) -> dict[str, float]:
    for number in range(max(WARM_UP, agents)):
        await round_trip(api, number % agents)
    times = sorted([await round_trip(api, number % agents) for number in range(ROUNDS)])
    return {"median_ms": statistics.median(times) * 1e3, "p99_ms": times[int(len(times) * 0.99) - 1] * 1e3}


async def throughput(api: TelegramApi, agents: int) -> float:
    """Messages a second when all come at once, spread over agents and ten people each."""
    world = api.world
    before = len(world.sent())
    started = time.perf_counter()
    for number in range(BURST):
        chat = person(number % agents, number // agents % 10)
        world.push_text(token(number % agents), chat=chat, user=chat, text=f"burst {number}")
    await world.wait_sent(before + BURST, timeout=120)
    return BURST / (time.perf_counter() - started)


def memory(gateway: Gateway) -> dict[str, float]:
    """Proportional set size in MB: by kind of process, and of the whole tree."""
    pss: dict[str, list[float]] = {}
    for named in gateway.processes():
        size = psutil.Process(named.pid).memory_full_info().pss / 1e6
        pss.setdefault(named.name.split()[0], []).append(size)
    figures = {kind: statistics.median(sizes) for kind, sizes in pss.items()}
    return figures | {"tree": sum(sum(sizes) for sizes in pss.values())}


async def measure(agents: int) -> dict[str, Any]:
    async with stage(agents) as (api, _, gateway):
        last = agents - 1
        api.world.push_text(token(last), chat=person(last), user=person(last), text="first")
        started = time.perf_counter()
        await gateway.start()
        ready = time.perf_counter() - started
        await api.world.wait_sent(1, timeout=30)
        first = time.perf_counter() - started
        async with asyncio.timeout(30):
            while sum(named.name.startswith("worker") for named in gateway.processes()) < agents:
                await asyncio.sleep(0.05)
        await asyncio.sleep(2)
        idle = memory(gateway)
        result: dict[str, Any] = {"agents": agents, "ready_s": ready, "first_answer_s": first, "pss_mb": idle}
        result["latency"] = await latency(api, agents)
        result["messages_per_second"] = statistics.median([await throughput(api, agents) for _ in range(3)])
        result["pss_after_mb"] = memory(gateway)
        return result


async def yardstick() -> dict[str, float]:
    """The same round trip through a gateway that does nothing else."""
    async with TelegramApi() as api, ModelApi() as models:
        api.world.add_bot(token(0), "bench_bot")
        process = subprocess.Popen([sys.executable, "-m", "tests.bench.minimal", api.url, token(0), models.url])
        try:
            return await latency(api, 1)
        finally:
            process.kill()
            process.wait()


def bindings(count: int) -> list[Binding]:
    """A table as hosters have it: accounts, groups and people, one default at the end."""
    made = []
    for number in range(count):
        peer = PeerMatch(kind="group" if number % 2 else "direct", id=str(number)) if number % 3 else None
        match = Match(channel="telegram", account_id=f"acc{number}", peer=peer)
        made.append(Binding(agent_id=f"a{number % 50}", match=match))
    return made


def show(results: dict[str, Any]) -> None:
    print(f"\nmachine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, Python {sys.version.split()[0]}")
    base = results["yardstick"]["median_ms"]
    print(f"a gateway without features: {base:.2f} ms round trip (median)\n")
    print("agents  ready   first  median    p99     ×bare   msg/s   worker   router   tree (MB PSS)")
    for one in results["gateway"]:
        pss, lag = one["pss_mb"], one["latency"]
        print(
            f"{one['agents']:6d}  {one['ready_s']:.2f} s  {one['first_answer_s']:.2f} s  {lag['median_ms']:5.1f} ms"
            f"  {lag['p99_ms']:5.1f} ms  {lag['median_ms'] / base:4.1f}×  {one['messages_per_second']:6.0f}"
            f"  {pss['worker']:7.1f}  {pss['router']:7.1f}  {pss['tree']:7.1f}"
        )
    print("\nbindings  resolve (median)  build")
    for one in results["routing"]:
        print(f"{one['bindings']:8d}  {one['resolve_us']:10.2f} µs    {one['build_ms']:8.1f} ms")


async def run(sizes: list[int]) -> dict[str, Any]:
    """The gateway without sandboxes."""
    results: dict[str, Any] = {"yardstick": await yardstick(), "gateway": []}
    for size in sizes:
        results["gateway"].append(await measure(size))
    results["routing"] = [measure_routing(bindings(count), count) for count in (10, 1000, 10_000, 100_000)]
    return results


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    arguments.add_argument(
        "part", nargs="?", choices=["gateway", "sandbox", "hostile"], help="only this; all when left out"
    )
    arguments.add_argument("--agents", type=int, nargs="+", default=[1, 10, 50], help="sizes of the gateway's part")
    arguments.add_argument("--json", action="store_true", help="print the raw figures instead of the table")
    options = arguments.parse_args()
    if options.part in (None, "gateway"):
        results = asyncio.run(run(options.agents))
        print(json.dumps(results, indent=2)) if options.json else show(results)
    if options.part in (None, "sandbox"):
        sandbox.main(as_json=options.json)
    if options.part in (None, "hostile"):
        hostile.main(as_json=options.json)


if __name__ == "__main__":
    main()
