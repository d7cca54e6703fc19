"""Which headers cross the proxy: the few named here, and nothing that a peer made up (FIELD S55, S60). Pure."""

from __future__ import annotations

from collections.abc import Mapping

from router.cliproxy.accounts import Credential
from router.cliproxy.providers import Provider

#: What the worker may say to the vendor. Everything else is ours to set.
_TO_VENDOR = ("accept", "anthropic-version", "anthropic-beta", "content-length")
#: What the vendor may say to the worker.
_TO_WORKER = frozenset({"content-type", "content-encoding", "retry-after", "request-id", "x-request-id"})
_TO_WORKER_PREFIXES = ("anthropic-ratelimit-", "x-ratelimit-")

ANTHROPIC_VERSION = "2023-06-01"
USER_AGENT = "openclaw-supervisor"
_MAX_VALUE = 1024


def to_vendor(given: Mapping[str, str], provider: Provider, credential: Credential) -> dict[str, str]:
    """The headers of the request upstream. The configured ones come last: the operator may override all but the body.

    Anthropic wants its version named; a worker that names none gets the one this proxy was written for.
    """
    headers = {name: given[name][:_MAX_VALUE] for name in _TO_VENDOR if name in given}
    headers["content-type"] = "application/json"
    headers["accept-encoding"] = "identity"
    headers["user-agent"] = USER_AGENT
    if provider.api == "anthropic-messages":
        headers.setdefault("anthropic-version", ANTHROPIC_VERSION)
        headers["x-api-key"] = credential.key
    else:
        headers["authorization"] = f"Bearer {credential.key}"
    headers.update({name.lower(): value for name, value in provider.headers.items()})
    return headers


def to_worker(given: Mapping[str, str], credential: Credential) -> dict[str, str]:
    """The headers of the answer that the worker may see, in lower case: no cookies, no accounts, nothing of the hop.

    A header that quotes the key stays here, whatever its name.
    """
    return {
        name: value[:_MAX_VALUE]
        for name, value in ((name.lower(), value) for name, value in given.items())
        if (name in _TO_WORKER or name.startswith(_TO_WORKER_PREFIXES)) and credential.key not in value
    }
