"""A real cliproxy in this loop with fake vendors behind it, and workers' clients in front."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocol.slices_proxy import AgentSlice, ProviderSlice, ProxySlice
from router.cliproxy.forward import Limits
from router.cliproxy.server import Proxy
from tests.support.model_api import ModelApi
from worker.llm.base import Finished, ModelEvent, Request, TextDelta, ToolSpec, UserTurn
from worker.llm.client import ProxyClient, RoutedModel

ECHO_TOOL = ToolSpec("exec", "Run a shell command. Slowly.", {"type": "object", "properties": {"command": {}}})


def agent(folder: Path, name: str = "main", key: str = "") -> AgentSlice:
    """An agent whose proxy token is `token-<name>`."""
    home = folder / "agents" / name
    home.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(f"token-{name}".encode()).hexdigest()
    return AgentSlice(agent=name, token_sha256=digest, agent_dir=str(home), api_key=key)


@dataclass
class Rig:
    """What a test needs at hand."""

    api: ModelApi
    proxy: Proxy
    settings: ProxySlice
    clients: list[ProxyClient] = field(default_factory=list)

    def client(self, name: str = "main", *, token: str = "") -> ProxyClient:
        client = ProxyClient(self.settings.socket, token or f"token-{name}")
        self.clients.append(client)
        return client

    def model(self, name: str = "main") -> RoutedModel:
        return RoutedModel(self.client(name))


@asynccontextmanager
async def rig(
    folder: Path,
    *agents: AgentSlice,
    providers: tuple[ProviderSlice, ...] | None = None,
    environ: dict[str, str] | None = None,
    local_ports: tuple[int, ...] = (),
    limits: Limits | None = None,
    api: ModelApi | None = None,
    **more: Any,
) -> AsyncIterator[Rig]:
    """Both vendors point to the fake unless `providers` says otherwise; `environ` may hold keys."""
    async with api or ModelApi() as fake:
        given = providers
        if given is None:
            given = tuple(ProviderSlice(id=name, base_url=fake.url) for name in ("anthropic", "openai"))
        settings = ProxySlice(
            socket=str(folder / "p" / "proxy"),
            agents=agents or (agent(folder),),
            providers=given,
            environ=environ or {},
            local_ports=local_ports,
            **more,
        )
        proxy = Proxy(settings, limits=limits)
        await proxy.start()
        found = Rig(fake, proxy, settings)
        try:
            yield found
        finally:
            for client in found.clients:
                await client.close()
            await proxy.stop()


def question(text: str, model: str = "anthropic/claude-x", *tools: ToolSpec) -> Request:
    return Request(model=model, system="Be brief.", turns=(UserTurn(text),), tools=tools)


async def ask(model: Any, request: Request) -> tuple[list[str], Finished]:
    """The deltas and the end of one answer."""
    events: list[ModelEvent] = [event async for event in model.stream(request)]
    *deltas, last = events
    assert isinstance(last, Finished)
    return [event.text for event in deltas if isinstance(event, TextDelta)], last
