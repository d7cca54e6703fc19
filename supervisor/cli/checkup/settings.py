"""Checks of the config file: is it good, is it up to date, does it mean what it seems to mean. Pure: facts in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protocol.config import GatewayAuth
from protocol.ids import normalize_account_id
from supervisor.cli.checkup.facts import Facts
from supervisor.cli.checkup.finding import Finding, Rewrite, error, note, warning
from supervisor.config import channels, legacy
from supervisor.config.edit import replace
from supervisor.config.problems import ROOT, Problem, where

_LOCAL = ("127.0.0.1", "::1", "localhost", "")


def valid(facts: Facts) -> Iterator[Finding]:
    """Everything that is wrong with the file, but for old spellings, which have a check of their own."""
    if not facts.settings.exists:
        yield note(
            f"no config file at {facts.paths.shorten(facts.paths.config)}: there is one agent, main",
            hint="openclaw gateway run --allow-unconfigured",
        )
    steps = legacy.outdated(facts.settings.authored)
    for problem in facts.settings.problems:
        if not any(legacy.explains(step, problem) for step in steps):
            yield error(_text(problem), where=_place(facts, problem), hint=problem.hint or "openclaw config validate")
    for missing in facts.settings.missing:
        hint = f"echo '{missing.name}=…' >> {facts.paths.shorten(facts.paths.state / '.env')}"
        yield warning(f"{missing.path} wants the variable {missing.name}, which has no value", hint=hint)


def _text(problem: Problem) -> str:
    return problem.message if problem.path == ROOT else f"{problem.path}: {problem.message}"


def _place(facts: Facts, problem: Problem) -> str:
    return str(facts.paths.config) if problem.path == ROOT and not problem.key else where(problem)


def odd(facts: Facts) -> Iterator[Finding]:
    """What is allowed and yet probably not meant."""
    for text in facts.settings.warnings:
        yield warning(text, hint="openclaw routes lint" if text.startswith("bindings") else "openclaw config file")


def outdated(facts: Facts) -> Iterator[Finding]:
    """Spellings of older versions."""
    problems = facts.settings.problems
    for step in legacy.outdated(facts.settings.authored):
        level = error if any(legacy.explains(step, problem) for problem in problems) else warning
        repair = Rewrite(f"replace {step.change}", legacy.modernise)
        yield level(f"old spelling: {step.text}", hint="openclaw doctor --fix", repair=repair)
    for name in sorted(facts.channels.keys() & {"discord", "slack"}):
        if _has_allow(facts.channels[name]):
            yield note(f"channels.{name}: allow on a room is the older word for enabled; both work, and both are kept")


def _has_allow(section: Any) -> bool:
    if not isinstance(section, dict):
        return False
    rooms = section.get("channels")
    listed = rooms.values() if isinstance(rooms, dict) else ()
    return any(isinstance(one, dict) and "allow" in one for one in listed) or any(
        _has_allow(inner) for key in ("guilds", "accounts") for inner in _values(section.get(key))
    )


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else []


def default_account(facts: Facts) -> Iterator[Finding]:
    """A channel with several accounts should say which one is meant when none is named."""
    for name, section in channels.sections(facts.channels):
        ids = channels.account_ids(section)
        if len(ids) < 2 or section.get("defaultAccount") or "default" in {normalize_account_id(one) for one in ids}:
            continue
        chosen = channels.default_account_id(section)
        yield warning(
            f"channels.{name} has {len(ids)} accounts and no default one: {chosen} is taken, the first in order; "
            f"set channels.{name}.defaultAccount or accounts.default",
            hint=f"openclaw config set channels.{name}.defaultAccount {chosen}",
            repair=_set(("channels", name, "defaultAccount"), chosen),
        )


def _set(path: tuple[str, ...], value: str) -> Rewrite:
    def mutate(config: dict[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] = replace(config, path, value)
        return changed

    return Rewrite(f"set {'.'.join(path)} to {value}", mutate)


def bound_accounts(facts: Facts) -> Iterator[Finding]:
    """A binding to an account that is not configured never gets a message."""
    for index, row in enumerate(facts.settings.config.bindings):
        channel, account = row.match.channel.strip().lower(), (row.match.account_id or "").strip()
        if row.type != "route" or account in ("", "*") or channel not in channels.LABELS:
            continue
        section = facts.channels.get(channel, {})
        known = channels.configured_accounts(channel, section, facts.settings.environ) if section else ()
        if normalize_account_id(account) not in {normalize_account_id(one) for one in known}:
            yield warning(
                f"bindings.{index}: {channel} account {account} is not configured, so agent {row.agent_id} gets "
                "nothing by it",
                where=f"$.bindings[{index}].match.accountId",
                hint=f"openclaw channels login --channel {channel} --account {account}",
            )


def gateway_door(facts: Facts) -> Iterator[Finding]:
    """The HTTP port: open to the network only behind a token that its owner knows."""
    gateway = facts.settings.config.gateway
    auth, bind = gateway.auth or GatewayAuth(), gateway.bind or "loopback"
    if gateway.mode == "remote":
        yield warning(
            "gateway.mode is remote: a gateway here does not start", hint="openclaw config set gateway.mode local"
        )
    if auth.mode is None and auth.token and auth.password:
        hint = "openclaw config set gateway.auth.mode token"
        yield error("gateway.auth.token and gateway.auth.password are both set", where="$.gateway.auth.mode", hint=hint)
    host = gateway.custom_bind_host or "" if bind == "custom" else ""
    named = ("OPENCLAW_GATEWAY_TOKEN", "OPENCLAW_GATEWAY_PASSWORD")
    secret = auth.token or auth.password or any(facts.settings.environ.get(name) for name in named)
    if (bind == "lan" or (bind == "custom" and host not in _LOCAL)) and (auth.mode == "none" or not secret):
        yield error(
            f"gateway.bind is {bind} and nothing guards the port: the gateway refuses to start",
            where="$.gateway.bind",
            hint='openclaw config set gateway.auth.token "$(openssl rand -hex 24)"',
        )
