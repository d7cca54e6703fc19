"""A thread has a session of its own, named once."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.envelope import Address, Inbound, Peer, Sender
from router.threads import session_key


@pytest.mark.parametrize(
    ("peer", "thread", "key"),
    [
        (Peer("channel", "C1"), None, "base"),
        (Peer("channel", "C1"), "171.5", "base:thread:171.5"),
        (Peer("group", "-100:topic:42"), "42", "base"),
        (Peer("channel", "999"), "999", "base"),
        (Peer("direct", "7"), "42", "base:thread:42"),
        (Peer("group", "-100:topic:42"), "43", "base:thread:43"),
    ],
)
def test_a_thread_is_named_unless_the_peer_is_the_thread(peer: Peer, thread: Any, key: str) -> None:
    message = Inbound(
        channel="slack", account="default", message_id="1", peer=peer, sender=Sender("u"), text="hi", at=1.0,
        reply=Address("slack", "default", peer.id, thread),
    )  # fmt: skip
    assert session_key("base", message) == key
