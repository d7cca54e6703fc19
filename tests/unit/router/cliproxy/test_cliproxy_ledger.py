"""What passed is counted, also when it came in pieces or was broken off."""

from __future__ import annotations

import pytest

from router.cliproxy.ledger import Ledger
from tests.support.model_wire import anthropic_events, openai_events

STREAMS = [
    b"".join(anthropic_events("m", 'it says "input_tokens": 999 and {"output_tokens":888}', [], (1234, 567))),
    b"".join(openai_events("m", "x", [("c", "exec", {"output_tokens": 888})], (1234, 567), True)),
]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_tokens_are_read_whatever_the_pieces(stream: bytes, size: int) -> None:
    ledger = Ledger()
    call = ledger.begin("main", "x")
    for at in range(0, len(stream), size):
        call.see(stream[at : at + size])
    call.end()
    (entry,) = ledger.entries()
    assert (entry.input_tokens, entry.output_tokens, entry.in_flight) == (1234, 567, 0)


def test_requests_and_errors_are_counted_per_agent_and_provider() -> None:
    ledger = Ledger()
    first, second = ledger.begin("a", "x"), ledger.begin("a", "y")
    ledger.begin("b", "x").end()
    assert ledger.in_flight("a") == 2 and ledger.in_flight("b") == 0
    first.fail("HTTP 500 from x " + "z" * 999)
    first.end()
    second.end()
    told = [(entry.agent, entry.provider, entry.requests, entry.errors) for entry in ledger.entries()]
    assert told == [("a", "x", 1, 1), ("a", "y", 1, 0), ("b", "x", 1, 0)]
    assert len(ledger.entries()[0].last_error) == 200
