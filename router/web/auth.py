"""Who may talk to the API: one token in one header, and a limit on guessing it. Pure.

The token travels only as `Authorization: Bearer`: no cookie that a foreign page could ride on, no query parameter that
ends up in logs and histories (FIELD S03, S11).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar

V = TypeVar("V")

#: Failures within WINDOW seconds that lock an address, and for how many seconds.
MAX_FAILURES = 10
WINDOW = 60.0
LOCKOUT = 60.0
#: Addresses remembered; the one silent for longest is forgotten first.
MAX_ADDRESSES = 4096


def read_bearer(headers: Sequence[str]) -> str | None:
    """The token of the only Authorization header; None when there is none, several, or another scheme."""
    if len(headers) != 1:
        return None
    scheme, _, token = headers[0].partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


class Token:
    """The operator's token, kept as a digest so that neither a dump nor a `repr` shows it."""

    def __init__(self, secret: str) -> None:
        if not secret:
            raise ValueError("an empty token would let everybody in")
        self._digest = _digest(secret)

    def matches(self, presented: str | None) -> bool:
        """Constant time in the content and the length of what was presented."""
        return hmac.compare_digest(self._digest, _digest(presented or ""))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


class Failures:
    """Failed attempts per address, loopback included: a web page can make the browser guess there (FIELD S02).

    A lock has a fixed end and attempts during it are neither looked at nor counted, so that knocking cannot prolong
    it. All times are seconds of one clock.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[float, ...]] = OrderedDict()
        self._locked: OrderedDict[str, float] = OrderedDict()

    def locked_for(self, address: str, now: float) -> float:
        """Seconds until this address may try again; 0 when it may."""
        return max(0.0, self._locked.get(neighbourhood(address), now) - now)

    def add(self, address: str, now: float) -> bool:
        """Count one failure; True when it locks the address."""
        name = neighbourhood(address)
        times = (*(at for at in self._seen.pop(name, ()) if at > now - WINDOW), now)
        if len(times) < MAX_FAILURES:
            _remember(self._seen, name, times)
            return False
        _remember(self._locked, name, now + LOCKOUT)
        return True


def _remember(table: OrderedDict[str, V], name: str, value: V) -> None:
    table[name] = value
    table.move_to_end(name)
    if len(table) > MAX_ADDRESSES:
        table.popitem(last=False)


def neighbourhood(address: str) -> str:
    """What one guesser can easily have many of: an IPv4 address, an IPv6 /64, all of loopback."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    if ip.is_loopback:
        return "loopback"
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))
