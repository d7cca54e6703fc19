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
#: Serves any channel whose settings have a `bridge`.
BRIDGE = "router.channels.bridge"


def create(channel: str, account: str, settings: Mapping[str, Any]) -> Channel:
    """Make one account's channel. Raises UserError for a platform this build lacks or settings it cannot use."""
    module = BRIDGE if settings.get("bridge") else CHANNELS.get(channel)
    if module is None:
        raise UserError(
            f"this build has no {channel} channel of its own",
            where=f"$.channels.{channel}",
            hint="channels.<id>.bridge.socket connects one by a program of yours: router/channels/bridge/STATUS.md",
        )
    make = cast(Callable[[str, str, Mapping[str, Any]], Channel], importlib.import_module(module).create)
    return make(channel, account, settings)
