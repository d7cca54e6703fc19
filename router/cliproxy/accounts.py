"""Which key serves which agent. Pure: values in, a credential or a reason out.

The order is fixed (SPEC 5.9.2): the agent's own apiKey, its auth-profiles.json, the provider's configured key, the
environment. Nothing here can see another agent: it is given one agent's slice and one agent's profiles.

Consumer logins are refused by name, and the search ends there for what belongs to the agent itself: going on would
bill somebody else without a word.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from protocol.slices_proxy import AgentSlice, ProxySlice
from router.cliproxy.profiles import FILE_NAME, Profile, Profiles, candidates
from router.cliproxy.providers import LOCAL_COMMANDS, Provider, owner_of_key

#: Sent to a server on this machine that wants some key and gets none from us (SPEC 8.4).
PLACEHOLDER = "no-key-needed"

_SUBSCRIPTION_TOKEN = "sk-ant-oat"
_ENV_NAME = re.compile(r"[A-Z][A-Z0-9_]*_[A-Z0-9_]+\Z")
_USABLE = re.compile(r"[\x21-\x7e]+\Z")


class Credential(msgspec.Struct, frozen=True):
    """A key that may be used, and where it came from."""

    key: str
    source: str

    def __repr__(self) -> str:
        return f"Credential({self.source!r})"


class Missing(msgspec.Struct, frozen=True):
    """No key, why, and what to type.

    `absent` means that there simply is none; otherwise there is one that must not be used. `final` means that no
    other provider should be tried in its place.
    """

    reason: str
    hints: tuple[str, ...] = ()
    absent: bool = False
    final: bool = False


class Asker(msgspec.Struct, frozen=True):
    """One agent with what is known of it now."""

    slice: AgentSlice
    profiles: Profiles

    @property
    def profile_path(self) -> str:
        return f"{self.slice.agent_dir}/{FILE_NAME}"


def resolve(asker: Asker, provider: Provider, settings: ProxySlice, now: float) -> Credential | Missing:
    """The credential of one agent for one provider. `now` in seconds since the epoch, for tokens that expire."""
    if provider.problem:
        return Missing(provider.problem, ("openclaw config validate",))
    found = (
        _own_key(asker.slice, provider)
        or _profile(asker, provider, settings, now)
        or _configured_key(provider, settings)
        or _variable(provider, settings)
    )
    if found is not None:
        return found
    if provider.is_loopback:
        return Credential(PLACEHOLDER, "none needed")
    return missing(asker, provider)


def missing(asker: Asker, provider: Provider) -> Missing:
    """What a person can do about a provider without a key."""
    place = f"env.{provider.variables[0]}" if provider.variables else f"models.providers.{provider.id}.apiKey"
    hints = (set_key(place), f"nano {asker.profile_path}", LOCAL_COMMANDS["ollama"])
    return Missing(f'No API key found for provider "{provider.id}"', hints, absent=True)


def set_key(place: str) -> str:
    """What to type for a key that a running gateway shall use; an `export` would not reach it any more."""
    return f"openclaw config set {place} YOUR-KEY && openclaw gateway restart"


def _own_key(agent: AgentSlice, provider: Provider) -> Credential | Missing | None:
    if provider.local:
        return None
    if agent.api_key_problem:
        return Missing(agent.api_key_problem, ("openclaw config validate",), final=True)
    key = agent.api_key.strip()
    if not key:
        return None
    owner = owner_of_key(key)
    if owner and owner != provider.id and not provider.own_url:
        # The key of another vendor: this vendor's public address must not learn it.
        return None
    return _checked(key, f'apiKey of agent "{agent.agent}"', final=True)


def _profile(asker: Asker, provider: Provider, settings: ProxySlice, now: float) -> Credential | Missing | None:
    if asker.profiles.problem:
        return Missing(f"{asker.profile_path} {asker.profiles.problem}", (f"nano {asker.profile_path}",), final=True)
    order = settings.auth_order.get(provider.id, ())
    refusal: Missing | None = None
    for name, profile in candidates(asker.profiles, provider.id, order):
        found = _from_profile(name, profile, settings.environ, now)
        if isinstance(found, Credential):
            return found
        refusal = refusal or msgspec.structs.replace(found, hints=(f"nano {asker.profile_path}",))
    return refusal


def _from_profile(name: str, profile: Profile, environ: dict[str, str], now: float) -> Credential | Missing:
    source = f"auth profile {name}"
    if profile.type not in ("api_key", "token"):
        return Missing(
            f'{source} is a "{profile.type}" login; only API keys are supported, as vendors forbid sharing '
            "subscription logins",
            final=True,
        )
    # `expires` is in milliseconds, as the file's other readers write it.
    if profile.expires and profile.expires / 1000 <= now:
        return Missing(f"{source} has expired", final=True)
    key = profile.secret or _referenced(profile.reference, environ)
    return _checked(key, source, final=True) if key else Missing(f"{source} holds no key that can be read", final=True)


def _referenced(reference: Any, environ: dict[str, str]) -> str:
    """`keyRef`/`tokenRef` with source `env`; other sources are the supervisor's to resolve."""
    if not isinstance(reference, dict) or reference.get("source") != "env":
        return ""
    return environ.get(str(reference.get("id")), "").strip()


def _configured_key(provider: Provider, settings: ProxySlice) -> Credential | Missing | None:
    key, source = provider.key.strip(), f"models.providers.{provider.id}.apiKey"
    if _ENV_NAME.match(key):
        key = settings.environ.get(key, "").strip()
    return _checked(key, source) if key else None


def _variable(provider: Provider, settings: ProxySlice) -> Credential | Missing | None:
    for name in provider.variables:
        if key := settings.environ.get(name, "").strip():
            return _checked(key, f"environment {name}")
    return None


def _checked(key: str, source: str, *, final: bool = False) -> Credential | Missing:
    if key.startswith(_SUBSCRIPTION_TOKEN):
        return Missing(
            f"{source} is a Claude subscription token (sk-ant-oat…); only API keys are supported, as Anthropic forbids "
            "sharing subscription logins",
            ("xdg-open https://console.anthropic.com/settings/keys",),
            final=final,
        )
    if not _USABLE.match(key):
        return Missing(f"{source} holds characters that no key has", final=final)
    return Credential(key, source)
