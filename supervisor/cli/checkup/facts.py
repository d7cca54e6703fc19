"""Reads everything the checks need, once. A file that cannot be read is a fact like any other."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from protocol import control as c
from protocol.config import Config
from protocol.errors import UserError
from protocol.paths import Paths
from supervisor.cli import client
from supervisor.cli.context import Context
from supervisor.config import agents, check
from supervisor.config.environ import overlay
from supervisor.config.parse import MissingVariable, parse, read_text, resolve_includes, substitute
from supervisor.config.problems import ROOT, ConfigInvalid, Problem
from supervisor.config.salvage import salvage
from supervisor.config.shape import listed

#: Seconds a gateway may take for an answer before it counts as stuck.
PATIENCE = 5.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The config file. `values` and `config` are what is left of it without its mistakes.

    `readable` is False when nothing of it could be read: then nothing is known of agents and channels.
    """

    exists: bool = False
    readable: bool = True
    problems: tuple[Problem, ...] = ()
    authored: dict[str, Any] = {}
    values: dict[str, Any] = {}
    config: Config = Config()
    missing: tuple[MissingVariable, ...] = ()
    warnings: tuple[str, ...] = ()
    environ: dict[str, str] = {}


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The running gateway; `status` is None where none answers, and `reason` says why."""

    status: c.GatewayStatus | None = None
    reason: str = ""
    accounts: tuple[c.AccountStatus, ...] = ()
    queue: Mapping[str, int] = {}
    queue_problem: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the checks look at. `now` in seconds since the epoch."""

    paths: Paths
    settings: Settings
    live: Live
    deep: bool
    now: float

    @property
    def agents(self) -> tuple[str, ...]:
        return agents.agent_ids(self.settings.config)

    def workspace(self, agent_id: str) -> Path:
        return agents.workspace(self.settings.config, self.paths, agent_id)

    def agent_dir(self, agent_id: str) -> Path:
        return agents.agent_dir(self.settings.config, self.paths, agent_id)

    def sessions(self, agent_id: str) -> Path:
        return agents.sessions_dir(self.settings.config, self.paths, agent_id)

    @property
    def channels(self) -> dict[str, Any]:
        return {name: one for name, one in self.settings.config.channels.items() if isinstance(one, dict)}


def gather(ctx: Context, *, deep: bool) -> Facts:
    """Look at everything; never raises for the state of the gateway."""
    return Facts(
        paths=ctx.paths,
        settings=read_settings(ctx.paths, ctx.environ),
        live=ask_gateway(ctx.paths, deep=deep),
        deep=deep,
        now=time.time(),
    )


def read_settings(paths: Paths, environ: Mapping[str, str]) -> Settings:
    """The config file with all that is wrong with it."""
    try:
        text = read_text(paths.config)
        authored = parse(text, paths.config) if text is not None else {}
    except ConfigInvalid as error:
        return Settings(exists=True, readable=False, problems=error.problems, environ=dict(environ))
    except UserError as error:
        return Settings(exists=True, readable=False, problems=(Problem(ROOT, error.message),), environ=dict(environ))
    return _resolved(paths, environ, authored, exists=text is not None)


def _resolved(paths: Paths, environ: Mapping[str, str], authored: Any, *, exists: bool) -> Settings:
    found: list[Problem] = []
    try:
        included = resolve_includes(authored, paths.config)
    except UserError as error:
        found += error.problems if isinstance(error, ConfigInvalid) else [Problem(ROOT, error.message)]
        included = authored
    block = included.get("env") if isinstance(included, dict) else None
    try:
        everything = overlay(paths, environ, block if isinstance(block, dict) else {})
    except UserError as error:
        found.append(Problem(ROOT, f"{error.message}: {error.where}"))
        everything = dict(environ)
    values, missing = substitute(included, everything)
    found += check.problems(values, paths)
    left, config = salvage(listed(values))
    return Settings(
        exists=exists,
        problems=tuple(found),
        authored=authored if isinstance(authored, dict) else {},
        values=left,
        config=config,
        missing=missing,
        warnings=check.warnings(left),
        environ=everything,
    )


def ask_gateway(paths: Paths, *, deep: bool) -> Live:
    """What the running gateway says of itself, its channels and its queue."""
    try:
        with client.connect(paths, PATIENCE) as line:
            status: c.GatewayStatus = line.ask(c.GetStatus(), c.from_supervisor, c.GatewayStatus)
    except client.NotRunning as error:
        return Live(reason=error.reason)
    except UserError as error:
        return Live(reason=error.message)
    try:
        accounts = _ask_router(paths, c.GetChannels(probe=deep), c.Channels).accounts
        queue = _ask_router(paths, c.GetQueue(limit=1), c.Queue).counts
    except UserError as error:
        return Live(status=status, queue_problem=error.message)
    return Live(status=status, accounts=accounts, queue=queue)


def _ask_router(paths: Paths, request: Any, kind: type[Any]) -> Any:
    with client.attached(paths, PATIENCE) as line:
        if isinstance(request, c.GetChannels) and request.probe:
            line.wait_for(request.timeout + PATIENCE)
        return line.ask(request, c.from_router, kind)


def read_json(path: Path) -> Any:
    """The content of a small JSON file; None where there is none. Raises ValueError for what is no JSON."""
    try:
        text = read_text(path)
    except UserError as error:
        raise ValueError(error.message) from None
    try:
        return None if text is None else json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
