"""`docker.runtime: runsc`: workers in a container whose kernel is gVisor's, on a real one.

gVisor passes descriptors that come over a host's unix socket into the container, which is what the boot socket needs,
but only where its runtime was told `--host-uds=open`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from supervisor.spawners.base import SpawnError
from tests.support.containers import UID, Yard, a_daemon, a_yard, build, decode_facts, peer_image
from tests.support.docker_daemon import Daemon
from tests.support.docker_engine import DockerEngine
from tests.support.founding import stage
from tests.support.sandboxes import sandboxes_on

pytestmark = pytest.mark.timeout(180)

#: What a machine needs that may be a container itself: no KVM, no bridge, control groups that are not ours to divide.
FLAGS = "--platform=ptrace --network=none --ignore-cgroups"
IMAGE = "openclaw-test-bare:1"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """With gVisor as `runsc`, and as `closed` without the sockets of the host."""
    runsc = shutil.which("runsc")
    if runsc is None:
        pytest.skip("runsc is not installed; hint: apt-get install runsc")
    options = []
    for name, flags in {"runsc": f"{FLAGS} --host-uds=open", "closed": FLAGS}.items():
        script = tmp_path_factory.getbasetemp() / name
        script.write_text(f'#!/bin/sh\nexec {runsc} {flags} "$@"\n')
        script.chmod(0o755)
        options.append(f"--add-runtime={name}={script}")
    with a_daemon(*options) as daemon:
        yield daemon


@pytest.fixture
async def yard(daemon: Daemon) -> AsyncIterator[Yard]:
    async with a_yard(daemon.host) as yard:
        yield yard


async def test_a_worker_boots_is_walled_in_and_ends_and_the_next_one_is_forked_in_the_same_container(
    yard: Yard,
) -> None:
    spec = yard.spec("tells", runtime="runsc")
    worker = await yard.spawn(spec, until="")
    facts = decode_facts(await yard.read_log("}}\n"))
    assert (facts["uids"], facts["caps"], facts["interfaces"]) == ([str(UID)] * 4, ["0" * 16], ["lo"])
    # gVisor of 2022 lists the numbers of another process's descriptors; none of the sockets behind them can be had.
    assert {name for name, outcome in facts["launcher"].items() if outcome == "done"} <= {"descriptors"}
    worker.signal(signal.SIGTERM)
    assert (await asyncio.wait_for(worker.wait(), 15)).code == 0
    killed = await yard.spawn(spec)
    assert killed.pid_text == worker.pid_text
    killed.kill()
    assert (await asyncio.wait_for(killed.wait(), 15)).signal == signal.SIGKILL


async def test_an_agent_answers_from_a_kernel_that_is_not_the_host_s(daemon: Daemon) -> None:
    build(f"FROM {peer_image()}\nENTRYPOINT []\n", IMAGE, host=daemon.host)
    with sandboxes_on(DockerEngine(host=daemon.host, base="", image=IMAGE)) as boxes:
        lab = boxes.lab(runtime="runsc")
        lab["agents"]["defaults"]["sandbox"] |= {"mode": "all", "scope": "agent", "workspaceAccess": "rw"}
        async with stage("{}", lab, environ=boxes.environ) as it:
            command = json.dumps({"command": "dmesg | head -n 1; pwd; echo made here > made"})
            ran = await it.ask("agent", "--agent", "main", "--timeout", "60", "-m", f"use tool exec {command}")
            assert ran.code == 0, (ran, it.gateway.output())
            assert "Starting gVisor" in ran.out and "/workspace" in ran.out
            assert (Path(it.gateway.state) / "workspace" / "made").read_text() == "made here\n"
            # In the same container: the new worker is forked there.
            ran = await it.ask("gateway", "restart")
            assert ran.code == 0, (ran, it.gateway.output())
            ran = await it.ask("agent", "--agent", "main", "--timeout", "60", "-m", "again")
            assert ran.out.strip() == "echo: again"
            assert boxes.only()["HostConfig"]["Runtime"] == "runsc"


async def test_a_runtime_that_keeps_our_sockets_out_is_named_with_what_it_lacks(yard: Yard) -> None:
    words = r'the runtime "closed" keeps the gateway\'s sockets out .*; hint: runsc install .* --host-uds=open'
    with pytest.raises(SpawnError, match=words):
        await yard.spawn(yard.spec("obeys", runtime="closed"))
    assert yard.all() == []
