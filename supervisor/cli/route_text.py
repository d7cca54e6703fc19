"""What the router answered about routes, as lines for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from protocol.routes import Access, Change, Compared, Described, Example, Explained, Finding, Linted, Tier
from supervisor.cli import route_message

#: Bindings shown of one tier; `--json` has more.
MOST = 10
_ENTRIES = {
    "allowed": "allowed",
    "ignored": "ignored",
    "pairing": "must pair",
    "closed": "channel not configured",
    "absent": "no such account",
}
_STATES = {"won": "matches", "passed": "no match", "not reached": "not reached"}


def explained(message: Described, found: Explained) -> list[str]:
    """The whole decision, tier by tier."""
    peer = f" {message.peer.kind}:{message.peer.id}" if message.peer else f" direct:{_sender(message)}"
    account = f" ({found.account_why})" if found.account_why else ""
    lines = [f"Message   {found.channel}/{found.account}{account}{peer}", "", "Tiers, in this order:"]
    for tier in found.tiers:
        lines += _tier(tier)
    if found.others:
        lines.append(f"  {found.others} {_s(found.others, 'binding is', 'bindings are')} for other channels")
    return [*lines, "", *_outcome(found)]


def linted(found: Linted) -> list[str]:
    """The findings, and what was checked."""
    lines: list[str] = []
    for finding in found.findings:
        lines += [*_finding(finding), ""]
    counts = [(kind, sum(one.severity == kind for one in found.findings)) for kind in ("error", "warning", "note")]
    said = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts if count)
    total = f"{found.bindings} {_s(found.bindings, 'binding', 'bindings')}"
    return [*lines, f"{total}: {said or 'nothing to complain about'} ({found.checked} messages tried)"]


def compared(found: Compared) -> list[str]:
    """Who gains and loses what."""
    lines: list[str] = []
    for change in found.changes:
        lines += [*_change(change), ""]
    for agent in found.agents:
        lines.append(_agent(agent.agent, agent.state))
        lines += [f"  {line}" for line in _gains(agent.gains, agent.loses)]
        lines += [f"  sandbox: {agent.sandbox}"] if agent.sandbox else []
        lines.append("")
    generated = f"{found.generated_changed} of {found.generated} generated messages"
    recent = f", {found.recent_changed} of {found.recent} recent ones" if found.recent else ""
    cut = "" if found.complete else " (too many combinations: not all were tried)"
    if not found.changes and not found.agents:
        return [f"Nothing changes: {generated}{recent}{cut}"]
    return [*lines, f"Changed: {generated}{recent}{cut}"]


def shortened(lines: list[str], most: int, command: str) -> list[str]:
    """At most so many lines; what shows the rest is said in the last."""
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], f"… and {len(lines) - most + 1} more lines: {command}"]


def _tier(tier: Tier) -> Iterator[str]:
    if tier.name == "default":
        yield f"  default: {_STATES[tier.state]}"
        return
    if not tier.total:
        yield f"  {tier.name}: no bindings"
        return
    if tier.state == "not reached":
        yield f"  {tier.name}: not reached ({tier.total} {_s(tier.total, 'binding', 'bindings')})"
        return
    if not tier.tried:
        yield f"  {tier.name}: no match, the message is in no thread"
        return
    yield f"  {tier.name}: {_STATES[tier.state]}"
    for tried in tier.tried[:MOST]:
        why = ", ".join(tried.why) or "every field holds"
        yield f"    bindings[{tried.binding}] → {tried.agent}: {why}"
    if tier.total > MOST:
        yield f"    and {tier.total - MOST} more (--json)"


def _outcome(found: Explained) -> Iterator[str]:
    yield f"Agent     {found.agent}: {found.why}"
    if found.broadcast:
        yield f"          but a broadcast group takes it to {' and '.join(found.broadcast)}, each in its own session"
    yield f"Session   {found.session_key}"
    yield from (f"          {why}" for why in found.session_why)
    yield f"Reply     {found.reply}, the account it came in on"
    yield from _access(found.access)
    if found.mention:
        yield f"Mention   {'answered' if found.mention.answered else 'left unanswered'}: {found.mention.reason}"
    yield from _tools(found)
    yield f"Sandbox   {found.sandbox}"


def _tools(found: Explained) -> Iterator[str]:
    """The shorter list: what there is, or what is missing."""
    allowed, denied = [*found.tools, *found.owner_only], found.denied
    if not denied:
        yield "Tools     all"
    elif len(denied) < len(allowed):
        yield f"Tools     all but {', '.join(denied)}"
    else:
        yield f"Tools     {', '.join(found.tools) or 'none'}"
    if found.owner_only:
        yield f"          for owners only: {', '.join(found.owner_only)}"


def _access(access: Access) -> Iterator[str]:
    yield f"Access    {access.verdict}: {access.reason}"
    yield from (f"          {path}" for path in access.decided_by)


def _finding(finding: Finding) -> Iterator[str]:
    yield f"{finding.severity}: {finding.path}: {finding.message}"
    if finding.example:
        yield f"  example: {_example(finding.example)}"
    if finding.hint:
        yield f"  hint: {finding.hint}"


def _example(example: Example) -> str:
    words = shlex.join(route_message.flags(example.message))
    by = "the default" if example.binding is None else f"bindings[{example.binding}]"
    return f"{words} → {example.agent} by {by}"


def _change(change: Change) -> Iterator[str]:
    more = change.count - len(change.who)
    yield "; ".join(change.who) + (f" and {more} more" if more > 0 else "")
    old = _nobody(change.old_access) or f"{change.old_agent} ({change.old_by})"
    new = _nobody(change.new_access) or f"{change.new_agent} ({change.new_by})"
    yield f"  agent: {change.old_agent}" if change.old_agent == change.new_agent else f"  agent: {old} → {new}"
    if change.old_access != change.new_access:
        yield f"  access: {_ENTRIES[change.old_access]} → {_ENTRIES[change.new_access]}"
    yield from (f"  {line}" for line in _gains(change.gains, change.loses))
    if change.recent:
        yield f"  {change.recent} recent {_s(change.recent, 'message', 'messages')}"


def _nobody(access: str) -> str:
    return "nobody" if access == "absent" else ""


def _gains(gains: Sequence[str], loses: Sequence[str]) -> Iterator[str]:
    if gains:
        yield f"gains: {', '.join(gains)}"
    if loses:
        yield f"loses: {', '.join(loses)}"


def _agent(agent: str, state: str) -> str:
    return {"new": f"agent {agent} is new", "gone": f"agent {agent} is gone"}.get(state, f"agent {agent}")


def _sender(message: Described) -> str:
    return str(message.sender.id) if message.sender else ""


def _s(count: int, one: str, many: str) -> str:
    return one if count == 1 else many
