"""The founding documents' configurations on a real gateway: the text as written, with addresses of the test's servers
laid beside it by `$include`, which is how an operator would do it.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.bridge import Bridge
from tests.support.gateway import Gateway, Ran
from tests.support.model_api import ModelApi

SEEDS = Path(__file__).parents[1] / "unit" / "supervisor" / "config" / "seeds"
OPEN = {"dmPolicy": "open", "allowFrom": ["*"]}
_ROUTED = re.compile(r"(\S+)/(\S+) (\S+) from (\S+) → (\S+) by (\S+), session (\S+)")


class Stage:
    """A gateway, its model vendor and its bridge."""

    def __init__(self, gateway: Gateway, models: ModelApi, bridge: Bridge) -> None:
        self.gateway, self.models, self.bridge = gateway, models, bridge

    def routes(self) -> list[tuple[str, str, str]]:
        """(agent, which rule matched, session key) of every message that was routed, from the log."""
        found = []
        for line in self.log().splitlines():
            if match := _ROUTED.search(json.loads(line).get("message", "") if line.startswith("{") else line):
                found.append((match.group(5), match.group(6), match.group(7)))
        return found

    def log(self) -> str:
        return (self.gateway.state / "logs" / "openclaw.log").read_text()

    async def logged(self, text: str, timeout: float = 10.0) -> None:
        """Until the log says so."""
        async with asyncio.timeout(timeout):
            while text not in self.log():
                await asyncio.sleep(0.02)

    async def ask(self, *arguments: str) -> Ran:
        return await self.gateway.run(*arguments)

    def transcripts(self, agent: str) -> dict[str, str]:
        """Session key -> the whole text of its transcript."""
        found = {}
        for path in (self.gateway.state / "agents" / agent / "sessions").glob("*.jsonl"):
            text = path.read_text()
            found[json.loads(text.partition("\n")[0])["openclaw"]["key"]] = text
        return found


@asynccontextmanager
async def stage(
    text: str,
    lab: dict[str, Any],
    bridged: tuple[str, ...] = (),
    environ: dict[str, str] | None = None,
    prepare: Callable[[Path], None] = lambda state: None,
) -> AsyncIterator[Stage]:
    """`text` as written, `lab` laid over it; each channel of `bridged` is connected by the bridge.

    `prepare` gets the state folder before the gateway starts.
    """
    with tempfile.TemporaryDirectory(prefix="ocb") as folder:
        socket = Path(folder) / "b.sock"
        async with ModelApi() as models, Bridge(socket) as bridge, Gateway(environ=environ) as gateway:
            channels = dict(lab.get("channels", {}))
            for name in bridged:
                channels[name] = {**channels.get(name, {}), "bridge": {"socket": str(socket)}}
            (gateway.state / "founding.json5").write_text(text)
            provider = {"baseUrl": models.url, "apiKey": "sk-ant-of-the-gateway"}
            gateway.write(
                {
                    "$include": "./founding.json5",
                    **lab,
                    "channels": channels,
                    "models": {"providers": {"anthropic": provider}},
                }
            )
            prepare(gateway.state)
            await gateway.start()
            yield Stage(gateway, models, bridge)
