"""`agents list`: what each agent is and what reaches it (SPEC 3.2.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protocol.errors import UserError
from supervisor.cli import client, output
from supervisor.cli.context import Context
from supervisor.config import agents as rules
from supervisor.config import bindings as rows
from supervisor.config import channels
from supervisor.config.load import Loaded

_FIELD = re.compile(r"^\s*[-*]\s*\*\*(\w+):\*\*[ \t]*(.*?)\s*$", re.MULTILINE)
_MAX_IDENTITY = 64 * 1024
#: Kinds of process state that mean an agent cannot answer.
_TROUBLED = frozenset({"quarantined", "failed", "fatal", "backoff", "waiting"})


def show(ctx: Context, *, json: bool, bindings: bool) -> None:
    """Print the roster as text or JSON."""
    loaded = ctx.load()
    found = [_describe(ctx, loaded, agent_id) for agent_id in rules.agent_ids(loaded.config)]
    if json:
        output.document_of([_as_json(one, bindings) for one in found])
        return
    troubles = _troubles(ctx)
    output.data("Agents:")
    for one in found:
        for line in _lines(ctx, one, bindings, troubles.get(one["id"], "")):
            output.data(line)
    output.data("Routing rules map channel/account/peer to an agent. Use --bindings for full rules.")
    output.data("Channel status reflects local config/creds. For live health: openclaw channels status --probe.")
    if bindings:
        print(_table(loaded, found))


def read_identity(file: Path) -> dict[str, str]:
    """The fields of an IDENTITY.md; placeholders in italics and empty ones are left out."""
    try:
        text = file.read_bytes()[:_MAX_IDENTITY].decode("utf-8", "replace")
    except OSError:
        return {}
    pairs = {match[1].lower(): match[2] for match in _FIELD.finditer(text)}
    real = {key: value for key, value in pairs.items() if value and not re.match(r"[_*(]", value)}
    theme = real.get("theme") or real.get("creature") or real.get("vibe")
    found = {key: real[key] for key in ("name", "emoji", "avatar") if key in real}
    return found | ({"theme": theme} if theme else {})


def _describe(ctx: Context, loaded: Loaded, agent_id: str) -> dict[str, Any]:
    config = loaded.config
    entry = rules.entry(config, agent_id)
    workspace = rules.workspace(config, ctx.paths, agent_id)
    mine = [row for row in loaded.values.get("bindings") or () if rows.is_route(row) and rows.owner(row) == agent_id]
    identity, source = _identity(entry.identity, workspace)
    return {
        "id": agent_id,
        "name": entry.name if entry.name and entry.name != agent_id else None,
        "identityName": identity.get("name"),
        "identityEmoji": identity.get("emoji"),
        "identitySource": source,
        "workspace": str(workspace),
        "agentDir": str(rules.agent_dir(config, ctx.paths, agent_id)),
        "model": rules.model(config, agent_id)[0] if entry.model else None,
        "bindings": len(mine),
        "isDefault": agent_id == rules.default_agent_id(config),
        "bindingDetails": [rows.describe_fully(row) for row in mine],
        "routes": list(dict.fromkeys(_route(row) for row in mine)),
        "providers": list(dict.fromkeys(filter(None, (_provider(loaded, row) for row in mine)))),
        "rows": mine,
    }


def _identity(configured: Any, workspace: Path) -> tuple[dict[str, str], str | None]:
    if configured is not None and (configured.name or configured.emoji):
        return {"name": configured.name or "", "emoji": configured.emoji or ""}, "config"
    found = read_identity(workspace / "IDENTITY.md")
    return (found, "IDENTITY.md") if found.get("name") or found.get("emoji") else ({}, None)


def _route(row: rows.Row) -> str:
    match = row["match"]
    return f"{channels.label(str(match['channel']).strip().lower())} {match.get('accountId') or 'default'}"


def _provider(loaded: Loaded, row: rows.Row) -> str:
    """`Telegram default: configured`, empty for a channel that is not configured at all."""
    channel = str(row["match"]["channel"]).strip().lower()
    section = loaded.values.get("channels", {}).get(channel)
    if not isinstance(section, dict):
        return ""
    account = str(row["match"].get("accountId") or channels.default_account_id(section))
    state = channels.account_state(channel, section, account, loaded.environ)
    return f"{channels.label(channel)} {account}: {state.word}"


def _as_json(one: dict[str, Any], bindings: bool) -> dict[str, Any]:
    hidden = {"rows"} | (set() if bindings else {"bindingDetails"})
    return {key: value for key, value in one.items() if key not in hidden and value not in (None, "", [])}


def _lines(ctx: Context, one: dict[str, Any], bindings: bool, trouble: str) -> list[str]:
    title = f"- {one['id']}" + (f" ({one['name']})" if one["name"] else "") + (" (default)" if one["isDefault"] else "")
    lines = [title]
    if one["identitySource"]:
        who = " ".join(filter(None, (one["identityEmoji"], one["identityName"])))
        lines.append(f"  Identity: {who} ({one['identitySource']})")
    lines += [f"  Workspace: {ctx.short(one['workspace'])}", f"  Agent dir: {ctx.short(one['agentDir'])}"]
    lines += [f"  Model: {one['model']}"] if one["model"] else []
    lines.append(f"  Routing rules: {one['bindings']}")
    if one["routes"]:
        lines.append(f"  Routing: {', '.join(one['routes'])}")
    elif one["isDefault"]:
        lines.append("  Routing: default (no explicit rules)")
    lines += ["  Providers:", *(f"    - {text}" for text in one["providers"])] if one["providers"] else []
    lines += [f"  Problem: {trouble}"] if trouble else []
    if bindings and one["bindingDetails"]:
        lines += ["  Routing rules:", *(f"    - {text}" for text in one["bindingDetails"])]
    return lines


def _troubles(ctx: Context) -> dict[str, str]:
    """Why an agent of the running gateway cannot answer; nothing when no gateway runs."""
    try:
        processes = client.status(ctx.paths).processes
    except UserError:
        return {}
    return {
        one.agent: f"{one.state}: {one.reason}"
        for one in processes
        if one.kind == "worker" and one.reason and one.state in _TROUBLED
    }


def _table(loaded: Loaded, found: Sequence[dict[str, Any]]) -> str:
    """Which channel goes to which agent."""
    lines: list[list[str]] = []
    for one in found:
        for row in one["rows"]:
            match = row["match"]
            kind = channels.label(str(match["channel"]).strip().lower())
            detail = rows.describe_fully({"match": {**match, "channel": "", "accountId": ""}}).strip()
            state = _provider(loaded, row).rpartition(": ")[2] or "not configured"
            lines.append([one["id"], kind, match.get("accountId") or "default", detail or "any", state])
        if one["isDefault"]:
            lines.append([one["id"], "any", "any", "everything else", ""])
    return output.table(["Agent", "Channel", "Account", "Match", "Status"], lines)
