"""500 messages over 5 agents while every process is killed at random: all answered, none twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from tests.support.gateway import Gateway
from tests.support.model_api import ModelApi
from tests.support.telegram_api import TelegramApi

AGENTS = [f"agent{number}" for number in range(5)]
MESSAGES = 500
CHATS = 20
#: Seconds between kills: every process has time to come back and do some work, none has peace.
PAUSE = (0.15, 0.45)
VICTIMS = ["router", "cliproxy", "zygote", *(f"worker {agent}" for agent in AGENTS)]


def token(agent: str) -> str:
    return f"{7000 + AGENTS.index(agent)}:{agent}-token-0123456789-0123456789-abc"


async def test_500_messages_survive_random_kills_of_every_process() -> None:
    seed = random.randrange(1 << 30)
    dice = random.Random(seed)
    print(f"seed {seed}")
    async with TelegramApi() as api, ModelApi() as models, Gateway() as gateway:
        for agent in AGENTS:
            api.world.add_bot(token(agent), f"{agent}_bot")
        gateway.write(
            {
                "agents": {
                    "defaults": {"model": "anthropic/claude-sonnet-4-5"},
                    "list": [{"id": agent, "apiKey": "sk-ant-test-key-000000"} for agent in AGENTS],
                },
                "bindings": [
                    {"agentId": agent, "match": {"channel": "telegram", "accountId": agent}} for agent in AGENTS
                ],
                "session": {"dmScope": "per-channel-peer"},
                "channels": {
                    "telegram": {
                        "apiRoot": api.url,
                        "dmPolicy": "open",
                        "allowFrom": ["*"],
                        "accounts": {agent: {"botToken": token(agent)} for agent in AGENTS},
                    }
                },
                "models": {"providers": {"anthropic": {"baseUrl": models.url}}},
            }
        )
        await gateway.start()
        killed: Counter[str] = Counter()
        pushing = asyncio.create_task(push(api, dice))
        killing = asyncio.create_task(kill(gateway, dice, killed))
        await pushing
        await killing
        await gateway.wait_ready()
        try:
            await api.world.wait_sent(MESSAGES, timeout=90)
        except TimeoutError:
            raise AssertionError(f"seed {seed}, killed {killed}: {missing(api)}\n{gateway.output()}") from None
        # Whatever would come twice comes within the time a resent answer needs: one more message per bot goes through.
        for agent in AGENTS:
            last = 99 + AGENTS.index(agent)
            api.world.push_text(token(agent), chat=last, user=last, text=f"last of {agent}")
        await api.world.wait_sent(MESSAGES + len(AGENTS), timeout=60)
        counts = Counter(sent.text for sent in api.world.sent())
        twice = {text: count for text, count in counts.items() if count > 1}
        assert not twice, f"seed {seed}, killed {killed}: answered twice: {twice}"
        assert len(counts) == MESSAGES + len(AGENTS)
        assert all(killed[victim] for victim in ("router", "cliproxy", "supervisor")), killed
        assert sum(count for victim, count in killed.items() if victim.startswith("worker")) >= 3, killed
        print(dict(killed))


async def push(api: TelegramApi, dice: random.Random) -> None:
    """People write at their own pace, spread over chats, while the kills go on."""
    for number in range(MESSAGES):
        agent = AGENTS[number % len(AGENTS)]
        chat = 1000 * (1 + number % len(AGENTS)) + dice.randrange(CHATS)
        api.world.push_text(token(agent), chat=chat, user=chat, text=f"message {number} to {agent}")
        await asyncio.sleep(dice.uniform(0.0, 0.04))


async def kill(gateway: Gateway, dice: random.Random, killed: Counter[str]) -> None:
    """Router, cliproxy and supervisor at least three times each, workers and the zygote in between."""
    plan = ["router", "cliproxy", "supervisor"] * 3 + [dice.choice(VICTIMS) for _ in range(12)]
    dice.shuffle(plan)
    for victim in plan:
        await asyncio.sleep(dice.uniform(*PAUSE))
        if victim == "supervisor":
            assert gateway.process is not None
            gateway.process.kill()
            await gateway.process.wait()
            killed[victim] += 1
            await gateway.start()
        elif gateway.kill(victim):
            killed[victim] += 1


def missing(api: TelegramApi) -> str:
    answered = {sent.text for sent in api.world.sent()}
    wanted = {f"echo: message {n} to {AGENTS[n % len(AGENTS)]}" for n in range(MESSAGES)}
    lost, strange = sorted(wanted - answered), sorted(answered - wanted)
    return f"{len(lost)} unanswered: {lost[:10]}; strange: {strange[:5]}"
