"""One reading of the configuration, cut into what each process is told, with the start rules of `gateway run`.

`read` either gives a whole plan or raises; a running gateway keeps its old plan then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from protocol.errors import UserError
from protocol.paths import Paths
from protocol.slices import RouterSlice, WorkerSlice
from protocol.slices_proxy import ProxySlice
from supervisor import door
from supervisor.config import agents
from supervisor.config.load import Loaded, load
from supervisor.config.places import Places
from supervisor.config.secretrefs import Vault
from supervisor.config.slices import agent_ids, log_level, proxy_slice, router_slice, worker_slice
from supervisor.life import EX_CONFIG
from supervisor.logs import MAX_FILE
from supervisor.secrets import Mint


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
    """Everything one run is made of. `notes` are for the log: (level, text)."""

    router: RouterSlice
    proxy: ProxySlice
    workers: dict[str, WorkerSlice]
    digest: str
    log_file: Path
    log_max_bytes: int
    log_level: str
    agent_dirs: tuple[Path, ...]
    notes: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Plan({self.digest[:8]}, {len(self.workers)} agents)"


ReadPlan = Callable[[], Plan]


def reader(paths: Paths, options: RunOptions, environ: Mapping[str, str]) -> ReadPlan:
    """A function that reads the configuration anew; keys of agents stay the same from one call to the next."""
    mint = Mint()
    return lambda: read(paths, options, environ, mint)


def read(paths: Paths, options: RunOptions, environ: Mapping[str, str], mint: Mint) -> Plan:
    """Raises UserError (exit code 78 where starting is refused, 1 for a configuration that is wrong)."""
    loaded = load(paths, environ)
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
    keys, places = mint.for_agents(ids), Places(config, paths)

    def warn(text: str) -> None:
        notes.append(("warn", text))

    return Plan(
        router=router_slice(config, paths, keys, environ, token=token, host=host, port=port, warn=warn),
        proxy=proxy_slice(config, paths, keys, environ, warn=warn),
        workers={agent: worker_slice(config, paths, agent, keys[agent], places) for agent in ids},
        digest=loaded.digest,
        log_file=paths.expand(config.logging.file) if config.logging.file else paths.log_file,
        log_max_bytes=config.logging.max_file_bytes or MAX_FILE,
        log_level=log_level(config, environ),
        agent_dirs=tuple(agents.agent_dir(config, paths, agent) for agent in ids),
        notes=tuple(dict.fromkeys(notes)),
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


def secret_values(plan: Plan) -> set[str]:
    """Exact values that must never stand in a log."""
    found = {plan.router.token}
    found |= {value for name, value in plan.proxy.environ.items() if not name.endswith("_URL")}
    found |= {worker.proxy_token for worker in plan.workers.values()}
    found |= {worker.worker_secret for worker in plan.workers.values()}
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
