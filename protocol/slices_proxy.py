"""What the cliproxy is handed: model keys and where they may be used. No chat peers, no channels, no tools."""

from __future__ import annotations

import msgspec


class _Slice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class AgentSlice(_Slice, frozen=True, kw_only=True):
    """One agent as the proxy knows it.

    `token_sha256` is the hex digest of the agent's proxy token: the proxy needs no more to know who asks. `api_key` is
    `agents.list[].apiKey`, resolved; `agent_dir` holds that agent's auth-profiles.json.
    """

    agent: str
    token_sha256: str
    agent_dir: str
    api_key: str = ""


class ProviderSlice(_Slice, frozen=True, kw_only=True):
    """`models.providers.<id>`, resolved. Empty means the built-in value."""

    id: str
    base_url: str = ""
    api_key: str = ""
    api: str = ""
    headers: dict[str, str] = {}
    models: tuple[str, ...] = ()


class ProxySlice(_Slice, frozen=True, kw_only=True):
    """Everything the cliproxy is told. `environ` holds only provider variables (ANTHROPIC_API_KEY, OPENAI_BASE_URL …).

    `local_ports` are tried on 127.0.0.1 for an OpenAI-compatible server; empty means none is looked for.
    """

    socket: str
    agents: tuple[AgentSlice, ...]
    providers: tuple[ProviderSlice, ...] = ()
    environ: dict[str, str] = {}
    local_ports: tuple[int, ...] = (11434, 8080, 1234, 8000)
    log_level: str = "info"
