"""Checks of the running gateway. Without one there is one finding, and the rest has nothing to say. Pure: facts in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from supervisor.cli.checkup.facts import Facts
from supervisor.cli.checkup.finding import Finding, error, note, warning
from supervisor.config.channels import label
from supervisor.config.version import VERSION

_FULLER = {
    "in.dead": "messages were put aside because no agent could answer them",
    "out.dead": "answers could not be delivered",
    "out.uncertain": "answers may or may not have arrived, and are not sent again",
}


def reachable(facts: Facts) -> Iterator[Finding]:
    """Whether one answers, in our version, with this configuration."""
    status = facts.live.status
    if status is None:
        yield note(f"no gateway answers ({facts.live.reason})", hint="openclaw gateway start")
        return
    if status.version != VERSION:
        text = f"the running gateway is version {status.version}, this command is {VERSION}"
        yield warning(text, hint="openclaw gateway stop && openclaw gateway start")
    if status.config_problem:
        text = f"the running gateway keeps its earlier configuration: {status.config_problem}"
        yield error(text, where=status.config, hint="openclaw config validate")
    if facts.live.queue_problem:
        text = f"the gateway answers, its router does not: {facts.live.queue_problem}"
        yield error(text, hint="openclaw logs --lines 50")


def processes(facts: Facts) -> Iterator[Finding]:
    """Who is given up for now, and who is only resting from a failure."""
    for one in facts.live.status.processes if facts.live.status else ():
        if one.state == "quarantined":
            hint = f"openclaw gateway restart --agent {one.agent}" if one.agent else "openclaw gateway restart"
            yield error(f"{one.name} is quarantined: {one.reason or 'it failed too often'}", hint=hint)
        elif one.reason:
            yield warning(f"{one.name} is {one.state}: {one.reason}", hint="openclaw gateway status --deep")


def connected(facts: Facts) -> Iterator[Finding]:
    """Accounts that should be connected and are not."""
    for one in facts.live.accounts:
        if one.enabled and one.configured and (one.error or not one.connected or one.probe_ok is False):
            text = f"{label(one.channel)} account {one.account} is disconnected"
            hint = f"openclaw channels login --channel {one.channel} --account {one.account}"
            yield warning(f"{text}: {one.error}" if one.error else text, hint=hint)


def queue(facts: Facts) -> Iterator[Finding]:
    """Messages that nobody will touch again by himself."""
    yield from stranded(facts.live.queue)


def stranded(counts: Mapping[str, int]) -> Iterator[Finding]:
    """Counts by box and state. Pure."""
    for state, text in _FULLER.items():
        if number := counts.get(state, 0):
            yield warning(f"{number} {text}", hint="openclaw logs --lines 50")
