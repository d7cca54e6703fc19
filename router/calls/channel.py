"""The channel between sessions: a message that one session wrote to another, and the answer on its way back.

Nothing leaves the house here. The answer is in the transcript of the session that gave it, and whoever waits for it
hears it from the router itself, so sending it is free and a lost answer is simply "not arrived".
"""

from __future__ import annotations

from protocol.envelope import Address, Outbound
from router.channels.base import Capabilities, ChannelHost, Probe, Receipt

CHANNEL = "internal"
ACCOUNT = "default"
#: An answer is kept in one piece.
TEXT_LIMIT = 100_000


class InternalChannel:
    """Takes every answer of one session to another."""

    channel = CHANNEL
    account = ACCOUNT
    capabilities = Capabilities(text_limit=TEXT_LIMIT, can_confirm=True)

    async def run(self, host: ChannelHost) -> None:
        host.connected(CHANNEL)

    async def send(self, message: Outbound) -> Receipt:
        return Receipt(message.key)

    def note(self, message: Outbound) -> str:
        return ""

    async def confirm(self, message: Outbound, note: str) -> Receipt | None:
        return None

    async def typing(self, address: Address) -> None:
        return None

    async def probe(self) -> Probe:
        return Probe(True, CHANNEL)

    async def close(self) -> None:
        return None
