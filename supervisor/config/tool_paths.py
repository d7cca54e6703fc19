"""Why a tool is there or not: every layer of the policy with the place in the configuration it comes from. Pure.

The same layers in the same order as `protocol.tool_layers` makes them (a test holds that), for people who ask "why is
this blocked". What only a sender decides (`toolsBySender`, owner-only tools) is named, not applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from protocol.config import AgentTools, Config, ProviderTools, ToolList
from protocol.ids import normalize_agent_id
from protocol.session_key import parse_key
from protocol.tool_layers import inside, profile, profile_also
from protocol.tool_policy import ALL_TOOLS, OWNER_ONLY, admits, normalize, profile_layer
from supervisor.config import agents

Source = Literal["default", "global", "agent"]
#: In a sandbox that may only read its agent's workspace (SPEC 5.8).
READ_ONLY = ToolList(deny=("write", "edit", "apply_patch"))
#: Where an entry for one conversation may stand, nearest first.
_ROOMS = ("groups", "channels")


class Layer(msgspec.Struct, frozen=True):
    """One step of the policy, and the key that says it."""

    path: str
    list: ToolList


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one tool: `by` is the first layer that takes it away, empty for none; `notes` what depends."""

    tool: str
    allowed: bool
    by: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()


class SandboxTools(msgspec.Struct, frozen=True, kw_only=True):
    """The layer of sandboxed sessions, and who says each half of it."""

    list: ToolList
    allow: tuple[Source, str]
    deny: tuple[Source, str]


def layers(config: Config, agent_id: str, session_key: str, *, sandboxed: bool) -> tuple[Layer, ...]:
    """Every layer that says something, in its order."""
    own = agents.entry(config, agent_id).tools or AgentTools()
    model, _ = agents.model(config, agent_id)
    found = [*_profile(config, agent_id, own), *_lists(config, agent_id, own, model)]
    found += conversation(config.channels, session_key)
    if sandboxed:
        tools = sandbox_tools(config, agent_id)
        # The half that is configured names the key; else it is the default.
        path = next((key for source, key in (tools.allow, tools.deny) if source != "default"), tools.allow[1])
        found.append(Layer(path.rpartition(".")[0], tools.list))
        if agents.sandbox(config, agent_id).workspace_access == "ro":
            found.append(Layer("sandbox.workspaceAccess", READ_ONLY))
    return tuple(found)


def sandbox_tools(config: Config, agent_id: str) -> SandboxTools:
    """The last layer of a sandboxed session (RULES 3.6)."""
    entry = agents.entry(config, agent_id).tools or AgentTools()
    own, shared = _sandbox(entry), _sandbox(config.tools)
    root = f"{agent_path(config, agent_id)}.tools.sandbox.tools"

    def said(field: str, name: str) -> tuple[Source, str]:
        if getattr(own, field) is not None:
            return "agent", f"{root}.{name}"
        if getattr(shared, field) is not None:
            return "global", f"tools.sandbox.tools.{name}"
        return "default", f"tools.sandbox.tools.{name}"

    return SandboxTools(list=inside(config.tools, entry), allow=said("allow", "allow"), deny=said("deny", "deny"))


def verdict(tool: str, steps: tuple[Layer, ...], senders: str = "") -> Verdict:
    """What the layers make of one tool. `senders` is the key of a list by sender, where there is one."""
    name = normalize(tool)
    notes = [f"only for owners ({name})"] if name in OWNER_ONLY else []
    notes += [f"{senders} may take it away from some senders"] if senders else []
    for step in steps:
        if not admits(step.list, name):
            return Verdict(tool=name, allowed=False, by=step.path, reason=_reason(step, name), notes=tuple(notes))
    known = () if name in ALL_TOOLS else ("not a tool that the policy knows",)
    return Verdict(tool=name, allowed=True, notes=(*notes, *known))


def conversation(channels: Mapping[str, Any], session_key: str) -> list[Layer]:
    """The layer of the group or channel of this session, where one is configured for everybody in it."""
    found = next((one for one in _entries(channels, session_key) if isinstance(one[1].get("tools"), dict)), None)
    if found is None:
        return []
    path, entry = found
    try:
        return [Layer(f"{path}.tools", msgspec.convert(entry["tools"], ToolList, strict=False))]
    except msgspec.ValidationError:
        return [Layer(f"{path}.tools", ToolList(deny=("*",)))]


def by_sender(channels: Mapping[str, Any], session_key: str) -> str:
    """The key of a list that depends on who writes in this conversation; empty when there is none."""
    entries = _entries(channels, session_key)
    return next((f"{path}.toolsBySender" for path, entry in entries if entry.get("toolsBySender")), "")


def agent_path(config: Config, agent_id: str) -> str:
    """`agents.list[1]`; `agents.list[]` for one that has no entry."""
    wanted = normalize_agent_id(agent_id)
    for index, entry in enumerate(config.agents.list):
        if normalize_agent_id(entry.id) == wanted:
            return f"agents.list[{index}]"
    return "agents.list[]"


def _reason(step: Layer, tool: str) -> str:
    denied = step.list.deny and not admits(ToolList(deny=step.list.deny), tool)
    return "denied" if denied else "not in the list of what is allowed"


def _profile(config: Config, agent_id: str, own: AgentTools) -> Iterator[Layer]:
    path = f"{agent_path(config, agent_id)}.tools.profile" if own.profile else "tools.profile"
    for one in profile_layer(profile(config.tools, own), profile_also(config.tools, own)):
        yield Layer(path, one)


def _lists(config: Config, agent_id: str, own: AgentTools, model: str) -> Iterator[Layer]:
    at = agent_path(config, agent_id)
    all_key, of_all = _of_provider(config.tools.by_provider or {}, model)
    own_key, of_own = _of_provider(own.by_provider or {}, model)
    also = next((one for one in (of_own.also_allow, of_all.also_allow) if one is not None), ())
    name = of_own.profile or of_all.profile or ""
    root = f"{at}.tools.byProvider.{own_key}" if of_own.profile else f"tools.byProvider.{all_key}"
    for layer in profile_layer(name, also):
        yield Layer(f"{root}.profile", layer)
    listed = (
        ("tools", config.tools),
        (f"tools.byProvider.{all_key}", of_all),
        (f"{at}.tools", own),
        (f"{at}.tools.byProvider.{own_key}", of_own),
    )
    for path, one in listed:
        if one.allow or one.also_allow or one.deny:
            yield Layer(path, ToolList(allow=one.allow, also_allow=one.also_allow, deny=one.deny))


def _of_provider(by_provider: Mapping[str, ProviderTools], model: str) -> tuple[str, ProviderTools]:
    """As `protocol.tool_layers` finds it, with the key."""
    known = {name.strip().lower(): (name, entry) for name, entry in by_provider.items()}
    provider, _, name = model.strip().lower().partition("/")
    full = name if "/" in name else f"{provider}/{name}"
    nothing = ("", ProviderTools())
    return (known.get(full) or known.get(provider) or nothing) if provider else nothing


def _sandbox(tools: AgentTools) -> ToolList:
    return (tools.sandbox.tools if tools.sandbox else None) or ToolList()


def _entries(channels: Mapping[str, Any], session_key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Entries for the conversation of a session key, nearest first: its own, that of everybody, its guilds'."""
    parsed = parse_key(session_key)
    parts = parsed.rest.split(":") if parsed else []
    if len(parts) < 3 or parts[1] not in ("group", "channel"):
        return
    section, ids = channels.get(parts[0]), (parts[2], "*")
    if not isinstance(section, dict):
        return
    for at, level in _levels(parts[0], section):
        for room in _ROOMS:
            yield from _named(f"{at}.{room}", level.get(room), ids)
        for guild_path, guild in _named(f"{at}.guilds", level.get("guilds"), ()):
            yield from _named(f"{guild_path}.channels", guild.get("channels"), ids)


def _levels(channel: str, section: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    accounts = section.get("accounts")
    for name, one in accounts.items() if isinstance(accounts, dict) else ():
        if isinstance(one, dict):
            yield f"channels.{channel}.accounts.{name}", one
    yield f"channels.{channel}", section


def _named(at: str, entries: Any, ids: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The entries of these names; of all of them when none is named."""
    known = entries if isinstance(entries, dict) else {}
    lowered = {str(name).strip().lower(): name for name in known}
    for name in [lowered[one] for one in ids if one in lowered] if ids else list(known):
        if isinstance(known[name], dict):
            yield f"{at}.{name}", known[name]
