"""Runs sample messages through the real table: nothing is said of a table that was not seen happen. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from protocol.routes import Example, RoutesConfig, Seen
from router import bindings, routing, samples
from router.bindings import ANY, Rule


class Prover:
    """One configuration's table, its rules, and the messages that decide what is true of them."""

    def __init__(self, config: RoutesConfig) -> None:
        self.config = config
        self.rules = bindings.read(config)
        self.by_order = {rule.order: rule for rule in self.rules}
        self.accounts = bindings.accounts(config)
        self.settings = bindings.settings(config)
        self.samples = samples.of(config, self.rules)
        self.checked = 0
        self._first: dict[object, Rule] = {}
        for rule in self.rules:
            self._first.setdefault(rule.asks, rule)
        self._table = bindings.table(config)

    def run(self, message: Seen) -> Example:
        """Where the message goes."""
        self.checked += 1
        found = routing.resolve(self._table, samples.route_input(message))
        return Example(message=message, agent=found.agent, binding=found.binding, matched_by=found.matched_by)

    def twin(self, rule: Rule) -> Rule | None:
        """The earlier rule that asks for exactly the same."""
        first = self._first[rule.asks]
        return None if first.order == rule.order else first

    def losses(self, rule: Rule, *, real_only: bool = False) -> list[Example] | None:
        """Where each of the rule's smallest messages goes instead, or None if the rule wins one of them.

        `real_only` leaves out the account that nobody has configured yet.
        """
        lost: list[Example] = []
        for account in self.samples.accounts_of(rule):
            if real_only and account not in self.accounts.get(rule.channel, ()):
                continue
            for message in self.samples.smallest(rule, account):
                example = self.run(message)
                if example.binding == rule.order:
                    return None
                lost.append(example)
        return lost

    def wins(self, rule: Rule, account: str) -> Example | None:
        """A message on this account that the rule takes."""
        if rule.account not in (ANY, account):
            return None
        examples = (self.run(message) for message in self.samples.smallest(rule, account))
        return next((example for example in examples if example.binding == rule.order), None)

    def strangers(self, channel: str, account: str) -> Iterator[Example]:
        """Where people and rooms go that no binding names."""
        for kind in (bindings.DIRECT, bindings.ROOM):
            yield self.run(self.samples.stranger(channel, account, kind))


def where_to(example: Example) -> str:
    """Where a message went, in words."""
    if example.binding is None:
        return f"the default agent {example.agent}"
    return f"agent {example.agent} by bindings[{example.binding}]"
