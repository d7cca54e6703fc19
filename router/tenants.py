"""Messages of one client that another client's agent would answer (FIELD S73). Pure.

An account belongs to the tenant of the first binding that gives all of it to an agent; without one, to the tenant of
the bindings that name it, if they agree. Agents without a tenant are the house's own and cross nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from protocol.routes import Finding
from router.bindings import ACCOUNT, ANY, Rule
from router.prover import Prover, where_to

_Account = tuple[str, str]


def crossings(prover: Prover) -> Iterator[Finding]:
    """Every binding that takes a message on another tenant's account, and every account that falls to one."""
    tenant_of = {agent.id: agent.tenant for agent in prover.config.agents if agent.tenant}
    if len(set(tenant_of.values())) < 2:
        return
    owners = _owners(prover, tenant_of)
    owned: dict[str, dict[str, str]] = {}
    for (channel, account), owner in owners.items():
        owned.setdefault(channel, {})[account] = owner
    for rule in prover.rules:
        tenant, of_channel = tenant_of.get(rule.agent, ""), owned.get(rule.channel, {})
        if tenant and not rule.void:
            places = of_channel if rule.account == ANY else {rule.account: of_channel.get(rule.account, tenant)}
            yield from _by_rule(prover, rule, tenant, places)
    yield from _by_default(prover, tenant_of.get(prover.config.default_agent, ""), owners)


def _owners(prover: Prover, tenant_of: Mapping[str, str]) -> dict[_Account, str]:
    first: dict[_Account, str] = {}
    named: dict[_Account, set[str]] = {}
    for rule in prover.rules:
        place = (rule.channel, rule.account)
        if rule.void or rule.account == ANY or rule.agent not in tenant_of:
            continue
        if rule.tier == ACCOUNT and not rule.roles:
            first.setdefault(place, tenant_of[rule.agent])
        named.setdefault(place, set()).add(tenant_of[rule.agent])
    agreed = {place: next(iter(tenants)) for place, tenants in named.items() if len(tenants) == 1}
    return agreed | first


def _by_rule(prover: Prover, rule: Rule, tenant: str, accounts: Mapping[str, str]) -> Iterator[Finding]:
    for account, owner in accounts.items():
        if owner != tenant and (example := prover.wins(rule, account)) is not None:
            wide = 'with accountId "*" ' if rule.account == ANY else ""
            message = (
                f"{wide}it gives messages on {rule.channel}/{account}, which is tenant {owner}'s, "
                f"to agent {rule.agent} of tenant {tenant}"
            )
            hint = "name the accounts of this tenant" if wide else f"give it to an agent of tenant {owner}"
            yield Finding(
                severity="error",
                code="tenant-crossing",
                path=f"$.bindings[{rule.order}]",
                message=message,
                example=example,
                hint=hint,
            )
            return


def _by_default(prover: Prover, tenant: str, owners: Mapping[_Account, str]) -> Iterator[Finding]:
    for (channel, account), owner in owners.items():
        if not tenant or owner == tenant:
            continue
        example = next((one for one in prover.strangers(channel, account) if one.binding is None), None)
        if example is not None:
            message = (
                f"who is named by no binding of {channel}/{account}, which is tenant {owner}'s, "
                f"is answered by {where_to(example)} of tenant {tenant}"
            )
            agent = next(r.agent for r in prover.rules if (r.channel, r.account) == (channel, account))
            hint = f"openclaw agents bind --agent {agent} --bind {channel}:{account}"
            path = f"$.channels.{channel}"
            yield Finding(
                severity="error", code="tenant-crossing", path=path, message=message, example=example, hint=hint
            )
