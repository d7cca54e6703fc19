"""5,000 messages while the config file is rewritten 100 times, half of them wrong: none lost, doubled, misrouted."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter
from typing import Any

from tests.support.gateway import Gateway
from tests.support.model_api import ModelApi, Reply
from tests.support.telegram_api import TelegramApi

MESSAGES = 5000
REWRITES = 100
#: Conversations per bot: enough that many turns run side by side.
CHATS = 150
#: Who may own which account, in one valid configuration or another. `late` and `dan` come and go.
OWNERS = {"one": ("ann", "bob"), "two": ("bob", "cid"), "late": ("dan", "ann")}
TOKENS = {name: f"{7000 + n}:{name}-token-0123456789-0123456789-abcd" for n, name in enumerate(OWNERS)}
#: Seconds between two rewrites: some come while the one before is still being applied, most do not.
PAUSE = (0.05, 0.6)
_SAID = re.compile(r"(\w+) heard: message (\d+) to (\w+)")


class Echo(ModelApi):
    """Answers with the agent whose key was used, so that an answer tells whose it is."""

    def _reply(self, key: str, body: Any, vendor: Any) -> Reply:
        text, _ = vendor.last(body)
        return Reply(f"{key.rpartition('-')[2]} heard: {text}")


class Writer:
    """Makes one configuration after another and writes it over the last one."""

    def __init__(self, gateway: Gateway, api: TelegramApi, models: ModelApi, dice: random.Random) -> None:
        self._gateway = gateway
        self._urls = (api.url, models.url)
        self._dice = dice
        self._round = 0
        self.owners = {name: owners[0] for name, owners in OWNERS.items()}
        self.with_dan = self.with_late = True
        self.context = 100_000

    def change(self) -> None:
        """Something else than before, as an operator does it."""
        what = self._dice.choice(("owner", "owner", "dan", "late", "worker"))
        if what == "owner":
            name = self._dice.choice(list(OWNERS))
            first, second = OWNERS[name]
            self.owners[name] = second if self.owners[name] == first else first
        elif what == "dan":
            self.with_dan = not self.with_dan
        elif what == "late":
            self.with_late = not self.with_late
        else:
            self.context += 1000

    def config(self) -> dict[str, Any]:
        telegram, models = self._urls
        agents = ["ann", "bob", "cid", *(["dan"] if self.with_dan else [])]
        accounts = ["one", "two", *(["late"] if self.with_late else [])]
        owners = {name: owner if owner in agents else OWNERS[name][1] for name, owner in self.owners.items()}
        return {
            "agents": {
                "defaults": {"model": "anthropic/claude-sonnet-4-5"},
                "list": [
                    {"id": agent, "apiKey": f"sk-ant-test-key-000000-{agent}"}
                    | ({"contextTokens": self.context} if agent == "bob" else {})
                    for agent in agents
                ],
            },
            "bindings": [
                {"agentId": owners[name], "match": {"channel": "telegram", "accountId": name}} for name in accounts
            ],
            "session": {"dmScope": "per-channel-peer"},
            "channels": {
                "telegram": {
                    "apiRoot": telegram,
                    "dmPolicy": "open",
                    "allowFrom": ["*"],
                    "accounts": {name: {"botToken": TOKENS[name]} for name in accounts},
                }
            },
            "gateway": {"reload": {"debounceMs": 50}},
            "models": {"providers": {"anthropic": {"baseUrl": models}}},
        }

    def write(self) -> None:
        self._gateway.write(self.config())

    def spoil(self) -> None:
        """The file as it is, wrong in one way or another; each time in other words."""
        self._round += 1
        path, good = self._gateway.state / "openclaw.json", json.dumps(self.config())
        wrong = self._dice.choice(
            (
                good[: len(good) * self._round // (self._round + 3)],
                good.replace('"bindings"', f'"bindngs{self._round}"'),
                good.replace('"dmScope": "per-channel-peer"', f'"dmScope": {self._round}'),
                good.replace('"agentId": "', f'"agentId": "nobody{self._round}-', 1)[:-1] + ', "agents": []}',
                f"// {self._round}\n" + good.replace('"id": "ann"', f'"id": {{"not": {self._round}}}'),
            )
        )
        path.write_text(wrong)


async def test_5000_messages_survive_100_rewrites_of_the_configuration() -> None:
    seed = random.randrange(1 << 30)
    dice = random.Random(seed)
    print(f"seed {seed}")
    async with TelegramApi() as api, Echo() as models, Gateway() as gateway:
        for token in TOKENS.values():
            api.world.add_bot(token)
        writer = Writer(gateway, api, models, dice)
        writer.write()
        await gateway.start()
        names = ("router", "cliproxy", "zygote", "worker ann", "worker cid")
        while not all((kept := {name: gateway.pid(name) for name in names}).values()):
            await asyncio.sleep(0.02)
        rewriting = asyncio.create_task(rewrite(writer, dice))
        began = time.monotonic()
        await push(api, dice, rewriting)
        pushed = time.monotonic()
        writer.with_dan = writer.with_late = True
        writer.context += 1
        writer.write()
        await answered(MESSAGES, api, gateway, seed)
        finished = time.monotonic()
        # Whatever would come twice comes within the time one more message per bot needs.
        for chat, (name, token) in enumerate(TOKENS.items(), 1):
            api.world.push_text(token, chat=chat, user=chat, text=f"message {MESSAGES} to {name}")
        await answered(MESSAGES + len(TOKENS), api, gateway, seed)
        judge(api, seed)
        log = (gateway.state / "logs" / "openclaw.log").read_text()
        applied, refused = log.count("config hot reload applied"), log.count("config reload skipped")
        print(f"{pushed - began:.1f} s of writing, {finished - pushed:.1f} s until all was answered")
        print(f"applied {applied}, refused {refused}, workers replaced {log.count('the new one is ready')}")
        assert applied > 20 and refused > 20
        assert {name: gateway.pid(name) for name in kept} == kept, f"seed {seed}: a process that nothing touched"


async def answered(wanted: int, api: TelegramApi, gateway: Gateway, seed: int) -> None:
    try:
        async with asyncio.timeout(30):
            while count(api) < wanted:
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"seed {seed}: {missing(api)}\n{gateway.output()}") from None


async def push(api: TelegramApi, dice: random.Random, rewriting: asyncio.Task[None]) -> None:
    """People write as long as the configuration changes, and a little longer."""
    names = list(TOKENS)
    for number in range(MESSAGES):
        name = names[number % len(names)]
        chat = 10_000 * (1 + number % len(names)) + dice.randrange(CHATS)
        api.world.push_text(TOKENS[name], chat=chat, user=chat, text=f"message {number} to {name}")
        if number % 10 == 0:
            # Not faster than it is answered: what matters is what is on its way when the configuration changes.
            while number - count(api) > 400 and not rewriting.done():
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.05)
    await rewriting


async def rewrite(writer: Writer, dice: random.Random) -> None:
    for number in range(REWRITES):
        await asyncio.sleep(dice.uniform(*PAUSE))
        if number % 2:
            writer.spoil()
        else:
            writer.change()
            writer.write()


def count(api: TelegramApi) -> int:
    return sum(len(api.world.bots[token].sent) for token in TOKENS.values())


def judge(api: TelegramApi, seed: int) -> None:
    heard: Counter[tuple[int, str]] = Counter()
    for name, token in TOKENS.items():
        for sent in api.world.sent(token):
            found = _SAID.fullmatch(sent.text)
            assert found is not None and found[3] == name, f"seed {seed}: bot {name} said {sent.text!r}"
            assert found[1] in OWNERS[name], f"seed {seed}: {found[1]} answered for {name}: {sent.text!r}"
            heard[int(found[2]), name] += 1
    assert not (twice := {key: times for key, times in heard.items() if times > 1}), f"seed {seed}: twice: {twice}"
    assert len(heard) == MESSAGES + len(TOKENS), f"seed {seed}: {missing(api)}"


def missing(api: TelegramApi) -> str:
    names = list(TOKENS)
    wanted = {(number, names[number % len(names)]) for number in range(MESSAGES)}
    texts = [sent.text for token in TOKENS.values() for sent in api.world.sent(token)]
    answered = {(int(found[2]), found[3]) for text in texts if (found := _SAID.fullmatch(text))}
    strange = [text for text in texts if not _SAID.fullmatch(text)]
    return f"{len(wanted - answered)} unanswered: {sorted(wanted - answered)[:10]}; strange: {strange[:5]}"
