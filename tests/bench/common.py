"""What the benches share: a gateway with fakes of Telegram and of a model vendor, a round trip, memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from tests.support.gateway import Gateway
from tests.support.model_api import ModelApi
from tests.support.telegram_api import TelegramApi

KEY = "sk-ant-bench-0123456789"


def token(agent: int) -> str:
    return f"{7_100_000 + agent}:bench-token-of-agent-{agent:05d}-0123456789"


def config(api: TelegramApi, models: ModelApi, agents: int) -> dict[str, Any]:
    names = [f"a{number}" for number in range(agents)]
    return {
        "agents": {
            "defaults": {"model": "anthropic/claude-sonnet-4-5"},
            "list": [{"id": name, "apiKey": KEY} for name in names],
        },
        "bindings": [{"agentId": name, "match": {"channel": "telegram", "accountId": name}} for name in names],
        "session": {"dmScope": "per-channel-peer"},
        "channels": {
            "telegram": {
                "apiRoot": api.url,
                "dmPolicy": "open",
                "allowFrom": ["*"],
                "accounts": {name: {"botToken": token(number)} for number, name in enumerate(names)},
            }
        },
        "models": {"providers": {"anthropic": {"baseUrl": models.url}}},
    }


@contextlib.asynccontextmanager
async def stage(
    agents: int,
    sandboxes: Sequence[dict[str, Any]] = (),
    environ: dict[str, str] | None = None,
    models: ModelApi | None = None,
) -> AsyncIterator[tuple[TelegramApi, ModelApi, Gateway]]:
    """A gateway that is not started. `sandboxes`: `sandbox` of the first agents."""
    async with TelegramApi() as api, models or ModelApi() as vendor, Gateway(environ=environ) as gateway:
        for number in range(agents):
            api.world.add_bot(token(number), f"bench{number}_bot")
        whole = config(api, vendor, agents)
        for agent, sandbox in zip(whole["agents"]["list"], sandboxes, strict=False):
            agent["sandbox"] = sandbox
        gateway.write(whole)
        yield api, vendor, gateway


def person(agent: int, number: int = 0) -> int:
    """A chat of this bot alone."""
    return 1000 + agent * 100 + number


async def round_trip(api: TelegramApi, agent: int, number: int = 0, text: str = "hello") -> float:
    """Seconds from the person's message to the bot's answer, both seen by the platform."""
    world = api.world
    count = len(world.sent(token(agent)))
    started = time.perf_counter()
    world.push_text(token(agent), chat=person(agent, number), user=person(agent, number), text=text)
    await world.wait_sent(count + 1, token(agent), timeout=60)
    return time.perf_counter() - started
