"""The seam between the router and a platform.

A channel turns platform events into `Inbound` and sends `Outbound`. It has never heard of agents, routing, access or
the spool: it hands messages to a `ChannelHost` and learns from the return that they are on disk, and only then does
it confirm them to the platform.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from protocol.envelope import Address, Inbound, Outbound
from protocol.errors import Permanent, Temporary


class AccountRejected(Permanent):
    """The platform refuses this login (bad token, banned, wrong password): no retry helps until it is changed."""


class AccountTrouble(Temporary):
    """The connection broke or another poller holds it; the account's runner starts `run` again after a pause."""


class SendRefused(Permanent):
    """The platform will never take this message (chat gone, bot blocked, too long)."""


class SendDelayed(Temporary):
    """The platform surely did not take this message now; it may later (429, 5xx before the body, not connected)."""


class SendUncertain(Temporary):
    """The request left us and no answer came: the platform may or may not have taken it."""


class Receipt(msgspec.Struct, frozen=True):
    """Proof of a sent message: the platform's id for it, empty where the platform has none."""

    message_id: str = ""


class Probe(msgspec.Struct, frozen=True):
    """What a live check of the login found. `name` is the login's own name there, such as `@work_bot`."""

    ok: bool
    name: str = ""
    error: str = ""


class Capabilities(msgspec.Struct, frozen=True):
    """What the router must know of a platform to serve it.

    `text_limit` is in characters of our source text for one message. `can_confirm` says that `confirm` can find out
    what became of a send whose answer was lost.
    """

    text_limit: int
    can_confirm: bool = False
    markdown: bool = True


class ChannelHost(Protocol):
    """What the router offers to one account's channel."""

    async def receive(self, messages: Sequence[Inbound], cursor: str | None = None) -> None:
        """Take over messages (and the platform's cursor) in one commit. On return they are on disk and ours."""

    async def cursor(self) -> str | None:
        """The cursor of the last `receive`, after a restart too."""

    def connected(self, login: str) -> None:
        """The login works and messages flow; `login` is its own name on the platform."""

    def disconnected(self, reason: str) -> None:
        """Messages do not flow at the moment; the channel goes on trying by itself."""


class Channel(Protocol):
    """One account on one platform."""

    channel: str
    account: str
    capabilities: Capabilities

    async def run(self, host: ChannelHost) -> None:
        """Connect and receive until cancelled. Raises AccountRejected or AccountTrouble; never returns by itself."""

    async def send(self, message: Outbound) -> Receipt:
        """Send one message. Raises SendRefused, SendDelayed or SendUncertain."""

    def note(self, message: Outbound) -> str:
        """What `confirm` will need to find this send again; stored durably before `send` is called."""

    async def confirm(self, message: Outbound, note: str) -> Receipt | None:
        """What became of a send whose answer was lost: a receipt if it arrived, None if it surely did not.

        Raises SendUncertain where the platform cannot tell, SendDelayed where it cannot be asked now.
        """

    async def typing(self, address: Address) -> None:
        """Show that an answer is being written; best effort, raises nothing."""

    async def probe(self) -> Probe:
        """Ask the platform now whether this login works; raises nothing."""

    async def close(self) -> None:
        """Release sockets. Called once, after `run` has ended."""
