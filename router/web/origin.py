"""Whether a request was meant for us: the Host it names and the page it comes from. Pure.

A hostile page can point its own name at 127.0.0.1 (DNS rebinding) or simply send requests there; both carry the
name of that page in Host or Origin (FIELD S02, S03).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

LOOPBACK_NAMES = frozenset({"localhost", "localhost."})
WILDCARDS = frozenset({"0.0.0.0", "::", ""})
#: Values of Sec-Fetch-Site that a browser sends for our own page or for an address somebody typed.
OWN_FETCHES = frozenset({"same-origin", "none"})


def is_loopback(host: str) -> bool:
    """Whether `host` (no port) names this machine only."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_our_host(headers: Sequence[str], bound: str, names: Collection[str] = ()) -> bool:
    """Whether the only Host header names us: loopback, the bound host, or one of `names` (lower case).

    Bound to every interface we are known by any of the machine's addresses. An address is no name that a stranger
    can point at us, so any literal will do then.
    """
    host = split_host(headers[0]) if len(headers) == 1 else None
    if host is None:
        return False
    if is_loopback(host) or host == bound.lower() or host in names:
        return True
    return bound in WILDCARDS and _is_address(host)


def split_host(header: str) -> str | None:
    """The host of `host[:port]`, lower case, without brackets; None when it is malformed."""
    try:
        parts = urlsplit(f"//{header}")
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        return None
    plain = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    return parts.hostname if plain and port_ok else None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_our_page(origins: Sequence[str], host: str, fetch_site: str | None) -> bool:
    """Whether the request comes from a page we served to `host`, or from no page at all."""
    if fetch_site is not None and fetch_site not in OWN_FETCHES:
        return False
    if not origins:
        return True
    own = {f"http://{host.lower()}", f"https://{host.lower()}"}
    return len(origins) == 1 and origins[0].lower() in own
