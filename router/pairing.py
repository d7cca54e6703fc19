"""Pairing codes: a stranger gets one, the operator approves it, the stranger may talk (RULES 3.10). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from protocol.control import PairingRequest

#: No I, O, 0, 1: codes are read aloud and typed.
ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
LENGTH = 8
#: Seconds a code is good for, and strangers that may wait for approval at one account.
TTL = 3600.0
MAX_PENDING = 3


#: Longest piece of what a stranger says of itself that is kept, in characters.
MAX_META = 200


class Offer(NamedTuple):
    """The pending requests after a stranger knocked, and its own; None when too many wait. `created` when it is new."""

    requests: tuple[PairingRequest, ...]
    request: PairingRequest | None
    created: bool


def alive(requests: Sequence[PairingRequest], now: float) -> tuple[PairingRequest, ...]:
    """The requests whose code is still good."""
    return tuple(request for request in requests if now - request.created_at < TTL)


def knock(
    requests: Sequence[PairingRequest],
    channel: str,
    account: str,
    id: str,
    meta: Mapping[str, str],
    now: float,
    draw: Callable[[int], int],
) -> Offer:
    """A stranger writes. `draw(n)` is a random number below n. A repeat keeps its code, a fourth stranger gets none."""
    pending, id = alive(requests, now), id.strip()
    ours = [request for request in pending if request.account == account]
    known = next((request for request in ours if request.id == id), None)
    if known is not None or len(ours) >= MAX_PENDING:
        return Offer(pending, known, False)
    taken = {request.code for request in pending}
    while (code := "".join(ALPHABET[draw(len(ALPHABET))] for _ in range(LENGTH))) in taken:
        continue
    cut = {key: value[:MAX_META] for key, value in meta.items()}
    created = PairingRequest(channel=channel, account=account, id=id, code=code, created_at=now, meta=cut)
    return Offer((*pending, created), created, True)


def approve(
    requests: Sequence[PairingRequest], code: str, account: str, now: float
) -> tuple[tuple[PairingRequest, ...], PairingRequest | None]:
    """Take out the request with this code (any case, spaces ignored); `account` limits it to one unless it is empty."""
    wanted = "".join(code.split()).upper()
    pending = alive(requests, now)
    found = next((r for r in pending if wanted and r.code == wanted and (not account or r.account == account)), None)
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
