"""Which layers of tool policy a configuration makes for one agent, in their order. Pure.

`protocol.tool_policy` applies them. Rules: RULES 3.6 (observed on the original), SPEC 5.6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from protocol.config import AgentTools, ProviderTools, ToolList
from protocol.tool_policy import profile_layer, sandbox_layer


def profile(shared: AgentTools, own: AgentTools) -> str:
    """The agent's profile, else everybody's; empty restricts nothing."""
    return own.profile or shared.profile or ""


def profile_also(shared: AgentTools, own: AgentTools) -> tuple[str, ...]:
    """What widens the profile: `alsoAllow` and the tools a present `exec` or `fs` section stands for."""
    listed = own.also_allow if own.also_allow is not None else shared.also_allow
    by_exec = ("exec", "process") if own.exec or shared.exec else ()
    by_fs = ("read", "write", "edit") if own.fs or shared.fs else ()
    return (*(listed or ()), *by_exec, *by_fs)


def tool_layers(shared: AgentTools, own: AgentTools, model: str) -> tuple[ToolList, ...]:
    """What follows the profile: the provider's profile, then global, global provider, agent, agent provider.

    `model` is `provider/model` or empty. A layer that says nothing is left out.
    """
    of_all, of_agent = (_of_provider(tools.by_provider or {}, model) for tools in (shared, own))
    listed = (shared, of_all, own, of_agent)
    return (*_provider_profile(of_all, of_agent), *(_list(layer) for layer in listed if _says_something(layer)))


def inside(shared: AgentTools, own: AgentTools) -> ToolList:
    """The last layer, for sandboxed sessions only."""
    return sandbox_layer(own.sandbox.tools if own.sandbox else None, shared.sandbox.tools if shared.sandbox else None)


def _of_provider(by_provider: Mapping[str, ProviderTools], model: str) -> ProviderTools:
    """The entry for the model, else for its provider. A provider's model may be named after a third: `google/x/y`."""
    known = {name.strip().lower(): entry for name, entry in by_provider.items()}
    provider, _, name = model.strip().lower().partition("/")
    full = name if "/" in name else f"{provider}/{name}"
    return (known.get(full) or known.get(provider) or ProviderTools()) if provider else ProviderTools()


def _provider_profile(of_all: ProviderTools, of_agent: ProviderTools) -> Iterator[ToolList]:
    also = _first(of_agent.also_allow, of_all.also_allow) or ()
    yield from profile_layer(of_agent.profile or of_all.profile or "", also)


def _says_something(layer: ToolList) -> bool:
    return bool(layer.allow or layer.also_allow or layer.deny)


def _list(layer: ToolList) -> ToolList:
    return ToolList(allow=layer.allow, also_allow=layer.also_allow, deny=layer.deny)


def _first(*values: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return next((value for value in values if value is not None), None)
