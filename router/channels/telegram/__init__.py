"""Telegram, by the Bot API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from protocol.errors import UserError
from router.channels.telegram.connect import MAX_UNITS, TelegramChannel
from router.channels.telegram.wire import API_ROOT, Wire

#: Characters of source text in one message where `textChunkLimit` says nothing: 96 are left for what rendering adds.
TEXT_LIMIT = 4000
#: Seconds for one call where `timeoutSeconds` says nothing.
TIMEOUT_SECONDS = 20.0

#: A token is part of a URL, so nothing may be in it that means something there.
_TOKEN = re.compile(r"[A-Za-z0-9_:-]{1,256}")


def create(channel: str, account: str, settings: Mapping[str, Any]) -> TelegramChannel:
    """The channel of one account; `settings` are its merged config keys. Raises UserError for one without a token."""
    token = settings.get("botToken")
    if not isinstance(token, str) or _TOKEN.fullmatch(token.strip()) is None:
        raise UserError(
            f"account {account!r} has no usable bot token",
            where=f"$.channels.telegram.accounts.{account}.botToken",
            hint=f'openclaw config set channels.telegram.accounts.{account}.botToken "<token from @BotFather>"',
        )
    wire = Wire(
        token.strip(),
        str(settings.get("apiRoot") or API_ROOT),
        timeout=float(settings.get("timeoutSeconds") or TIMEOUT_SECONDS),
        proxy=settings.get("proxy") or None,
    )
    return TelegramChannel(
        account,
        wire,
        text_limit=min(int(settings.get("textChunkLimit") or TEXT_LIMIT), MAX_UNITS),
        link_preview=settings.get("linkPreview", True) is not False,
    )


__all__ = ["TelegramChannel", "create"]
