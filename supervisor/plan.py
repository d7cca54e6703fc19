"""One reading of the configuration, cut into what each process is told, with the start rules of `gateway run`.

`read` either gives a whole plan or raises; a running gateway keeps its old plan then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from protocol.config import AgentDefaults, Config
from protocol.errors import UserError
from protocol.paths import Paths
from protocol.sandbox import Seat
from protocol.slices import RouterSlice, WorkerSlice
from protocol.slices_proxy import ProxySlice
from supervisor import door
from supervisor.config import agents, approvals
from supervisor.config.load import Loaded, evaluate
from supervisor.config.parse import parse, read_text
from supervisor.config.places import Places
from supervisor.config.secretrefs import Vault
from supervisor.config.slices import (
    agent_ids,
    log_level,
    placement,
    proxy_slice,
    router_slice,
    tool_rules,
    worker_slice,
)
from supervisor.life import EX_CONFIG
from supervisor.logs import MAX_FILE
from supervisor.secrets import Mint
from supervisor.walling import Walling
from supervisor.workerplan import AgentPlan, Cutter, WorkerPlan

#: `gateway.reload.mode` (SPEC 7.7), the default last.
RELOAD_MODES = ("off", "restart", "hot", "hybrid")


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says; it wins over the configuration. `grace` in seconds."""

    port: int | None = None
    bind: str | None = None
    token: str | None = None
    verbose: bool = False
    allow_unconfigured: bool = False
    grace: float = 30.0
    print_url: bool = False
    foreground: bool = True


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one run is made of. `notes` are for the log: (level, text).

    `fixed` are the workers of every agent but those of single sessions, which `cutter` cuts when one comes. `text` is
    the config file it was read from, None where there is none; `values` is what that means. `debounce` is the quiet
    time after a change until the file is read, in seconds.
    """

    router: RouterSlice
    proxy: ProxySlice
    agents: dict[str, AgentPlan]
    fixed: dict[Seat, WorkerPlan]
    cutter: Cutter
    digest: str
    log_file: Path
    log_max_bytes: int
    log_level: str
    agent_dirs: tuple[Path, ...]
    notes: tuple[tuple[str, str], ...] = ()
    text: str | None = None
    values: dict[str, Any] = {}
    reload: str = "hybrid"
    debounce: float = 0.5

    def __repr__(self) -> str:
        return f"Plan({self.digest[:8]}, {len(self.agents)} agents)"


ReadPlan = Callable[[], Plan]


def reader(paths: Paths, options: RunOptions, environ: Mapping[str, str]) -> ReadPlan:
    """A function that reads the configuration anew; keys of agents stay the same from one call to the next."""
    mint = Mint()
    return lambda: read(paths, options, environ, mint)


def read(paths: Paths, options: RunOptions, environ: Mapping[str, str], mint: Mint) -> Plan:
    """Raises UserError (exit code 78 where starting is refused, 1 for a configuration that is wrong)."""
    text = read_text(paths.config)
    authored = {} if text is None else parse(text, paths.config)
    loaded = evaluate(authored, paths, environ, exists=text is not None)
    config = loaded.config
    check_start(loaded, options)
    notes = [("warn", text) for text in loaded.warnings]
    host = door.host(config.gateway, options.bind)
    port = door.port(config.gateway, options.port, environ)
    vault = Vault(config.secrets, paths, loaded.environ)
    token = options.token or door.configured_token(config.gateway, vault, loaded.environ)
    if not token:
        door.check_exposure(host)
        token, made = door.own_token(paths)
        notes += [("info", door.TOKEN_MADE)] if made else []
    ids = agent_ids(config)
    tokens, file = mint.tokens(ids), approvals.read(paths)
    places, walling = Places(config, paths), Walling(paths, ids)
    plans = {
        agent: agent_plan(config, worker_slice(config, paths, agent, tokens[agent], places, file), walling)
        for agent in ids
    }
    cutter = Cutter(plans, paths, mint.link, (os.getuid(), os.getgid()))

    def warn(text: str) -> None:
        notes.append(("warn", text))

    return Plan(
        router=router_slice(config, paths, environ, token=token, host=host, port=port, warn=warn),
        proxy=proxy_slice(config, paths, tokens, environ, warn=warn),
        agents=plans,
        fixed=cutter.fixed(),
        cutter=cutter,
        digest=loaded.digest,
        log_file=paths.expand(config.logging.file) if config.logging.file else paths.log_file,
        log_max_bytes=config.logging.max_file_bytes or MAX_FILE,
        log_level=log_level(config, environ),
        agent_dirs=tuple(agents.agent_dir(config, paths, agent) for agent in ids),
        notes=tuple(dict.fromkeys(notes)),
        text=text,
        values=loaded.values,
        reload=_reload_mode(config.gateway.reload),
        debounce=_debounce(config.gateway.reload),
    )


def agent_plan(config: Config, told: WorkerSlice, walling: Walling) -> AgentPlan:
    """Everything the workers of one agent are made of."""
    own, defaults = agents.entry(config, told.agent), config.agents.defaults or AgentDefaults()
    limits = walling.limits(own.limits, defaults.limits)
    walls = walling.walls(told, limits)
    return AgentPlan(
        slice=told,
        placement=placement(config, told.agent),
        sandbox=agents.sandbox(config, told.agent),
        tools=tool_rules(config, told.agent),
        uid=walls.uid,
        gid=walls.gid,
        walls=walls,
        limits=limits,
    )


def check_start(loaded: Loaded, options: RunOptions) -> None:
    """Whether this configuration may be started at all (SPEC 3.4.1)."""
    mode = loaded.config.gateway.mode or "local"
    if options.allow_unconfigured:
        return
    if not loaded.exists:
        text = "Missing config. Run `openclaw setup` or set gateway.mode=local (or pass --allow-unconfigured)."
        raise UserError(text, exit_code=EX_CONFIG)
    if mode != "local":
        text = f"Gateway start blocked: set gateway.mode=local (current: {mode}) or pass --allow-unconfigured."
        raise UserError(text, where="$.gateway.mode", exit_code=EX_CONFIG)


def _reload_mode(section: Any) -> str:
    mode = section.get("mode") if isinstance(section, dict) else None
    return mode if mode in RELOAD_MODES else "hybrid"


def _debounce(section: Any) -> float:
    """Seconds; a moment at least, so that a file that is being written is not read."""
    value = section.get("debounceMs") if isinstance(section, dict) else None
    milliseconds = value if isinstance(value, int | float) and not isinstance(value, bool) else 500
    return min(max(milliseconds / 1000, 0.05), 60.0)


def secret_values(plan: Plan) -> set[str]:
    """Exact values that must never stand in a log."""
    found = {plan.router.token}
    found |= {value for name, value in plan.proxy.environ.items() if not name.endswith("_URL")}
    found |= {agent.slice.proxy_token for agent in plan.agents.values()}
    found |= {worker.slice.worker_secret for worker in plan.fixed.values()}
    found |= {agent.api_key for agent in plan.proxy.agents} | {one.api_key for one in plan.proxy.providers}
    return found | set(_named_secrets(plan.router.channels))


def _named_secrets(value: object, name: str = "") -> set[str]:
    """Strings under keys that sound like a secret."""
    if isinstance(value, Mapping):
        return {found for key, inner in value.items() for found in _named_secrets(inner, str(key))}
    if isinstance(value, list | tuple):
        return {found for inner in value for found in _named_secrets(inner, name)}
    sounds = any(word in name.lower() for word in ("token", "password", "secret", "apikey", "privatekey"))
    return {value} if isinstance(value, str) and sounds else set()
