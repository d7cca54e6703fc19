"""The account's doors while there is no connection."""

from __future__ import annotations

import pytest

from protocol.envelope import Address, Outbound
from protocol.errors import UserError
from router.channels.base import Channel, SendDelayed, SendUncertain
from router.channels.irc import create

LEAST = {"host": "127.0.0.1", "port": 1, "tls": False, "nick": "claw"}
MESSAGE = Outbound(key="m.0.0", address=Address(channel="irc", account="work", target="bob"), text="hi")


async def test_an_account_is_a_channel() -> None:
    """Ensure the seam's shape and what the router must know."""
    channel: Channel = create("irc", "work", {**LEAST, "textChunkLimit": 400})
    assert (channel.channel, channel.account) == ("irc", "work")
    assert (channel.capabilities.text_limit, channel.capabilities.can_confirm) == (400, False)
    assert repr(channel) == "IrcChannel(work on 127.0.0.1, not connected)"


async def test_without_a_connection_a_send_waits() -> None:
    """Ensure that nothing is claimed: not sent, surely; confirmed, never."""
    channel = create("irc", "work", LEAST)
    with pytest.raises(SendDelayed, match="not connected"):
        await channel.send(MESSAGE)
    with pytest.raises(SendUncertain):
        await channel.confirm(MESSAGE, channel.note(MESSAGE))
    await channel.typing(MESSAGE.address)
    await channel.close()


async def test_a_probe_of_a_server_that_is_not_there() -> None:
    """Ensure an answer in words instead of an exception."""
    probe = await create("irc", "work", LEAST).probe()
    assert not probe.ok and "127.0.0.1:1" in probe.error


async def test_wrong_settings_are_told_at_once() -> None:
    """Ensure that nothing starts with settings that cannot work."""
    with pytest.raises(UserError):
        create("irc", "work", {"host": "irc.example.org"})
