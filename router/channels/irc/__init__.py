"""IRC: direct messages and channels over TLS, with SASL or NickServ. See STATUS.md for what it does and does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.channels.irc.channel import IrcChannel
from router.channels.irc.settings import read


def create(channel: str, account: str, settings: Mapping[str, Any]) -> IrcChannel:
    """The channel for one account's settings. Raises UserError that names the wrong key."""
    return IrcChannel(account, read(account, settings))


__all__ = ["IrcChannel", "create"]
