"""Who asked whom how often and for how many tokens. In memory, counted from what passes by.

The token counts are read from the stream without holding it up: the last number of each kind is the total, and an
answer's own text cannot forge one, because its quotes are escaped.
"""

from __future__ import annotations

import re

import msgspec

_INPUT = re.compile(rb'"(?:input_tokens|prompt_tokens)"\s*:\s*(\d{1,9})')
_OUTPUT = re.compile(rb'"(?:output_tokens|completion_tokens)"\s*:\s*(\d{1,9})')
#: Longest piece of a chunk kept, so that a number cut by a chunk's end is still read.
_TAIL = 64
MAX_ERROR = 200


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One agent at one provider."""

    agent: str
    provider: str
    requests: int
    in_flight: int
    errors: int
    input_tokens: int
    output_tokens: int
    last_error: str


class Call:
    """One request while it runs. `see` what passes; `fail` at most once."""

    def __init__(self, account: _Account) -> None:
        self._account = account
        self._tail = b""
        self._input = 0
        self._output = 0

    def see(self, chunk: bytes) -> None:
        """Look at a piece of the answer."""
        text = self._tail + chunk
        self._tail = text[-_TAIL:]
        if b"_tokens" not in text:
            return
        if found := _INPUT.findall(text):
            self._input = int(found[-1])
        if found := _OUTPUT.findall(text):
            self._output = int(found[-1])

    def fail(self, error: str) -> None:
        """Count an error; the text is for the operator and free of keys."""
        self._account.errors += 1
        self._account.last_error = error[:MAX_ERROR]

    def end(self) -> None:
        """Settle: also a request that was broken off has used what it used."""
        self._account.in_flight -= 1
        self._account.input_tokens += self._input
        self._account.output_tokens += self._output


class _Account:
    def __init__(self) -> None:
        self.requests = 0
        self.in_flight = 0
        self.errors = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.last_error = ""


class Ledger:
    """All counts since this process started."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str], _Account] = {}

    def __repr__(self) -> str:
        return f"Ledger({sum(account.requests for account in self._accounts.values())} requests)"

    def begin(self, agent: str, provider: str) -> Call:
        """Count a request; `Call.end` must follow."""
        account = self._accounts.setdefault((agent, provider), _Account())
        account.requests += 1
        account.in_flight += 1
        return Call(account)

    def in_flight(self, agent: str) -> int:
        """Requests of this agent that run now."""
        return sum(account.in_flight for (name, _), account in self._accounts.items() if name == agent)

    def entries(self) -> tuple[Entry, ...]:
        """A copy of the counts, by agent and provider."""
        return tuple(
            Entry(agent=agent, provider=provider, **vars(account))
            for (agent, provider), account in sorted(self._accounts.items())
        )
