"""Checks of who may talk and whose keys are used: channel accounts, model keys, people in one session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from protocol.accounts import account_settings
from protocol.config import Binding
from protocol.ids import normalize_account_id, normalize_agent_id
from protocol.slices_proxy import PROVIDER_VARIABLES
from supervisor.cli.checkup.facts import Facts, read_json
from supervisor.cli.checkup.finding import Finding, error, note, warning
from supervisor.config import agents, channels
from supervisor.config.channels import label

#: A login of a consumer subscription, which providers forbid to pool.
SUBSCRIPTION = "sk-ant-oat"
#: Channels that this build connects to by itself.
BUILT_IN = frozenset({"telegram", "irc"})


def accounts(facts: Facts) -> Iterator[Finding]:
    """An account without a login is not there; one of another build is not either."""
    for name, section in channels.sections(facts.channels):
        ours = name in BUILT_IN or "bridge" in section
        for account in channels.configured_accounts(name, section, facts.settings.environ):
            state = channels.account_state(name, section, account, facts.settings.environ)
            if not state.enabled:
                continue
            if not ours:
                yield note(f"{label(name)} account {account}: this build does not connect to {label(name)}")
            elif not state.configured and "bridge" not in section:
                hint = f"openclaw channels login --channel {name} --account {account}"
                yield warning(f"{label(name)} account {account} has no login", hint=hint)


def model_keys(facts: Facts) -> Iterator[Finding]:
    """Each agent's own auth-profiles.json, and whether it has any key at all."""
    shared = _shared_key(facts)
    for agent_id in facts.agents if facts.settings.readable else ():
        file = facts.agent_dir(agent_id) / "auth-profiles.json"
        found = list(_profile_findings(agent_id, file, facts.now))
        yield from found
        if agents.entry(facts.settings.config, agent_id).api_key is None and not file.exists() and not shared:
            yield warning(
                f"agent {agent_id} has no model key: a model server on this machine answers, or the offline model",
                hint="openclaw config set env.ANTHROPIC_API_KEY YOUR-KEY",
            )


def _shared_key(facts: Facts) -> bool:
    """Whether the environment or a provider's entry has a key for everybody."""
    providers = facts.settings.config.models.providers or {}
    return any(one.api_key or one.base_url for one in providers.values()) or any(
        facts.settings.environ.get(name) for name in PROVIDER_VARIABLES if "KEY" in name
    )


def _profile_findings(agent_id: str, file: Path, now: float) -> Iterator[Finding]:
    try:
        content = read_json(file)
    except ValueError as problem:
        text = str(problem).split("\n")[0]
        yield _damaged(f"agent {agent_id}: its auth profiles cannot be read: {text}", file)
        return
    profiles = content.get("profiles") if isinstance(content, dict) else None
    if content is not None and not isinstance(profiles, dict):
        yield _damaged(f"agent {agent_id}: its auth profiles hold no profiles", file)
    for name, profile in (profiles or {}).items():
        if isinstance(profile, dict):
            yield from _profile(agent_id, str(name), profile, file, now)


def _damaged(text: str, file: Path) -> Finding:
    return error(text, where=str(file), hint=f"mv {file} {file}.damaged")


def _profile(agent_id: str, name: str, profile: Mapping[str, Any], file: Path, now: float) -> Iterator[Finding]:
    secret = str(profile.get("key") or profile.get("token") or profile.get("access") or "")
    expires = profile.get("expires")
    if secret.startswith(SUBSCRIPTION) or profile.get("type") == "oauth":
        yield error(
            f"agent {agent_id}: profile {name} is a login of a consumer subscription and is refused; use an API key",
            where=str(file),
            hint="xdg-open https://console.anthropic.com/settings/keys",
        )
    elif not secret and not profile.get("keyRef") and not profile.get("tokenRef"):
        yield warning(f"agent {agent_id}: profile {name} holds no key", where=str(file), hint=f"cat {file}")
    elif isinstance(expires, int | float) and not isinstance(expires, bool) and 0 < expires < now * 1000:
        yield warning(f"agent {agent_id}: profile {name} has expired", where=str(file), hint=f"cat {file}")


def shared_sessions(facts: Facts) -> Iterator[Finding]:
    """Several people whose direct messages share one conversation read each other's answers."""
    config = facts.settings.config
    if config.session.dm_scope not in (None, "main"):
        return
    people: dict[str, set[str]] = {}
    for channel, section in channels.sections(facts.channels):
        for account in channels.configured_accounts(channel, section, facts.settings.environ):
            for person in admitted(facts, channel, section, normalize_account_id(account)):
                agent_id = _owner(facts, channel, section, normalize_account_id(account), person)
                if agent_id:
                    people.setdefault(agent_id, set()).add(_known_as(facts, channel, person))
    for agent_id, names in sorted(people.items()):
        if len(names) > 1 or "*" in names:
            who = "anybody" if "*" in names else f"{len(names)} people"
            yield warning(
                f"agent {agent_id}: direct messages of {who} share its main session, so each may read the others'",
                where="$.session.dmScope",
                hint="openclaw config set session.dmScope per-channel-peer",
            )


def admitted(facts: Facts, channel: str, section: Mapping[str, Any], account: str) -> set[str]:
    """Who may write direct messages to an account: its list, and those let in by a code. `*` is anybody."""
    settings = account_settings(section, account, channel)
    policy, listed = settings.get("dmPolicy", "pairing"), settings.get("allowFrom")
    if policy == "disabled" or settings.get("enabled") is False:
        return set()
    found = {_plain(channel, one) for one in listed} if isinstance(listed, list) else set()
    return found if policy == "allowlist" else found | _approved(facts, channel, account)


def _approved(facts: Facts, channel: str, account: str) -> set[str]:
    try:
        content = read_json(facts.paths.credentials / f"{channel}-{account}-allowFrom.json")
    except ValueError:
        return set()
    entries = content.get("allowFrom") if isinstance(content, dict) else None
    return {_plain(channel, one) for one in entries} if isinstance(entries, list) else set()


def _plain(channel: str, entry: Any) -> str:
    text = str(entry).strip().lower()
    for prefix in (f"{channel}:", "tg:" if channel == "telegram" else "\0"):
        text = text.removeprefix(prefix)
    return text


def _owner(facts: Facts, channel: str, section: Mapping[str, Any], account: str, person: str) -> str:
    """The agent whose main session a person's direct messages reach; empty where a binding keeps them apart."""
    rows = [row for row in facts.settings.config.bindings if _covers(row, channel, section, account)]
    own = [row for row in rows if row.match.peer and str(row.match.peer.id or "").strip().lower() == person]
    wide = [row for row in rows if row.match.peer is None and row.match.guild_id is None and row.match.team_id is None]
    wide.sort(key=lambda row: row.match.account_id == "*")
    chosen = next(iter([*own, *wide]), None)
    if chosen is None:
        return agents.default_agent_id(facts.settings.config)
    apart = chosen.session is not None and chosen.session.dm_scope not in (None, "main")
    return "" if apart else normalize_agent_id(chosen.agent_id)


def _covers(row: Binding, channel: str, section: Mapping[str, Any], account: str) -> bool:
    if row.type != "route" or row.match.channel.strip().lower() != channel:
        return False
    named = (row.match.account_id or "").strip()
    wanted = normalize_account_id(named) if named else normalize_account_id(channels.default_account_id(section))
    return named == "*" or wanted == account


def _known_as(facts: Facts, channel: str, person: str) -> str:
    """One name for a person whose logins are linked."""
    for name, ids in (facts.settings.config.session.identity_links or {}).items():
        linked = {str(one).strip().lower() for one in ids} if isinstance(ids, list) else set()
        if {person, f"{channel}:{person}"} & linked:
            return f"={name}"
    return person if person == "*" else f"{channel}:{person}"


def pairing_files(facts: Facts) -> Iterator[Finding]:
    """A damaged list of approved people lets nobody in."""
    for file in sorted(facts.paths.credentials.glob("*-allowFrom.json")) + sorted(
        facts.paths.credentials.glob("*-pairing.json")
    ):
        try:
            damaged = not isinstance(read_json(file), dict)
        except ValueError:
            damaged = True
        if damaged:
            yield _damaged("the pairing file is damaged: nobody is let in by it", file)
