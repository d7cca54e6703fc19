"""The list of platforms, one line each. A platform's module is imported only when an account of it is configured."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, cast

from protocol.errors import UserError
from router.channels.base import Channel

#: Channel id -> module with `create(channel, account, settings) -> Channel`.
CHANNELS = {
    "telegram": "router.channels.telegram",
    "irc": "router.channels.irc",
}


def create(channel: str, account: str, settings: Mapping[str, Any]) -> Channel:
    """Make one account's channel. Raises UserError for a platform this build lacks or settings it cannot use."""
    module = CHANNELS.get(channel)
    if module is None:
        raise UserError(f"this build has no {channel} channel", where=f"$.channels.{channel}")
    make = cast(Callable[[str, str, Mapping[str, Any]], Channel], importlib.import_module(module).create)
    return make(channel, account, settings)
