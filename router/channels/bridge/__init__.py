"""Any platform through a program of the operator's: JSON lines over a unix socket (see STATUS.md).

`channels.<id>.bridge.socket` names the socket the program listens on. It knows the platform, we know who answers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from protocol.errors import UserError
from router.channels.bridge.channel import BridgeChannel

#: Characters of one message where a platform takes fewer than most (SPEC 4.9).
_LIMITS = {"discord": 2000, "irc": 350, "line": 5000}
_LIMIT = 4000


def create(channel: str, account: str, settings: Mapping[str, Any]) -> BridgeChannel:
    """Raises UserError without an absolute socket path."""
    bridge = settings.get("bridge")
    path = os.path.expanduser(str(bridge.get("socket") or "")) if isinstance(bridge, Mapping) else ""
    if not os.path.isabs(path):
        where = f"$.channels.{channel}.bridge.socket"
        raise UserError("the bridge's socket must be an absolute path", where=where, hint="/run/bridge/whatsapp.sock")
    limit = settings.get("textChunkLimit") or _LIMITS.get(channel, _LIMIT)
    return BridgeChannel(channel, account, path, int(limit))
