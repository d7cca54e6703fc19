"""Keys and tokens: fresh for each agent, stable while it stays, invisible in text."""

from __future__ import annotations

from protocol.log import mask
from supervisor.secrets import Mint, new_agent_secrets


def test_every_agent_has_keys_and_a_token_of_its_own() -> None:
    keys = Mint().for_agents(["main", "ops"])
    values = [value for one in keys.values() for value in (one.router_secret, one.worker_secret, one.proxy_token)]
    assert len(set(values)) == 6
    assert all(len(one.router_public) == 40 and len(one.worker_secret) == 40 for one in keys.values())


def test_secrets_stay_the_same_even_for_an_agent_that_comes_back() -> None:
    mint = Mint()
    first = mint.for_agents(["main", "ops"])
    assert mint.for_agents(["main"])["main"] is first["main"]
    assert mint.for_agents(["main", "ops"])["ops"] is first["ops"]


def test_secrets_show_nothing_of_themselves() -> None:
    made = new_agent_secrets()
    for secret in (made.proxy_token, made.worker_secret, made.router_secret):
        assert secret not in repr(made)
    assert made.proxy_token not in mask(f"token {made.proxy_token}")
    assert repr(Mint()) == "Mint(0 agents)"
