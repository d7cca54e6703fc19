"""`openclaw sandbox explain`: what the configuration says of one session, and what really runs, put side by side. Pure.

The configuration alone proves nothing: the last word has what the supervisor saw of Docker and of /proc (`PlaceFacts`),
and where that is missing the text says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from protocol.approvals import ElevatedRules
from protocol.config import Config
from protocol.control import PlaceFacts
from protocol.paths import Paths
from protocol.sandbox import HOST, Placement, SandboxSettings, container_name
from protocol.session_key import main_session_key, parse_key
from protocol.tool_policy import ALL_TOOLS
from supervisor.config import agents, tool_paths
from supervisor.config.approvals import elevated
from supervisor.config.tool_paths import Layer, SandboxTools, Verdict

DOCS = "docs/security.md"
_MODES = {
    "off": "mode off: every session runs on the host",
    "all": "mode all: every session runs in a sandbox",
}


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one session of an agent. `live` is None where no gateway answers."""

    agent: str
    session_key: str
    main_key: str
    settings: SandboxSettings
    root: str
    place: str
    scope_key: str
    container: str
    why: str
    tools: SandboxTools
    layers: tuple[Layer, ...]
    verdicts: tuple[Verdict, ...]
    elevated: ElevatedRules
    channel: str
    live: PlaceFacts | None = None
    live_problem: str = ""

    @property
    def sandboxed(self) -> bool:
        return self.place != HOST


def view(config: Config, paths: Paths, agent: str, session_key: str, tools: tuple[str, ...] = ()) -> View:
    """What the configuration says. `tools` are those that are asked about, all of the policy's when empty."""
    settings = agents.sandbox(config, agent)
    placement = placement_of(config, agent)
    main = main_session_key(agent, config.session.main_key)
    key = session_key.strip() or main
    place, scope_key = placement.place(agent, key), placement.scope_key(agent, key)
    steps = tool_paths.layers(config, agent, key, sandboxed=place != HOST)
    senders = tool_paths.by_sender(config.channels, key)
    prefix = str(settings.docker.get("containerPrefix") or "")
    return View(
        agent=agent,
        session_key=key,
        main_key=main,
        settings=settings,
        root=str(paths.expand(settings.workspace_root) if settings.workspace_root else paths.sandboxes),
        place=place,
        scope_key=scope_key if place != HOST else "",
        container=container_name(prefix, settings.scope, scope_key) if place != HOST else "",
        why=_why(settings.mode, key, main, place),
        tools=tool_paths.sandbox_tools(config, agent),
        layers=steps,
        verdicts=tuple(tool_paths.verdict(tool, steps, senders) for tool in tools or ALL_TOOLS),
        elevated=elevated(config, agent),
        channel=_channel(key),
    )


def with_live(seen: View, live: PlaceFacts | None, problem: str) -> View:
    """With what the supervisor saw, or why it could not be asked."""
    return msgspec.structs.replace(seen, live=live, live_problem=problem)


def placement_of(config: Config, agent: str) -> Placement:
    """As router and supervisor are told it."""
    settings = agents.sandbox(config, agent)
    return Placement(
        mode=settings.mode,
        scope=settings.scope,
        tenant=(agents.entry(config, agent).tenant or "").strip(),
        main_key=config.session.main_key,
        session_scope=config.session.scope,
    )


def proof(seen: View) -> list[str]:
    """What really runs, in lines."""
    live = seen.live
    if live is None:
        return [f"not known: {seen.live_problem or 'no gateway answers'}; no worker runs without one"]
    if not seen.sandboxed:
        return _host_proof(live)
    name = live.container_name or seen.container
    if live.problem:
        return [f"NOT RUNNING: {live.problem}"]
    if not live.container:
        return [f"NOT RUNNING: the config says sandboxed, and no container {name} exists", *_worker(live)]
    lines = [f"container: {name} {live.container[:12]} ({live.container_status})"]
    if live.container_status != "running" or not live.pid:
        return [*lines, _idle(live), *_worker(live)]
    stale = [] if live.config_match else ["made from an older configuration: it is replaced when it is idle"]
    return [*lines, *stale, *_process(live), *_worker(live)]


def _host_proof(live: PlaceFacts) -> list[str]:
    if not live.pid:
        return [_idle(live), *_worker(live)]
    return [*_process(live), *_worker(live)]


def _idle(live: PlaceFacts) -> str:
    """A worker that cannot be made does not come with the next message either."""
    return "NOT RUNNING" if live.reason else "NOT RUNNING: it starts with the next message"


def _process(live: PlaceFacts) -> list[str]:
    own = [one.kind for one in live.namespaces if one.own]
    shared = [one.kind for one in live.namespaces if not one.own]
    text = f"process: pid {live.pid}, uid {live.uid if live.uid >= 0 else 'unknown'}"
    listed = (
        f"namespaces of its own: {', '.join(own) or 'none'}; shared with the supervisor: {', '.join(shared) or 'none'}"
    )
    return [text, listed] if live.namespaces else [text, "namespaces: cannot be read"]


def _worker(live: PlaceFacts) -> list[str]:
    state = live.state or "none was started yet"
    return [f"worker: {state}" + (f" ({live.reason})" if live.reason else "")]


def proven(seen: View) -> bool | None:
    """Whether what runs is where the configuration wants it; None where nothing runs or nobody can tell."""
    live = seen.live
    if live is None or not live.namespaces:
        return None
    own = {one.kind for one in live.namespaces if one.own}
    return not seen.sandboxed or {"mnt", "pid", "net", "ipc"} <= own or _joins(seen, own)


def _joins(seen: View, own: set[str]) -> bool:
    """With `network: container:…` the network namespace is another container's: still not ours."""
    return {"mnt", "pid", "ipc"} <= own and str(seen.settings.docker.get("network", "")).startswith("container:")


def _why(mode: str, key: str, main: str, place: str) -> str:
    if mode in _MODES:
        return _MODES[mode]
    if place == HOST:
        return f"mode non-main: {key} is the main session ({main})"
    return f"mode non-main: {key} is not the main session ({main})"


def _channel(key: str) -> str:
    parsed = parse_key(key)
    parts = parsed.rest.split(":") if parsed else []
    return parts[0] if len(parts) > 1 and parts[0] not in ("subagent", "cron", "acp", "direct", "dm") else ""


# --- elevated ------------------------------------------------------------------------------------------------------


def elevated_failures(seen: View, config: Config) -> list[dict[str, str]]:
    """The gates that keep every sender of this session from leaving the sandbox (SPEC 5.7)."""
    at, rules = tool_paths.agent_path(config, seen.agent), seen.elevated
    found = []
    if not rules.enabled:
        shared = config.tools.elevated is not None and config.tools.elevated.enabled is False
        key = "tools.elevated.enabled" if shared else f"{at}.tools.elevated.enabled"
        found.append({"gate": "enabled", "key": key})
    if not _listed(seen, rules.allow_from):
        found.append({"gate": "allowFrom", "key": f"tools.elevated.allowFrom.{seen.channel or '<channel>'}"})
    if rules.own is not None and not _listed(seen, rules.own):
        key = f"{at}.tools.elevated.allowFrom.{seen.channel or '<channel>'}"
        found.append({"gate": "allowFrom", "key": key})
    return found


def _listed(seen: View, allowed: dict[str, tuple[str | int, ...]]) -> bool:
    return bool(allowed.get(seen.channel) if seen.channel else any(allowed.values()))


def fixes(seen: View, config: Config) -> list[tuple[str, str]]:
    """Keys that would change it, each with the command that does."""
    own = tool_paths.agent_path(config, seen.agent)
    # An agent that has no entry has only what holds for all.
    at = "agents.defaults" if own.endswith("[]") else own
    found = []
    if seen.sandboxed:
        found.append((f"{at}.sandbox.mode", _set(f"{at}.sandbox.mode", "off")))
    else:
        found.append((f"{at}.sandbox.mode", _set(f"{at}.sandbox.mode", "all")))
    for one in seen.verdicts:
        if not one.allowed and len(seen.verdicts) < len(ALL_TOOLS):
            found.append((one.by, f"openclaw config get '{one.by}'"))
    for gate in elevated_failures(seen, config) if seen.sandboxed else ():
        value = "true" if gate["gate"] == "enabled" else "'[\"<sender>\"]'"
        found.append((gate["key"], f"openclaw config set '{gate['key']}' {value}"))
    return list(dict.fromkeys(found))


def _set(key: str, value: str) -> str:
    return f"openclaw config set '{key}' {value}"


# --- the two forms ---------------------------------------------------------------------------------------------------


def lines(seen: View, config: Config) -> Iterator[str]:
    """For people."""
    settings = seen.settings
    yield "Effective sandbox:"
    yield f"  agentId: {seen.agent}"
    yield f"  sessionKey: {seen.session_key}"
    yield f"  mainSessionKey: {seen.main_key}"
    yield f"  runtime: {'sandboxed' if seen.sandboxed else 'direct'} ({seen.why})"
    yield f"  mode: {settings.mode} scope: {settings.scope}"
    yield f"  workspaceAccess: {settings.workspace_access} workspaceRoot: {seen.root}"
    yield f"  place: {seen.place}" + (f" container: {seen.container}" if seen.sandboxed else "")
    yield ""
    yield "Seen now:"
    yield from (f"  {line}" for line in proof(seen))
    if proven(seen) is False:
        yield "  NOT ISOLATED: the process shares namespaces with the supervisor that a container has for itself"
    yield ""
    yield "Sandbox tool policy:" + ("" if seen.sandboxed else " (not applied: this session is not sandboxed)")
    yield f"  allow ({seen.tools.allow[0]}): {', '.join(seen.tools.list.allow or ()) or '(everything)'}"
    yield f"  deny ({seen.tools.deny[0]}): {', '.join(seen.tools.list.deny or ()) or '(nothing)'}"
    yield ""
    yield "Tools:"
    yield from _tool_lines(seen)
    yield ""
    yield from _elevated_lines(seen, config)
    yield ""
    yield "Fix-it:"
    yield from (f"  {command}" for _, command in fixes(seen, config))


def _tool_lines(seen: View) -> Iterator[str]:
    free = [one.tool for one in seen.verdicts if one.allowed]
    if len(seen.verdicts) == len(ALL_TOOLS):
        yield f"  allowed: {', '.join(free) or '(none)'}"
        for path in dict.fromkeys(one.by for one in seen.verdicts if not one.allowed):
            yield f"  taken away by {path}: {', '.join(one.tool for one in seen.verdicts if one.by == path)}"
    else:
        yield from (f"  {_verdict_line(one)}" for one in seen.verdicts)
    for note in dict.fromkeys(note for one in seen.verdicts if one.allowed for note in one.notes):
        yield f"  note: {note}"


def _verdict_line(one: Verdict) -> str:
    return f"{one.tool}: allowed by every layer" if one.allowed else f"{one.tool}: blocked by {one.by} ({one.reason})"


def _elevated_lines(seen: View, config: Config) -> Iterator[str]:
    failures = elevated_failures(seen, config)
    yield "Elevated:"
    yield f"  enabled: {str(seen.elevated.enabled).lower()}"
    yield f"  channel: {seen.channel or '(unknown)'}"
    yield f"  allowedByConfig: {str(not failures).lower()}"
    if failures:
        yield f"  failing: {', '.join(one['gate'] + ' (' + one['key'] + ')' for one in failures)}"


def as_json(seen: View, config: Config) -> dict[str, Any]:
    """SPEC 3.12, and ours: `live`, `place`, `why`, `tools`."""
    failures, tools = elevated_failures(seen, config), seen.tools
    return {
        "docsUrl": DOCS,
        "agentId": seen.agent,
        "sessionKey": seen.session_key,
        "mainSessionKey": seen.main_key,
        "sandbox": {
            "mode": seen.settings.mode,
            "scope": seen.settings.scope,
            "workspaceAccess": seen.settings.workspace_access,
            "workspaceRoot": seen.root,
            "sessionIsSandboxed": seen.sandboxed,
            "why": seen.why,
            "place": seen.place,
            "containerName": seen.container,
            "tools": {
                "allow": list(tools.list.allow or ()),
                "deny": list(tools.list.deny or ()),
                "sources": {
                    "allow": {"source": tools.allow[0], "key": tools.allow[1]},
                    "deny": {"source": tools.deny[0], "key": tools.deny[1]},
                },
            },
        },
        "live": {
            "seen": None if seen.live is None else msgspec.to_builtins(seen.live),
            "proven": proven(seen),
            "text": proof(seen),
        },
        "tools": [msgspec.to_builtins(one) for one in seen.verdicts],
        "elevated": {
            "enabled": seen.elevated.enabled,
            "allowedByConfig": not failures,
            "alwaysAllowedByConfig": not failures and seen.elevated.default == "full",
            "allowFrom": {channel: list(ids) for channel, ids in seen.elevated.allow_from.items()},
            "failures": failures,
        },
        "fixIt": [key for key, _ in fixes(seen, config)],
        "fixItCommands": [command for _, command in fixes(seen, config)],
    }
