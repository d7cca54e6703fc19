"""Keys and tokens: fresh for each worker, stable while its agent stays, invisible in text."""

from __future__ import annotations

from protocol.log import mask
from protocol.sandbox import Seat
from supervisor.secrets import Mint, new_link_keys, new_proxy_token


def test_every_worker_has_link_keys_of_its_own() -> None:
    mint = Mint()
    keys = [mint.link(seat) for seat in (Seat("main"), Seat("main", "box"), Seat("ops"))]
    assert len({value for one in keys for value in (one.router_secret, one.worker_secret)}) == 6
    assert all(len(one.router_public) == 40 and len(one.worker_secret) == 40 for one in keys)


def test_every_agent_has_a_token_of_its_own() -> None:
    assert len(set(Mint().tokens(["main", "ops"]).values())) == 2


def test_secrets_stay_the_same_even_for_an_agent_that_comes_back() -> None:
    mint = Mint()
    link, token = mint.link(Seat("main")), mint.tokens(["main", "ops"])["main"]
    mint.tokens(["ops"])
    assert (mint.link(Seat("main")), mint.tokens(["main"])["main"]) == (link, token)


def test_secrets_show_nothing_of_themselves() -> None:
    made, token = new_link_keys(), new_proxy_token()
    for secret in (made.worker_secret, made.router_secret):
        assert secret not in repr(made)
    assert token not in mask(f"token {token}")
    assert repr(Mint()) == "Mint(0 agents, 0 links)"
