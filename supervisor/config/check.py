"""Whether a configuration makes sense: its schema, and the rules across fields.

Reports everything at once. Problems stop the gateway, warnings do not. Values in, findings out; the disk is asked only
where links of bound folders lead (`binds`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

import msgspec

from protocol.config import Config
from protocol.ids import normalize_agent_id, normalize_channel
from protocol.paths import Paths
from supervisor.config import agents as roster
from supervisor.config import binds, channel_schema, sandbox_check
from supervisor.config.channels import LABELS, TOKEN_KEYS, account_ids, default_account_id, sections
from supervisor.config.legacy import BIND
from supervisor.config.problems import Problem, dotted
from supervisor.config.salvage import salvage
from supervisor.config.secretrefs import check as check_ref
from supervisor.config.secretrefs import is_ref
from supervisor.config.shape import listed, place
from supervisor.config.walk import suggest, walk, wrong_choice, wrong_type

#: Nobody reads more at once, and a guess of what was meant takes its time for each.
MAX_PROBLEMS = 200
#: JavaScript patterns that a linear-time engine cannot run.
_NOT_LINEAR = re.compile(r"\(\?<?[=!]|\\[1-9]|\\k<")
#: A login of a consumer subscription, which providers forbid to pool.
_SUBSCRIPTION = "sk-ant-oat"
_PEER_KINDS = ("direct", "group", "channel", "dm")
_STRATEGIES = ("parallel", "sequential")

#: Path, what stands there, what is above it.
_Level = tuple[tuple[str, ...], Mapping[str, Any], Mapping[str, Any]]


def problems(value: Any, paths: Paths) -> tuple[Problem, ...]:
    """What is wrong with a value (after `$include` and `${VAR}`), in file order; empty when nothing is."""
    if not isinstance(value, dict):
        return (wrong_type("object", value, ()),)
    listing = listed(value)
    everything = chain(walk(listing, Config), channel_schema.problems(value.get("channels")), _across(listing, paths))
    found = [_with_hint(place(problem, value), value) for problem in islice(everything, MAX_PROBLEMS)]
    order = {key: index for index, key in enumerate(value)}
    return tuple(sorted(dict.fromkeys(found), key=lambda one: order.get(one.path.split(".")[0], -1)))


def _with_hint(problem: Problem, value: Mapping[str, Any]) -> Problem:
    """Old spellings are told what they are today."""
    bind = _dict(value, "gateway").get("bind")
    if problem.path == "gateway.bind" and str(bind).strip().lower() in BIND:
        return Problem(
            problem.path, problem.message, f'use "{BIND[str(bind).strip().lower()]}" (openclaw doctor --fix)'
        )
    return problem


def warnings(value: Mapping[str, Any]) -> tuple[str, ...]:
    """What is allowed and yet probably not meant. `value` has no problems."""
    return (*_agent_warnings(value), *_sandbox_warnings(value), *_binding_warnings(value), *_access_warnings(value))


def _across(value: Mapping[str, Any], paths: Paths) -> Iterator[Problem]:
    yield from _duplicate_agent_dirs(value, paths)
    yield from _unknown_agents(value)
    yield from _peer_kinds(value)
    yield from _broadcast(value)
    for name, section in sections(_dict(value, "channels")):
        yield from _open_without_star(name, section)
        yield from _shared_tokens(name, section)
    yield from _everywhere(value, ())
    yield from _binds(value, paths)


def _binds(value: Mapping[str, Any], paths: Paths) -> Iterator[Problem]:
    """Against the disk, for what is left of a configuration without its mistakes of form."""
    _, config = salvage({"agents": value.get("agents") or {}, "session": value.get("session") or {}})
    yield from binds.problems(config, paths)


def _everywhere(value: Any, at: tuple[str | int, ...]) -> Iterator[Problem]:
    """Rules for objects wherever they stand."""
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _everywhere(inner, (*at, index))
    elif isinstance(value, str) and "\0" in value:
        yield Problem(dotted(at), "Invalid input: a NUL character")
    elif is_ref(value):
        if problem := check_ref(value):
            yield Problem(dotted(at), problem)
    elif isinstance(value, dict):
        yield from _object(value, at)
        for key, inner in value.items():
            yield from _everywhere(inner, (*at, key))


def _object(value: Mapping[str, Any], at: tuple[str | int, ...]) -> Iterator[Problem]:
    if value.get("allow") and value.get("alsoAllow") and "tools" in at:
        yield Problem(dotted(at), "Invalid input: allow and alsoAllow exclude each other", "put all names into allow")
    for index, pattern in enumerate(_list(value, "mentionPatterns")):
        if isinstance(pattern, str) and _NOT_LINEAR.search(pattern):
            place = dotted((*at, "mentionPatterns", index))
            yield Problem(place, f"mention pattern {pattern!r} needs lookaround or a backreference: not supported")
    if str(value.get("apiKey", "")).startswith(_SUBSCRIPTION):
        message = "this is a login of a consumer subscription; providers forbid sharing it, use an API key"
        yield Problem(dotted((*at, "apiKey")), message)
    if at[-2:] == ("sandbox", "docker"):
        yield from sandbox_check.problems(value, at)
    if at[:1] == ("agents",) and at[-1] == "sandbox":
        yield from sandbox_check.sandbox_problems(value, at)
    if isinstance(value.get("apiRoot"), str) and "/bot" in value["apiRoot"]:
        yield Problem(dotted((*at, "apiRoot")), "must be the root of the API, without /bot<token>")


def _agents(value: Mapping[str, Any]) -> list[tuple[int, str, Mapping[str, Any]]]:
    """Index, normalised id and entry of every listed agent that has the right shape."""
    entries = enumerate(_list(_dict(value, "agents"), "list"))
    return [
        (index, normalize_agent_id(entry["id"]), entry)
        for index, entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    ]


def _duplicate_agent_dirs(value: Mapping[str, Any], paths: Paths) -> Iterator[Problem]:
    owners: dict[str, list[str]] = {}
    for _, agent_id, entry in _agents(value):
        own = entry.get("agentDir")
        named = isinstance(own, str) and own.strip()
        folder = os.path.normpath(paths.expand(str(own).strip()) if named else paths.agent_dir(agent_id))
        if agent_id not in owners.setdefault(folder, []):
            owners[folder].append(agent_id)
    for folder, ids in owners.items():
        if len(ids) > 1:
            listed = ", ".join(f'"{one}"' for one in ids)
            message = f"Duplicate agentDir detected (multi-agent config). Conflicts: {folder}: {listed}"
            yield Problem("agents.list", message, "to share credentials copy auth-profiles.json, never the folder")


def _unknown_agents(value: Mapping[str, Any]) -> Iterator[Problem]:
    known = list(dict.fromkeys(agent_id for _, agent_id, _ in _agents(value)))
    if not known:
        return
    for index, binding in _bindings(value):
        wanted = binding.get("agentId")
        if isinstance(wanted, str) and wanted.strip() and normalize_agent_id(wanted) not in known:
            hint = suggest(wanted, known) or f"openclaw agents add {normalize_agent_id(wanted)}"
            yield Problem(f"bindings.{index}.agentId", f'unknown agent "{wanted}"', hint)


def _peer_kinds(value: Mapping[str, Any]) -> Iterator[Problem]:
    for index, binding in _bindings(value):
        kind = _dict(_dict(binding, "match"), "peer").get("kind")
        if isinstance(kind, str) and kind.strip().lower() not in _PEER_KINDS:
            yield wrong_choice(_PEER_KINDS, kind, ("bindings", index, "match", "peer", "kind"))


def _broadcast(value: Mapping[str, Any]) -> Iterator[Problem]:
    for key, inner in _dict(value, "broadcast").items():
        if key != "strategy":
            yield from walk(inner, tuple[str, ...], ("broadcast", key))
        elif inner not in _STRATEGIES:
            yield wrong_choice(_STRATEGIES, inner, ("broadcast", key))


def _levels(name: str, section: Mapping[str, Any]) -> Iterator[_Level]:
    """The channel's root and its accounts."""
    yield ("channels", name), section, {}
    for account, settings in _dict(section, "accounts").items():
        if isinstance(settings, dict):
            yield ("channels", name, "accounts", account), settings, section


def _open_without_star(name: str, section: Mapping[str, Any]) -> Iterator[Problem]:
    for at, own, above in _levels(name, section):
        allowed = own.get("allowFrom", above.get("allowFrom"))
        if own.get("dmPolicy") == "open" and "*" not in (allowed if isinstance(allowed, list) else []):
            message = 'dmPolicy "open" requires allowFrom to include "*"'
            yield Problem(dotted((*at, "allowFrom")), message, 'allowFrom: ["*"]')


def _shared_tokens(name: str, section: Mapping[str, Any]) -> Iterator[Problem]:
    """One login cannot be polled twice: the platform would cut the two connections in turn."""
    for key in TOKEN_KEYS.get(name, ())[:1]:
        seen: dict[str, str] = {}
        for at, own, _ in _levels(name, section):
            token, account = own.get(key), at[-1] if len(at) > 2 else "default"
            if not token or own.get("enabled") is False:
                continue
            first = seen.setdefault(repr(token), account)
            if first != account:
                hint = f"openclaw channels login --channel {name} --account {account}"
                yield Problem(dotted((*at, key)), f'the same token as account "{first}"', hint)


def _agent_warnings(value: Mapping[str, Any]) -> Iterator[str]:
    seen: set[str] = set()
    defaults = []
    for index, agent_id, entry in _agents(value):
        if agent_id in seen:
            yield f'agents.list.{index}: agent "{agent_id}" is listed already; the first entry is used'
        elif entry.get("default"):
            defaults.append(agent_id)
        seen.add(agent_id)
    if len(defaults) > 1:
        yield f'agents.list: {len(defaults)} agents are marked default; "{defaults[0]}" is it'


def _sandbox_warnings(value: Mapping[str, Any]) -> Iterator[str]:
    """Of agents as they are after the defaults; `value` is a whole configuration."""
    config = msgspec.convert({"agents": value.get("agents") or {}}, Config, strict=False)
    tools = _dict(value, "tools")
    listed = [_sandboxed(config, tools, *one) for one in _agents(value)] or [_sandboxed(config, tools, -1, "main", {})]
    yield from sandbox_check.warnings(tuple(listed))


def _sandboxed(
    config: Config, tools: Mapping[str, Any], index: int, agent: str, entry: Mapping[str, Any]
) -> sandbox_check.Sandboxed:
    settings = roster.sandbox(config, agent)
    allowed = (_dict(_dict(_dict(one, "tools"), "sandbox"), "tools").get("allow") for one in (entry, {"tools": tools}))
    return sandbox_check.Sandboxed(
        at=dotted(("agents", "list", index)) if index >= 0 else "agents.defaults",
        agent=agent,
        tenant=str(entry.get("tenant") or "").strip(),
        own=_dict(entry, "sandbox"),
        mode=settings.mode,
        scope=settings.scope,
        access=settings.workspace_access,
        docker=settings.docker,
        tools=tuple(next((one for one in allowed if isinstance(one, list)), ())),
    )


def _binding_warnings(value: Mapping[str, Any]) -> Iterator[str]:
    channels = _dict(value, "channels")
    for index, binding in _bindings(value):
        match = _dict(binding, "match")
        channel = normalize_channel(str(match.get("channel", "")))
        if channel not in LABELS:
            hint = suggest(channel, list(LABELS))
            yield f'bindings.{index}.match.channel: unknown channel "{channel}"' + (f"; {hint}" if hint else "")
        elif not str(match.get("accountId") or "").strip():
            yield from _not_matched(index, channel, _dict(channels, channel))


def _not_matched(index: int, channel: str, section: Mapping[str, Any]) -> Iterator[str]:
    ids, default = account_ids(section), default_account_id(section)
    others = ", ".join(one for one in ids if one != default)
    if others:
        yield (
            f'bindings.{index}: without accountId it is for the {channel} account "{default}" only, not for {others}; '
            'accountId: "*" means all'
        )


def _access_warnings(value: Mapping[str, Any]) -> Iterator[str]:
    for name, section in sections(_dict(value, "channels")):
        for at, own, above in _levels(name, section):
            if own.get("dmPolicy") == "allowlist" and not own.get("allowFrom", above.get("allowFrom")):
                yield f"{dotted((*at, 'allowFrom'))}: dmPolicy allowlist with an empty list blocks every direct message"


def _bindings(value: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for index, binding in enumerate(_list(value, "bindings")):
        if isinstance(binding, dict) and binding.get("type", "route") == "route":
            yield index, binding


def _dict(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    inner = value.get(key)
    return inner if isinstance(inner, dict) else {}


def _list(value: Mapping[str, Any], key: str) -> list[Any]:
    inner = value.get(key)
    return inner if isinstance(inner, list) else []
