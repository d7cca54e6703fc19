"""The whole gateway against the Bot API server: the founding document's two-bot example, word for word."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.gateway import Gateway
from tests.support.model_api import ModelApi
from tests.support.telegram_api import TelegramApi

MAIN, ALERTS = "123456:ABC-main-bot-token-of-the-example-0", "987654:XYZ-alerts-bot-token-of-the-example"
KEY_MAIN, KEY_ALERTS = "sk-ant-main-0123456789", "sk-ant-alerts-0123456789"


def example(api: TelegramApi, models: ModelApi) -> dict[str, Any]:
    """ "Telegram bots per agent" of the founding document, with the addresses of the test's servers."""
    return {
        "agents": {
            "defaults": {"model": "anthropic/claude-sonnet-4-5"},
            "list": [
                {"id": "main", "workspace": "~/.openclaw/workspace-main", "apiKey": KEY_MAIN},
                {"id": "alerts", "workspace": "~/.openclaw/workspace-alerts", "apiKey": KEY_ALERTS},
            ],
        },
        "bindings": [
            {"agentId": "main", "match": {"channel": "telegram", "accountId": "default"}},
            {"agentId": "alerts", "match": {"channel": "telegram", "accountId": "alerts"}},
        ],
        "channels": {
            "telegram": {
                "apiRoot": api.url,
                "accounts": {
                    "default": {"botToken": MAIN, "dmPolicy": "pairing"},
                    "alerts": {"botToken": ALERTS, "dmPolicy": "allowlist", "allowFrom": ["tg:123456789"]},
                },
            }
        },
        "models": {"providers": {"anthropic": {"baseUrl": models.url}}},
    }


class Stage:
    def __init__(self, api: TelegramApi, models: ModelApi, gateway: Gateway) -> None:
        self.api, self.models, self.gateway = api, models, gateway
        self.world = api.world


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with TelegramApi() as api, ModelApi() as models, Gateway() as gateway:
        api.world.add_bot(MAIN, "main_bot")
        api.world.add_bot(ALERTS, "alerts_bot")
        gateway.write(example(api, models))
        await gateway.start()
        yield Stage(api, models, gateway)


async def test_each_bot_is_answered_by_its_own_agents_process_and_through_itself(stage: Stage) -> None:
    stage.world.push_text(ALERTS, chat=123456789, user=123456789, text="hello alerts")
    [answer] = await stage.world.wait_sent(1, ALERTS)
    assert (answer.chat_id, answer.text) == (123456789, "echo: hello alerts")
    assert stage.world.sent(MAIN) == []
    assert [seen.key for seen in stage.models.seen] == [KEY_ALERTS]

    stage.world.push_text(MAIN, chat=55, user=55, text="hello main")
    [offer] = await stage.world.wait_sent(1, MAIN)
    assert "Pairing code" in offer.text
    code = offer.text.split("Pairing code:")[1].split()[0]
    ran = await stage.gateway.run("pairing", "approve", "telegram", code)
    assert ran.code == 0, ran
    stage.world.push_text(MAIN, chat=55, user=55, text="hello again")
    _, answer = await stage.world.wait_sent(2, MAIN)
    assert answer.text == "echo: hello again"
    assert stage.models.seen[-1].key == KEY_MAIN
    assert len(stage.world.sent(ALERTS)) == 1

    titles = [process.name for process in stage.gateway.processes()]
    assert sorted(titles) == ["cliproxy", "router", "supervisor", "worker alerts", "worker main", "zygote"]


async def test_a_stranger_on_an_allowlisted_bot_gets_silence(stage: Stage) -> None:
    stage.world.push_text(ALERTS, chat=666, user=666, text="let me in")
    stage.world.push_text(ALERTS, chat=123456789, user=123456789, text="after the stranger")
    [answer] = await stage.world.wait_sent(1, ALERTS)
    assert answer.text == "echo: after the stranger"


async def test_a_tool_runs_in_the_agents_own_process_and_its_result_comes_back(stage: Stage) -> None:
    stage.world.push_text(
        ALERTS, chat=123456789, user=123456789, text='use tool exec {"command":"echo $((6*7)) $PPID"}'
    )
    answers = await stage.world.wait_sent(1, ALERTS)
    text = " ".join(answer.text for answer in answers)
    assert "42" in text
    assert str(stage.gateway.pid("worker alerts")) in text


async def test_no_model_key_and_no_bot_token_is_anywhere_in_a_worker(stage: Stage) -> None:
    """Environment, arguments, open files, memory maps' files and every file the worker may read in its folders."""
    stage.world.push_text(ALERTS, chat=123456789, user=123456789, text="hello")
    await stage.world.wait_sent(1, ALERTS)
    secrets = [secret.encode() for secret in (KEY_MAIN, KEY_ALERTS, MAIN, ALERTS, stage.gateway.token)]
    worker = psutil.Process(stage.gateway.pid("worker alerts"))
    proc = Path(f"/proc/{worker.pid}")
    places = {"environ": (proc / "environ").read_bytes(), "cmdline": (proc / "cmdline").read_bytes()}
    for descriptor in (proc / "fd").iterdir():
        target = os.readlink(descriptor)
        places[f"fd {descriptor.name}"] = target.encode()
        if target.startswith("/") and Path(target).is_file():
            places[target] = Path(target).read_bytes()
    for folder in (worker.cwd(), str(stage.gateway.state / "agents" / "alerts" / "sessions")):
        for path in Path(folder).rglob("*"):
            if path.is_file():
                places[str(path)] = path.read_bytes()
    places["memory"] = _memory(worker.pid)
    for place, content in places.items():
        for secret in secrets:
            assert secret not in content, f"{secret[:12]!r}… found in {place}"


async def test_a_wrong_bot_token_stops_that_account_only_and_says_so(stage: Stage) -> None:
    stage.world.revoke(MAIN)
    config = example(stage.api, stage.models)
    stage.gateway.write(config)
    ran = await stage.gateway.run("gateway", "restart")
    assert ran.code == 0, ran
    stage.world.push_text(ALERTS, chat=123456789, user=123456789, text="still there?")
    [answer] = await stage.world.wait_sent(1, ALERTS)
    assert answer.text == "echo: still there?"
    status = await stage.gateway.run("channels", "status", "--probe")
    line = next(line for line in status.out.splitlines() if "default" in line)
    assert "disconnected" in line
    assert MAIN not in status.out + status.err + stage.gateway.output()


async def test_messages_over_the_limit_arrive_whole_in_parts(stage: Stage) -> None:
    long = "\n".join(f"line {n} " + "x" * 60 for n in range(150))
    stage.world.push_text(ALERTS, chat=123456789, user=123456789, text=long[:4000])
    first = await stage.world.wait_sent(1, ALERTS)
    assert all(len(sent.text) <= 4096 for sent in first)


def _memory(pid: int) -> bytes:
    """Every readable private page of a process."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if rights.startswith("rw"):
                start, end = (int(part, 16) for part in span.split("-"))
                try:
                    memory.seek(start)
                    found.append(memory.read(end - start))
                except (OSError, ValueError, OverflowError):
                    continue
    return b"".join(found)
