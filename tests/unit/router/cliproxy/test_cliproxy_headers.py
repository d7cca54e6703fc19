"""Only named headers cross the proxy, and the key is always ours."""

from __future__ import annotations

from typing import Any

from multidict import CIMultiDict

from router.cliproxy.accounts import Credential
from router.cliproxy.headers import to_vendor, to_worker
from router.cliproxy.providers import Api, Provider

KEY = Credential("sk-real", "test")


def sent(given: dict[str, str], api: Api = "anthropic-messages", **more: Any) -> dict[str, str]:
    provider = Provider(id="x", api=api, base_url="http://h", **more)
    return to_vendor(CIMultiDict(given), provider, KEY)


def test_whatever_the_worker_claims_the_key_is_replaced() -> None:
    claimed = {"X-Api-Key": "mine", "Authorization": "Bearer token", "Proxy-Authorization": "x", "Cookie": "a=b"}
    assert "mine" not in str(sent(claimed)) and "token" not in str(sent(claimed))
    assert sent(claimed)["x-api-key"] == "sk-real" and "authorization" not in sent(claimed)
    assert sent(claimed, "openai-completions")["authorization"] == "Bearer sk-real"


def test_headers_of_the_hop_and_of_addresses_stay_here() -> None:
    given = {"Connection": "x-evil", "x-evil": "1", "Host": "evil", "X-Forwarded-For": "1", "Transfer-Encoding": "x"}
    assert set(sent(given)) == {"content-type", "accept-encoding", "user-agent", "anthropic-version", "x-api-key"}


def test_the_version_and_betas_pass_and_a_missing_version_is_filled_in() -> None:
    given = sent({"Anthropic-Version": "2099-01-01", "anthropic-beta": "a,b"})
    assert given["anthropic-version"] == "2099-01-01" and given["anthropic-beta"] == "a,b"
    assert sent({})["anthropic-version"] == "2023-06-01"


def test_configured_headers_are_added() -> None:
    assert sent({}, headers={"X-Title": "mine"})["x-title"] == "mine"


def test_the_worker_sees_limits_and_request_ids_but_no_cookies_or_accounts() -> None:
    answer = {
        "Content-Type": "text/event-stream",
        "Anthropic-Ratelimit-Tokens-Remaining": "5",
        "X-RateLimit-Reset": "1",
        "Request-Id": "r",
        "Set-Cookie": "a=b",
        "Anthropic-Organization-Id": "org",
        "OpenAI-Organization": "org",
        "Transfer-Encoding": "chunked",
        "Connection": "close",
        "Content-Length": "5",
    }
    passed = to_worker(answer, KEY)
    assert set(passed) == {"content-type", "anthropic-ratelimit-tokens-remaining", "x-ratelimit-reset", "request-id"}


def test_a_header_that_quotes_the_key_stays_here() -> None:
    assert to_worker({"Retry-After": "in sk-real seconds", "Request-Id": "r"}, KEY) == {"request-id": "r"}
