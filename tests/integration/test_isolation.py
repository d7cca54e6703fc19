"""`doctor --isolation` and `sandbox explain` against a real gateway with real containers: what is said holds."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from typing import Any

import pytest

from tests.support.docker_engine import DockerEngine
from tests.support.gateway import Gateway

pytestmark = pytest.mark.timeout(240)


def config(engine: DockerEngine, prefix: str) -> dict[str, Any]:
    docker = {"image": engine.image, "containerPrefix": prefix}
    return {
        "agents": {
            "defaults": {"sandbox": {"docker": docker}},
            "list": [
                {"id": "personal"},
                {"id": "family", "sandbox": {"mode": "all"}, "tools": {"deny": ["write"]}},
                {"id": "guest", "sandbox": {"mode": "all", "scope": "session"}},
            ],
        }
    }


async def command(gateway: Gateway, *arguments: str) -> tuple[int, str]:
    """The real command line; its exit code and output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "supervisor.cli.main", *arguments,
        env=gateway.environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


@pytest.mark.skipif(os.geteuid() != 0, reason="a user for each agent needs a gateway that runs as root")
async def test_every_wall_that_is_promised_stands_and_what_runs_is_shown(docker_engine: DockerEngine) -> None:
    """On the host and in containers, of agents and of single sessions; then a container is made anew."""
    prefix = f"oc{uuid.uuid4().hex[:8]}-"
    client = docker_engine.client()
    try:
        async with Gateway(config(docker_engine, prefix), {"DOCKER_HOST": docker_engine.host}) as gateway:
            await gateway.start()
            code, out = await command(gateway, "doctor", "--isolation", "--json")
            report = json.loads(out)
            broken = [one for worker in report["workers"] for one in worker["judged"] if one["verdict"] == "broken"]
            assert broken == []
            assert [one for one in report["workers"] if one["problem"]] == []
            assert {(one["agent"], one["kind"]) for one in report["workers"]} == {
                ("personal", "uid"), ("family", "container"), ("guest", "container"),
            }  # fmt: skip
            assert all(len(one["judged"]) > 60 for one in report["workers"])
            assert (code, report["ok"]) == (0, True), report["machine"]

            seen = json.loads((await command(gateway, "sandbox", "explain", "--agent", "family", "--json"))[1])
            live, name = seen["live"]["seen"], seen["sandbox"]["containerName"]
            assert (seen["live"]["proven"], live["container_status"], live["config_match"]) == (True, "running", True)
            found = client.inspect_container(name)
            assert (live["container"], live["pid"]) == (found["Id"], found["State"]["Pid"])
            host = json.loads((await command(gateway, "sandbox", "explain", "--agent", "personal", "--json"))[1])
            assert host["live"]["seen"]["container"] == "" and host["live"]["seen"]["uid"] > 0

            listed = json.loads((await command(gateway, "sandbox", "list", "--json"))[1])["containers"]
            assert {(one["sessionKey"], one["running"], one["configMatch"]) for one in listed} == {
                ("agent:family", True, True), ("agent:guest:main", True, True),
            }  # fmt: skip
            assert (await command(gateway, "sandbox", "recreate", "--agent", "family", "--force"))[0] == 0
            assert (await command(gateway, "doctor", "--isolation", "--agent", "family"))[0] == 0
            assert client.inspect_container(name)["Id"] != found["Id"]
    finally:
        for one in client.containers(all=True):
            if one["Names"][0].startswith(f"/{prefix}"):
                client.remove_container(one["Id"], force=True)
        client.close()
