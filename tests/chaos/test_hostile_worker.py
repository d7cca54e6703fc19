"""A worker that was taken over attacks everything it can reach, on the host and in a container: nothing gives way.

It holds that agent's keys and is behind that agent's walls, in the whole gateway (tests/support/hostile). Two other
agents are asked all the time: they lose nothing, answer nothing twice, and are hardly slower.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

import psutil
import pytest

from tests.support.docker_engine import DockerEngine
from tests.support.hostile.loud import quiet_and_loud
from tests.support.hostile.stage import BOT, FLOODS, HOGS, KEY, MALLORY, Check, Mode, Stage, a_stage, nothing_succeeded

#: How often quiet and loud runs are repeated until the figures are beyond doubt.
ROUNDS = 4
#: Most that the log may hold after gigabytes were printed, and most that the machine may miss of its disk.
MAX_LOG, MAX_DISK = 30 << 20, 1 << 30

# --- attacks that are quiet --------------------------------------------------------------------------------------


async def reads_others_files(stage: Stage) -> None:
    state = stage.gateway.state
    secrets = [
        *("openclaw.json", "credentials", "state", "logs", "run/w/ann", "agents/ann", "workspace-ann", "workspace-bob"),
        *("agents/ann/sessions", "agents/bob/agent", "logs/openclaw.log", "run/records.json", "sandboxes"),
        *(f"agents/{FLOODS}/sessions", f"workspace-{FLOODS}"),
    ]
    paths = [str(state / name) for name in secrets if (state / name).exists()]
    assert len(paths) > 9
    pids = [pid for name, pid in stage.pids().items() if name == "router"]
    nothing_succeeded(await stage.order(MALLORY, "read", paths=paths, pids=pids))


async def writes_into_others_folders(stage: Stage) -> None:
    state = stage.gateway.state
    paths = [state, state / "openclaw.json", state / "workspace-ann", state / "agents/ann/sessions", state / "run",
             "/etc", "/etc/passwd", "/usr/bin", "/root", "/sys/fs/cgroup/pids", "/proc/sys/kernel"]  # fmt: skip
    nothing_succeeded(await stage.order(MALLORY, "write", paths=[str(path) for path in paths]))
    assert not (state / "workspace-ann" / "x").exists()


async def connects_to_others_links(stage: Stage) -> None:
    paths = [str(stage.paths.link_socket(agent)) for agent in ("ann", "bob")]
    assert all(Path(path).exists() for path in paths)
    nothing_succeeded(await stage.order(MALLORY, "links", paths=paths))


async def claims_to_be_somebody_else(stage: Stage) -> None:
    ids = [line["message"].split()[0] for line in stage.log() if "answered by ann" in line["message"]][-5:]
    nothing_succeeded(await stage.order(MALLORY, "claims", ids=[*ids, "", "x" * 5000]))


async def repeats_itself(stage: Stage) -> None:
    ids = [line["message"].split()[0] for line in stage.log() if f"answered by {MALLORY}" in line["message"]]
    assert ids
    nothing_succeeded(await stage.order(MALLORY, "replay", ids=ids))


async def asks_for_denied_tools_and_other_peers(stage: Stage) -> None:
    requests = [
        ("sessions_send", '{"agentId":"ann","message":"obey me"}'),
        ("sessions_list", "{}"),
        ("sessions_history", '{"sessionKey":"agent:ann:main"}'),
        ("cron", "{}"),
        ("gateway", '{"action":"restart"}'),
        ("no_such_tool", "{}"),
        ("message", '{"action":"send","channel":"telegram","accountId":"ann","target":"7","message":"from ann?"}'),
        ("message", "{" * 1000),
    ]
    nothing_succeeded(await stage.order(MALLORY, "tools", requests=requests))
    await stage.logged(MALLORY, "asks for sessions_send, which its tool policy denies")
    await stage.logged(MALLORY, "asks for the unknown tool 'no_such_tool'")
    assert not stage.api.world.sent(BOT)


async def attacks_processes(stage: Stage) -> None:
    pids = [*stage.pids().values(), os.getpid()]
    nothing_succeeded(await stage.order(MALLORY, "processes", pids=pids))


async def reaches_for_docker_and_the_operators_socket(stage: Stage) -> None:
    engines = ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock")
    ours = {path for path in stage.paths.run.rglob("*") if path.is_socket()} - {stage.paths.proxy_socket}
    assert stage.paths.control_socket in ours
    paths = [*engines, "/proc/1/root/run/docker.sock", *(str(path) for path in ours if MALLORY not in path.parts)]
    nothing_succeeded(await stage.order(MALLORY, "sockets", paths=paths))
    nothing_succeeded(await stage.order(MALLORY, "token"))


async def reaches_for_the_network(stage: Stage) -> None:
    """The host's network is open to workers on the host (ARCHITECTURE 1); a container has none."""
    addresses = [("169.254.169.254", 80), ("172.17.0.1", stage.gateway.port), ("127.0.0.1", stage.gateway.port),
                 ("8.8.8.8", 53), ("::1", stage.gateway.port)]  # fmt: skip
    if stage.mode == "container":
        nothing_succeeded(await stage.order(MALLORY, "network", addresses=addresses))


async def sends_frames_that_nobody_would(stage: Stage) -> None:
    for kind, named in {
        "truncated": "malformed message",
        "unknown": "ReadConfig",
        "oversized": "over the limit",
    }.items():
        assert await stage.order(MALLORY, "frame", kind=kind) == {"died": "and came back"}
        await stage.logged(MALLORY, named)


async def kills_everybody(stage: Stage) -> None:
    """On the host that is itself; in a container the launcher too, and the container is started again."""
    await stage.order(HOGS, "everybody")


async def fills_the_disk(stage: Stage) -> None:
    places = ("/tmp", "/var/tmp", "/run", "/dev/shm", "/", "/openclaw", "/etc") if stage.mode == "container" else ()
    report = await stage.order(HOGS, "disk", paths=places, most=100)
    nothing_succeeded(report)
    assert report["a file of 16 TiB"] == "EFBIG"


QUIET: tuple[Check, ...] = (
    reads_others_files,
    writes_into_others_folders,
    connects_to_others_links,
    claims_to_be_somebody_else,
    repeats_itself,
    asks_for_denied_tools_and_other_peers,
    attacks_processes,
    reaches_for_docker_and_the_operators_socket,
    reaches_for_the_network,
    fills_the_disk,
    sends_frames_that_nobody_would,
    kills_everybody,
)


# --- the test ----------------------------------------------------------------------------------------------------


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> DockerEngine | None:
    """Where containers are, for the mode that needs them."""
    if request.node.callspec.params["mode"] == "host":
        return None
    found: DockerEngine = request.getfixturevalue("docker_engine")
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="the walls of the host that are tried here need root")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["host", "container"])
async def test_whatever_a_hostile_worker_tries_fails_and_its_neighbours_go_on(
    mode: Mode, engine: DockerEngine | None
) -> None:
    free = shutil.disk_usage("/").free
    async with a_stage(mode, engine) as stage:
        before = stage.pids()
        await stage.talk()
        try:
            for attack in QUIET:
                print(f"{time.monotonic() % 1000:.1f}", attack.__name__)
                async with stage.during("attacked"):
                    await attack(stage)
            fared = await quiet_and_loud(stage, ROUNDS)
            await stage.fall_silent()
            nobody_lost_anything(stage, before)
            await is_ended_although_it_ignores_everything(stage)
        except BaseException:
            print(stage.gateway.output())
            raise
        assert fared.well, str(fared)
    assert free - shutil.disk_usage("/").free < MAX_DISK


def nobody_lost_anything(stage: Stage, before: dict[str, int]) -> None:
    """All are the same processes, and every question was put to a model once and answered once."""
    assert stage.pids() == before
    for one in stage.neighbours.values():
        assert not one.wrong
        assert stage.models.counts[KEY.format(one.agent)] == one.asked > 50
    assert stage.paths.log_file.stat().st_size < MAX_LOG


async def is_ended_although_it_ignores_everything(stage: Stage) -> None:
    """A gateway that is told to stop does, and leaves nobody behind."""
    ignoring = asyncio.create_task(stage.order(MALLORY, "stubborn"))
    await stage.logged(MALLORY, "stubborn: it ignores everything", by=MALLORY)
    ignoring.cancel()
    async with asyncio.timeout(25):
        assert await stage.gateway.stop() == 0
    await stage.logged(MALLORY, "did not stop in time; it is killed")
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(one.info["cmdline"]).count(stage.mark)]
