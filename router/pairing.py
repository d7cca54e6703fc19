"""Pairing codes: a stranger gets one, the operator approves it, the stranger may talk (RULES 3.10). Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from protocol.control import PairingRequest

#: No I, O, 0, 1: codes are read aloud and typed.
ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
LENGTH = 8
#: Seconds a code is good for, and strangers that may wait for approval at one account.
TTL = 3600.0
MAX_PENDING = 3


class Offer(NamedTuple):
    """The pending requests after a stranger knocked. `created` when this one is new and gets a code."""

    requests: tuple[PairingRequest, ...]
    created: PairingRequest | None


def alive(requests: Sequence[PairingRequest], now: float) -> tuple[PairingRequest, ...]:
    return tuple(request for request in requests if now - request.created_at < TTL)


def knock(
    requests: Sequence[PairingRequest],
    channel: str,
    account: str,
    id: str,
    meta: dict[str, str],
    now: float,
    draw: Callable[[int], int],
) -> Offer:
    """A stranger writes. `draw(n)` is a random number below n. A fourth stranger gets no code."""
    pending = alive(requests, now)
    ours = [request for request in pending if request.account == account]
    if any(request.id == id for request in ours) or len(ours) >= MAX_PENDING:
        return Offer(pending, None)
    taken = {request.code for request in pending}
    while (code := "".join(ALPHABET[draw(len(ALPHABET))] for _ in range(LENGTH))) in taken:
        continue
    created = PairingRequest(channel=channel, account=account, id=id, code=code, created_at=now, meta=meta)
    return Offer((*pending, created), created)


def approve(
    requests: Sequence[PairingRequest], code: str, account: str, now: float
) -> tuple[tuple[PairingRequest, ...], PairingRequest | None]:
    """Take out the request with this code (any case, spaces ignored), of this account unless it is empty."""
    wanted = "".join(code.split()).upper()
    pending = alive(requests, now)
    found = next((r for r in pending if r.code == wanted and (not account or r.account == account)), None)
    return tuple(request for request in pending if request is not found), found


def offer_text(channel_label: str, request: PairingRequest) -> str:
    """What the stranger reads (SPEC 4.6)."""
    return (
        "OpenClaw: access not configured.\n\n"
        f"Your {channel_label} user id: {request.id}\n"
        f"Pairing code:\n\n```\n{request.code}\n```\n\n"
        "Ask the bot owner to approve with:\n"
        f"`openclaw pairing approve {request.channel} {request.code}`"
    )
