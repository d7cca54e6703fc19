"""The whole gateway: commands that wait for a person, and commands that leave the sandbox because one may."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.support.docker_engine import DockerEngine
from tests.support.gateway import Gateway
from tests.support.model_api import ModelApi
from tests.support.telegram_api import TelegramApi

BOT = "123456:ABC-main-bot-token-of-the-example-0"
KEY = "sk-ant-main-0123456789"
ANN, BOB = 7, 8
#: Wide enough for a container that is made on a busy machine.
LONG = 60.0


def config(api: TelegramApi, models: ModelApi, **sections: Any) -> dict[str, Any]:
    account = {"apiRoot": api.url, "botToken": BOT, "dmPolicy": "allowlist", "allowFrom": [f"tg:{ANN}", f"tg:{BOB}"]}
    agents = sections.pop("agents", {})
    return {
        "agents": {
            "defaults": {"model": "anthropic/claude-sonnet-4-5", **agents},
            "list": [{"id": "main", "apiKey": KEY}],
        },
        "session": {"dmScope": "per-peer"},
        "channels": {"telegram": account},
        "models": {"providers": {"anthropic": {"baseUrl": models.url}}},
        **sections,
    }


class Stage:
    """One bot; Ann and Bob write to it."""

    def __init__(self, api: TelegramApi, models: ModelApi, gateway: Gateway) -> None:
        self.api, self.models, self.gateway = api, models, gateway
        self.heard = 0

    async def start(self, **sections: Any) -> None:
        self.gateway.write(config(self.api, self.models, **sections))
        await self.gateway.start()

    def say(self, text: str, who: int = ANN) -> None:
        self.api.world.push_text(BOT, chat=who, user=who, text=text)

    def exec(self, who: int = ANN, **arguments: Any) -> None:
        self.say(f"use tool exec {json.dumps(arguments)}", who)

    async def hear(self, *, timeout: float = LONG) -> str:
        """The next text of the bot."""
        self.heard += 1
        sent = await self.api.world.wait_sent(self.heard, BOT, timeout)
        return sent[self.heard - 1].text

    async def hear_question(self) -> str:
        """The id of the approval that is asked for."""
        asked = await self.hear()
        found = re.search(r"/approve ([0-9a-f]{8}) ", asked)
        assert asked.startswith("🔒 Approval needed: agent main wants to run") and found, asked
        return found[1]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with TelegramApi() as api, ModelApi() as models, Gateway() as gateway:
        api.world.add_bot(BOT, "main_bot")
        yield Stage(api, models, gateway)


ASK = {"exec": {"security": "allowlist", "ask": "on-miss"}}


async def test_a_command_waits_for_its_approver_and_runs(stage: Stage) -> None:
    await stage.start(tools=ASK)
    stage.exec(command="echo made > made; cat made")
    id = await stage.hear_question()
    listed = json.loads((await stage.gateway.run("approvals", "pending", "--json")).out)["pending"]
    assert [(one["id"], one["agentId"], one["sender"]) for one in listed] == [(id, "main", str(ANN))]
    stage.say(f"/approve {id} allow-once", BOB)
    assert (await stage.hear()).startswith("⚠️ No such approval")
    stage.say(f"/approve {id} allow-once")
    assert sorted([await stage.hear(), await stage.hear()]) == ["tool said: made", "✅ Allowed once."]
    stage.exec(command="echo made > again")
    stage.say(f"/approve {await stage.hear_question()} deny")
    told = sorted([await stage.hear(), await stage.hear()])
    assert "an approver said no" in told[0] and told[1] == "🚫 Denied."
    assert not (stage.gateway.state / "workspace" / "again").exists()


async def test_always_reaches_the_operators_file_and_from_there_the_worker(stage: Stage) -> None:
    await stage.start(tools=ASK)
    stage.exec(command="uname -s")
    ran = await stage.gateway.run("approvals", "resolve", await stage.hear_question(), "allow-always")
    assert (ran.code, ran.out) == (0, "✅ Allowed, and from now on: uname\n")
    assert await stage.hear() == "tool said: Linux"
    async with asyncio.timeout(LONG):
        while "hot reload applied" not in stage.gateway.output():
            await asyncio.sleep(0.05)
    shown = json.loads((await stage.gateway.run("approvals", "get", "--json")).out)
    assert shown["effectivePolicy"][0]["allowlist"] == ["uname"]
    async with asyncio.timeout(LONG):
        while "worker main: generation 2 ready" not in stage.gateway.output() and stage.gateway.pid("worker main") == 0:
            await asyncio.sleep(0.05)
    stage.exec(command="uname -s | wc -l")
    answer = await stage.hear()
    if answer.startswith("🔒"):
        # The earlier generation still had this turn; the next one is the new one's.
        stage.say(f"/approve {re.findall(r'/approve ([0-9a-f]{8})', answer)[0]} allow-once")
        await stage.hear(), await stage.hear()
        stage.exec(command="uname -s | wc -l")
        answer = await stage.hear()
    assert answer == "tool said: 1"


@pytest.fixture
def prefix(docker_engine: DockerEngine) -> Iterator[str]:
    """Names of containers that nobody else gives; what has one at the end is removed."""
    name = f"oc{secrets.token_hex(4)}-"
    yield name
    client = docker_engine.client()
    for one in client.containers(all=True, filters={"name": name}):
        client.remove_container(one["Id"], force=True)
    client.close()


@pytest.mark.timeout(300)
async def test_out_of_the_sandbox_for_the_sender_who_may_and_nobody_else(
    stage: Stage, default_image: str, prefix: str
) -> None:
    await stage.start(
        agents={"sandbox": {"mode": "all", "docker": {"containerPrefix": prefix}}, "elevatedDefault": "full"},
        tools={"elevated": {"allowFrom": {"telegram": [str(ANN)]}}},
    )
    stage.exec(command="cat /proc/1/comm; pwd")
    inside = await stage.hear(timeout=120)
    stage.exec(command=f"echo $PPID; pwd; touch {stage.gateway.home}/outside", elevated=True)
    outside = await stage.hear()
    assert str(stage.gateway.state) not in inside
    assert outside.endswith(f"{stage.gateway.state}/workspace"), outside
    assert (stage.gateway.home / "outside").exists()
    stage.exec(BOB, command=f"touch {stage.gateway.home}/bob", elevated=True)
    assert "tools.elevated.allowFrom" in await stage.hear()
    stage.say("/elevated full", BOB)
    assert "allowFrom (tools.elevated.allowFrom.telegram)" in await stage.hear()
    stage.say("/elevated ask")
    assert "set to ask" in await stage.hear()
    stage.exec(command=f"touch {stage.gateway.home}/later", elevated=True)
    stage.say(f"/approve {await stage.hear_question()} deny")
    await stage.hear(), await stage.hear()
    assert sorted(one.name for one in stage.gateway.home.iterdir() if one.is_file()) == ["out.log", "outside"]
    lines = [json.loads(line) for line in (stage.gateway.state / "logs" / "audit.jsonl").read_text().splitlines()]
    assert [(line["event"], line["sender"]) for line in lines] == [
        ("elevated.run", str(ANN)),
        ("elevated.ended", str(ANN)),
    ]
