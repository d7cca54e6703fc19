"""Hot reload of a thousand agents with the real gateway: `python -m tests.bench.reload [agents]`.

Prints how long it takes from the moment the file is replaced until the router decides by the new configuration
(debounce included), for plain JSON and for JSON5 with comments, and whether a worker was touched.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from typing import Any

from tests.support.gateway import Gateway
from tests.support.telegram_api import TelegramApi

DEBOUNCE = 0.05


def config(agents: int, api: str, moved: int) -> dict[str, Any]:
    """Each agent with a binding and some keys; `moved` bindings lead to the next agent."""
    bindings = [
        {"agentId": f"a{(i + (i < moved)) % agents}",
         "match": {"channel": "telegram", "accountId": f"acc{i % 20}", "peer": {"kind": "direct", "id": str(i)}}}
        for i in range(agents)
    ]  # fmt: skip
    own = [{"name": f"Agent {i}", "groupChat": {"mentionPatterns": [f"@a{i}"]}} for i in range(agents)]
    listed = [{"id": f"a{i}", **keys} for i, keys in enumerate(own)]
    accounts = {f"acc{i}": {"botToken": token(i)} for i in range(20)}
    return {
        "agents": {"list": listed},
        "bindings": bindings,
        "channels": {"telegram": {"apiRoot": api, "accounts": accounts}},
        "gateway": {"reload": {"debounceMs": int(DEBOUNCE * 1000)}},
    }


def token(number: int) -> str:
    return f"{7000 + number}:bench-token-0123456789-0123456789-abc"


async def main(agents: int) -> None:
    async with TelegramApi() as api, Gateway() as gateway:
        for number in range(20):
            api.world.add_bot(token(number))
        gateway.write(config(agents, api.url, 0))
        await gateway.start()
        workers = await some_workers(gateway)
        for moved, five in enumerate((False, True, False, True), 1):
            gateway.write(config(agents, api.url, moved))
            path = gateway.state / "openclaw.json"
            if five:
                path.write_text("// of the operator\n" + re.sub(r'"(\w+)":', r"\1:", path.read_text()))
            began = time.monotonic()
            await applied(gateway, moved)
            kind = "JSON5" if five else "JSON "
            print(f"{agents} agents, {kind} {path.stat().st_size // 1024} KB: {time.monotonic() - began:.2f} s"
                  f" (debounce {DEBOUNCE:.2f} s twice in it at most)")  # fmt: skip
        same = {one.name: one.pid for one in gateway.processes()}
        print("workers untouched:", all(same.get(name) == pid for name, pid in workers.items()), len(workers))


async def some_workers(gateway: Gateway) -> dict[str, int]:
    """Wake five of them; with more than a hundred agents nobody is started by himself."""
    await asyncio.gather(*(gateway.run("agent", "--agent", f"a{i}", "-m", "hello") for i in range(5)))
    return {one.name: one.pid for one in gateway.processes()}


async def applied(gateway: Gateway, times: int) -> None:
    log = gateway.state / "logs" / "openclaw.log"
    async with asyncio.timeout(60):
        while log.read_text().count("configuration applied: ") < times:
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
