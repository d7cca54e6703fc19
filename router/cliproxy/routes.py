"""From what an agent asks for to where it is served. Pure.

`decide` answers None once, when it cannot tell without knowing which local servers run; the caller looks and asks
again. That keeps the network out of here and costs agents with a key nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocol.model_route import Route
from protocol.slices_proxy import ProxySlice
from router.cliproxy.accounts import PLACEHOLDER, Asker, Credential, Missing, resolve, set_key
from router.cliproxy.providers import BUILT_IN, LOCAL_COMMANDS, Provider, owner_of_key, owner_of_model

#: Said when there is nothing at all to ask.
NOTHING = Missing(
    "No model is configured: no API key was found, and no local model server answers",
    (
        set_key("env.ANTHROPIC_API_KEY"),
        set_key("env.OPENAI_API_KEY"),
        "ollama serve",
    ),
)


class Directory:
    """What routes are decided from: one agent, the configuration, the providers, the clock."""

    def __init__(self, asker: Asker, settings: ProxySlice, providers: Mapping[str, Provider], now: float) -> None:
        self.asker = asker
        self.providers = providers
        self._settings = settings
        self._now = now

    def resolve(self, provider: Provider) -> Credential | Missing:
        return resolve(self.asker, provider, self._settings, self._now)

    def is_probed(self, provider: Provider) -> bool:
        """Whether we can know that this server runs, because its port is one of those looked at."""
        return provider.local in self._settings.local_ports


def decide(directory: Directory, model: str, local: Mapping[str, str] | None) -> Route | None:
    """The route for `provider/model`, a bare model, or nothing. `local` maps running local servers to a model."""
    model = model.strip()
    if not model:
        return _anything(directory, "", local)
    provider, name = _named(directory, model)
    if provider is not None:
        return _served(directory, provider, name, local)
    if "/" not in model:
        return _anything(directory, model, local)
    unknown = model.partition("/")[0]
    return _offline(
        unknown,
        model,
        Missing(
            f'Unknown provider "{unknown}" in model "{model}"',
            ("openclaw config set agents.defaults.model anthropic/claude-sonnet-4-6",),
        ),
    )


def _named(directory: Directory, model: str) -> tuple[Provider | None, str]:
    """Only the first slash splits; a configured model may itself hold slashes (SPEC 5.9.1)."""
    head, slash, rest = model.partition("/")
    if slash and head.lower() in directory.providers:
        return directory.providers[head.lower()], rest
    for provider in directory.providers.values():
        if model in provider.models:
            return provider, model
    return (None if slash else directory.providers.get(owner_of_model(model))), model


def _served(directory: Directory, provider: Provider, name: str, local: Mapping[str, str] | None) -> Route | None:
    credential = directory.resolve(provider)
    if isinstance(credential, Missing):
        return _offline(provider.id, name, credential)
    if directory.is_probed(provider):
        if local is None:
            return None
        if provider.id not in local:
            return _offline(provider.id, name, _not_running(provider))
    name = name or provider.default_model or (local or {}).get(provider.id, "")
    if not name:
        hint = f"openclaw config set agents.defaults.model {provider.id}/<model>"
        return _offline(provider.id, "", Missing(f'No model is named for provider "{provider.id}"', (hint,)))
    return Route(api=provider.api, provider=provider.id, model=name, source=credential.source)


def _not_running(provider: Provider) -> Missing:
    command = LOCAL_COMMANDS.get(provider.id)
    where = provider.base_url.removeprefix("http://").removesuffix("/v1")
    return Missing(f"No {provider.id} server answers on {where}", (command,) if command else ())


def _anything(directory: Directory, model: str, local: Mapping[str, str] | None) -> Route | None:
    """The first provider with a credential, else a local server, else offline.

    A refusal of what is the agent's own ends the search: another key would be somebody else's bill.
    """
    refused: Missing | None = None
    for provider in _in_order(directory):
        found = directory.resolve(provider)
        name = model or provider.default_model
        if isinstance(found, Missing):
            if found.final:
                return _offline(provider.id, name, found)
            refused = refused or (None if found.absent else found)
        elif name and (found.key != PLACEHOLDER or provider.own_url):
            return Route(api=provider.api, provider=provider.id, model=name, source=found.source)
    if local is None:
        return None
    for name, first in local.items():
        provider = directory.providers[name]
        return Route(api=provider.api, provider=name, model=model or first, source="found on this machine")
    return _offline("", model, refused or NOTHING)


def _in_order(directory: Directory) -> list[Provider]:
    """The vendor of the agent's own key, the built-in ones, then what the configuration adds."""
    own = owner_of_key(directory.asker.slice.api_key.strip())
    names = [own, *(provider.id for provider in BUILT_IN), *directory.providers]
    found = (directory.providers.get(name) for name in dict.fromkeys(names))
    return [provider for provider in found if provider is not None and not provider.local]


def _offline(provider: str, model: str, why: Missing) -> Route:
    return Route(api="offline", provider=provider, model=model, reason=why.reason, hints=why.hints)
