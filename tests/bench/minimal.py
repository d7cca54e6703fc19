"""A gateway without a single feature: poll, ask the model, send. The yardstick for what ours adds.

`python -m tests.bench.minimal API_ROOT TOKEN MODEL_URL`
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp


async def ask(session: aiohttp.ClientSession, url: str, text: str) -> str:
    body = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": text}]}
    headers = {"x-api-key": "sk-ant-bench-0123456789", "anthropic-version": "2023-06-01"}
    async with session.post(f"{url}/v1/messages", json=body, headers=headers) as answer:
        whole = await answer.json()
    return "".join(part["text"] for part in whole["content"])


async def main(root: str, token: str, model: str) -> None:
    base, offset = f"{root}/bot{token}", 0
    async with aiohttp.ClientSession() as session:

        async def call(method: str, **params: Any) -> Any:
            async with session.post(f"{base}/{method}", json=params) as answer:
                return (await answer.json())["result"]

        while True:
            for update in await call("getUpdates", offset=offset, timeout=30):
                offset = update["update_id"] + 1
                message = update["message"]
                text = await ask(session, model, message["text"])
                await call("sendMessage", chat_id=message["chat"]["id"], text=text)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
