"""What the tests of agent and service put together: settings, a workspace on disk, a scripted model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocol.envelope import Address, Inbound, Peer, Sender
from protocol.slices import WorkerSlice
from worker.agent import Agent
from worker.boot import setting_of
from worker.calls import Calls
from worker.llm.base import Model
from worker.sessions.store import Sessions
from worker.tools.processes import Processes
from worker.tools.registry import file_access, toolbox
from worker.workspace import Workspace

KEY = "agent:main:main"


def settings(folder: Path, **fields: Any) -> WorkerSlice:
    names = ("link_socket", "router_public", "worker_public", "worker_secret", "proxy_socket", "proxy_token")
    given = {
        **dict.fromkeys(names, "x"),
        "agent": "main",
        "name": "Main",
        "workspace": str(folder / "ws"),
        "sessions": str(folder / "sessions"),
    }
    return WorkerSlice(**{**given, **fields})


def agent(slice: WorkerSlice, model: Model, calls: Calls | None = None) -> Agent:
    Path(slice.workspace).mkdir(exist_ok=True)
    access = file_access(slice)
    tools = toolbox(slice, access, Processes(), calls)
    return Agent(slice, setting_of(slice), model, tools, Workspace(Path(slice.workspace), access, 12_000))


def sessions(slice: WorkerSlice) -> Sessions:
    return Sessions(Path(slice.sessions), slice.workspace, 100_000)


def message(text: str, kind: Any = "direct") -> Inbound:
    return Inbound(
        channel="telegram",
        account="default",
        message_id="1",
        peer=Peer(kind, "9"),
        sender=Sender("77", "Anna"),
        text=text,
        at=1.0,
        reply=Address("telegram", "default", "9"),
    )
