"""Keys and tokens of each agent's worker: made at every start of the supervisor, kept in memory only.

A worker's link key lets it into its own agent's socket and nothing else; its proxy token makes the cliproxy use its
own agent's account. The proxy itself gets only the digest of the token.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

from protocol.link import new_keypair
from supervisor.config.slices import AgentSecrets


def new_agent_secrets() -> AgentSecrets:
    """Fresh CURVE keys for both ends of the link and a proxy token of 32 random bytes."""
    router_public, router_secret = new_keypair()
    worker_public, worker_secret = new_keypair()
    return AgentSecrets(
        router_secret=router_secret,
        router_public=router_public,
        worker_secret=worker_secret,
        worker_public=worker_public,
        proxy_token=f"ocp_{secrets.token_urlsafe(32)}",
    )


class Mint:
    """The secrets of all agents of one life of the supervisor, those that were removed included.

    An agent that comes back while its old worker still finishes finds its link as it was; a name that is used again
    is the same agent to everybody else too (its sessions, its workspace).
    """

    def __init__(self) -> None:
        self._agents: dict[str, AgentSecrets] = {}

    def __repr__(self) -> str:
        return f"Mint({len(self._agents)} agents)"

    def for_agents(self, agents: Iterable[str]) -> Mapping[str, AgentSecrets]:
        """The secrets of these agents, the same at each call."""
        wanted = tuple(agents)
        self._agents |= {agent: new_agent_secrets() for agent in wanted if agent not in self._agents}
        return {agent: self._agents[agent] for agent in wanted}
