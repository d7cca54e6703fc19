"""Keys and tokens of each agent's workers: made at every start of the supervisor, kept in memory only.

A worker's link key lets it into its own socket and nothing else; its agent's proxy token makes the cliproxy use that
agent's account. The proxy itself gets only the digest of the token.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

from protocol.link import new_keypair
from protocol.sandbox import Seat
from supervisor.config.slices import LinkKeys


def new_link_keys() -> LinkKeys:
    """Fresh CURVE keys for both ends of a link."""
    router_public, router_secret = new_keypair()
    worker_public, worker_secret = new_keypair()
    return LinkKeys(
        router_secret=router_secret,
        router_public=router_public,
        worker_secret=worker_secret,
        worker_public=worker_public,
    )


def new_proxy_token() -> str:
    """32 random bytes, and a beginning that tells what it is."""
    return f"ocp_{secrets.token_urlsafe(32)}"


class Mint:
    """The secrets of all agents of one life of the supervisor, those that were removed included.

    An agent that comes back while its old worker still finishes finds its link as it was; a name that is used again
    is the same agent to everybody else too (its sessions, its workspace).
    """

    def __init__(self) -> None:
        self._links: dict[Seat, LinkKeys] = {}
        self._tokens: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Mint({len(self._tokens)} agents, {len(self._links)} links)"

    def link(self, seat: Seat) -> LinkKeys:
        """The keys of this worker's link, the same at each call."""
        if seat not in self._links:
            self._links[seat] = new_link_keys()
        return self._links[seat]

    def tokens(self, agents: Iterable[str]) -> Mapping[str, str]:
        """The proxy tokens of these agents, the same at each call."""
        wanted = tuple(agents)
        self._tokens |= {agent: new_proxy_token() for agent in wanted if agent not in self._tokens}
        return {agent: self._tokens[agent] for agent in wanted}

    def link_secrets(self) -> set[str]:
        """What must never stand in a log."""
        return {keys.worker_secret for keys in self._links.values()}
