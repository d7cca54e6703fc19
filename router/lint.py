"""What is wrong with a binding table, each statement proved by a message that was run through it. Pure.

The reasoning is exact, not a sample: `samples` says why a handful of messages decides for all of them. The cost is a
few lookups for each binding, so ten thousand bindings take about a second.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator

from protocol.ids import normalize_account_id, normalize_agent_id
from protocol.routes import Example, Finding, Linted, RoutesConfig, Severity
from router import bindings, platforms, tenants
from router.bindings import ANY, Rule
from router.prover import Prover

_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


def lint(config: RoutesConfig) -> Linted:
    """Every defect of a table: errors first, then in config order."""
    prover = Prover(config)
    found = [finding for rule in prover.rules for finding in _of_rule(prover, rule)]
    found += _uncovered(prover)
    found += tenants.crossings(prover)
    ranked = sorted(found, key=lambda one: _ORDER[one.severity])
    return Linted(findings=tuple(ranked), bindings=len(prover.rules), checked=prover.checked)


def path_of(rule: Rule) -> str:
    return f"$.bindings[{rule.order}]"


def _of_rule(prover: Prover, rule: Rule) -> Iterator[Finding]:
    """The findings of one binding. One that can match nothing is told once, not for every consequence."""
    yield from _unknown_agent(prover, rule)
    if reason := rule.void:
        yield Finding(severity="error", code="unreachable", path=path_of(rule), message=f"never matches: {reason}")
        return
    if impossible := platforms.impossible(rule, prover.samples):
        yield from _impossible(prover, rule, impossible)
        return
    yield from _not_configured(prover, rule)
    dead = list(_dead(prover, rule))
    yield from dead
    if not dead:
        yield from _misses_accounts(prover, rule)


# --- one binding by itself ---------------------------------------------------------------------------------------


def _unknown_agent(prover: Prover, rule: Rule) -> Iterator[Finding]:
    config = prover.config
    written = config.bindings[rule.order].agent_id.strip()
    known = [agent.id for agent in config.agents]
    if not config.listed or not written or normalize_agent_id(written) in known:
        return
    hint = close(written, known) or f"openclaw agents add {normalize_agent_id(written)}"
    message = f'unknown agent "{written}": what it matches goes to the default agent {config.default_agent}'
    example = _first_win(prover, rule)
    yield _finding("error", "unknown-agent", path_of(rule), message, example, hint)


def _impossible(prover: Prover, rule: Rule, impossible: platforms.Impossible) -> Iterator[Finding]:
    example = prover.run(impossible.instead)
    if example.binding != rule.order:
        message = f"never matches: {impossible.reason}"
        yield _finding("error", "unreachable", path_of(rule), message, example, impossible.hint)


def _not_configured(prover: Prover, rule: Rule) -> Iterator[Finding]:
    channel, known = rule.channel, prover.accounts
    if channel not in known:
        yield from _no_channel(prover, rule)
    elif rule.account != ANY and rule.account not in known[channel]:
        message = f'account "{rule.account}" of {channel} is not configured: no message comes in there'
        hint = close(rule.account, known[channel])
        hint = hint or f"openclaw channels login --channel {channel} --account {rule.account}"
        yield _finding("warning", "unknown-account", path_of(rule), message, _first_win(prover, rule), hint)


def _no_channel(prover: Prover, rule: Rule) -> Iterator[Finding]:
    channel = rule.channel
    if channel not in prover.config.known_channels:
        names = [*prover.accounts, *prover.config.known_channels]
        hint = close(channel, names) or "openclaw channels list"
        yield _finding("error", "unknown-channel", path_of(rule), f'unknown channel "{channel}"', None, hint)
    else:
        message = f"channel {channel} is not configured: no message comes in there yet"
        yield _finding("note", "unconfigured-channel", path_of(rule), message, _first_win(prover, rule))


def _misses_accounts(prover: Prover, rule: Rule) -> Iterator[Finding]:
    """A binding without accountId is for one account. Where the same demand is answered by nobody of its own tier on
    another account, somebody is likely to believe that it is answered by this one."""
    others = [one for one in prover.accounts.get(rule.channel, ()) if one != rule.account]
    if rule.written_account or not others:
        return
    missed = [(account, example) for account in others if (example := _missed(prover, rule, account)) is not None]
    if not missed:
        return
    names = bindings.listed([account for account, _ in missed])
    message = f'without accountId it is for the {rule.channel} account "{rule.account}" only; it misses {names}'
    hint = f'accountId: "*" for all accounts, or accountId: "{rule.account}" to say that it is meant'
    yield _finding("warning", "misses-accounts", path_of(rule), message, missed[0][1], hint)


def _missed(prover: Prover, rule: Rule, account: str) -> Example | None:
    for message in prover.samples.smallest(rule, account):
        example = prover.run(message)
        winner = prover.by_order.get(example.binding) if example.binding is not None else None
        if example.agent != rule.agent and _is_left_to_lower(rule, winner):
            return example
    return None


def _is_left_to_lower(rule: Rule, winner: Rule | None) -> bool:
    """A rule for all of an account competes with the channel's rule; one for a peer with whatever is wider."""
    if winner is None:
        return True
    return rule.tier != bindings.ACCOUNT and bindings.TIERS.index(winner.tier) > bindings.TIERS.index(rule.tier)


def _first_win(prover: Prover, rule: Rule) -> Example | None:
    """A message that the rule takes."""
    wins = (prover.wins(rule, account) for account in prover.samples.accounts_of(rule))
    return next((example for example in wins if example is not None), None)


# --- one binding among the others --------------------------------------------------------------------------------


def _dead(prover: Prover, rule: Rule) -> Iterator[Finding]:
    """What takes everything that a binding asks for."""
    lost = prover.losses(rule)
    if lost is None:
        if rule.account == ANY and prover.accounts.get(rule.channel):
            yield from _idle(prover, rule)
        return
    takers = _takers(prover, lost)
    example = lost[0]
    if same := prover.twin(rule):
        yield _twin(rule, same, example)
    elif any(taker.tier != rule.tier for taker in takers):
        told = f"{_named(takers)} {_verb(takers, 'stands', 'stand')} higher and {_verb(takers, 'takes', 'take')}"
        yield _dead_finding("unreachable", "warning", rule, f"{told} everything it asks for", example)
    else:
        told = f"{_named(takers)} {_verb(takers, 'is', 'are')} earlier and {_verb(takers, 'takes', 'take')}"
        yield _dead_finding("shadowed", "warning", rule, f"{told} everything it asks for", example)


def _twin(rule: Rule, same: Rule, example: Example) -> Finding:
    if same.agent == rule.agent:
        message = f"the same as bindings[{same.order}]"
        if same.dm_scope != rule.dm_scope:
            message += f", whose dmScope ({same.dm_scope or 'not set'}) holds"
        return _dead_finding("duplicate", "warning", rule, message, example, "remove one of the two")
    message = f"asks for the same as bindings[{same.order}], which gives it to {same.agent} and not to {rule.agent}"
    return _dead_finding("contradictory", "error", rule, message, example, "remove the one that is wrong")


def _idle(prover: Prover, rule: Rule) -> Iterator[Finding]:
    """A fallback for all accounts that every account of today has something better for."""
    lost = prover.losses(rule, real_only=True)
    if lost:
        message = "no message reaches it today: every configured account has bindings that come first"
        yield _finding("note", "idle", path_of(rule), message, lost[0])


def _takers(prover: Prover, lost: Collection[Example]) -> list[Rule]:
    orders = {example.binding for example in lost if example.binding is not None}
    return [prover.by_order[order] for order in sorted(orders)]


def _named(takers: Collection[Rule]) -> str:
    names = [f"bindings[{taker.order}]" for taker in takers]
    shown = names[:3] + ([f"{len(names) - 3} more"] if len(names) > 3 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _verb(takers: Collection[Rule], one: str, many: str) -> str:
    return one if len(takers) == 1 else many


def _dead_finding(code: str, severity: Severity, rule: Rule, message: str, example: Example, hint: str = "") -> Finding:
    advice = {
        "shadowed": "move it up, or ask for something more specific",
        "unreachable": "ask for a peer, or remove it",
    }
    return _finding(severity, code, path_of(rule), message, example, hint or advice.get(code, ""))


# --- accounts ----------------------------------------------------------------------------------------------------


def _uncovered(prover: Prover) -> Iterator[Finding]:
    """Accounts that no binding speaks of, where there are several agents to choose from."""
    config = prover.config
    if len(config.agents) < 2 or not prover.rules:
        return
    named = {(rule.channel, rule.account) for rule in prover.rules if not rule.void}
    for channel, accounts in prover.accounts.items():
        for account in accounts:
            if prover.settings[channel, account].get("enabled") is not False:
                yield from _coverage(prover, channel, account, {(channel, account), (channel, ANY)} & named)


def _coverage(prover: Prover, channel: str, account: str, spoken: Collection[object]) -> Iterator[Finding]:
    lost = next((one for one in prover.strangers(channel, account) if one.binding is None), None)
    if lost is None:
        return
    path, agent = account_path(prover.config, channel, account), prover.config.default_agent
    hint = f"openclaw agents bind --agent {agent} --bind {channel}:{account}"
    if spoken:
        message = f"who is named by no binding of {channel}/{account} is answered by the default agent {agent}"
        yield _finding("note", "falls-to-default", path, message, lost, hint)
    else:
        message = f"no binding covers {channel}/{account}: everybody there is answered by the default agent {agent}"
        yield _finding("warning", "uncovered", path, message, lost, hint)


def account_path(config: RoutesConfig, channel: str, account: str) -> str:
    section = config.channels.get(channel)
    named = section.get("accounts") if isinstance(section, dict) else None
    for key in named if isinstance(named, dict) else ():
        if normalize_account_id(str(key)) == account:
            return f"$.channels.{channel}.accounts.{key}"
    return f"$.channels.{channel}"


# --- words -------------------------------------------------------------------------------------------------------


def close(word: str, known: Collection[str]) -> str:
    """`did you mean "x"?`, or nothing."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f'did you mean "{found[0]}"?' if found else ""


def _finding(
    severity: Severity, code: str, path: str, message: str, example: Example | None, hint: str = ""
) -> Finding:
    return Finding(severity=severity, code=code, path=path, message=message, example=example, hint=hint)
