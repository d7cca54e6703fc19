"""What the cliproxy is handed: model keys and where they may be used. No chat peers, no channels, no tools.

The structs that hold keys show themselves without them, so that a slice in a log line or a traceback tells nothing.
"""

from __future__ import annotations

import msgspec

#: The environment variables the supervisor hands over in `ProxySlice.environ`, and no others (SPEC 1.3).
PROVIDER_VARIABLES = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "OPENROUTER_API_KEY",
    "GROQ_API_KEY",
    "MISTRAL_API_KEY",
    "DEEPSEEK_API_KEY",
    "XAI_API_KEY",
    "TOGETHER_API_KEY",
    "CEREBRAS_API_KEY",
    "LITELLM_API_KEY",
)


class _Slice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class AgentSlice(_Slice, frozen=True, kw_only=True):
    """One agent as the proxy knows it.

    `token_sha256` is the hex digest of the agent's proxy token: the proxy needs no more to know who asks. `api_key` is
    `agents.list[].apiKey`, resolved; `agent_dir` holds that agent's auth-profiles.json. `api_key_problem` says why a
    configured apiKey could not be had: then the agent must be refused, for no other account may pay for it.
    """

    agent: str
    token_sha256: str
    agent_dir: str
    api_key: str = ""
    api_key_problem: str = ""

    def __repr__(self) -> str:
        return f"AgentSlice({self.agent!r}, own key: {'yes' if self.api_key else 'no'})"


class ProviderSlice(_Slice, frozen=True, kw_only=True):
    """`models.providers.<id>`, resolved. Empty means the built-in value.

    `api_key` may also be the name of a variable in `ProxySlice.environ` (SPEC 2.8, ENV_NAME).
    """

    id: str
    base_url: str = ""
    api_key: str = ""
    api: str = ""
    headers: dict[str, str] = {}
    models: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"ProviderSlice({self.id!r}, key: {'yes' if self.api_key else 'no'})"


class ProxySlice(_Slice, frozen=True, kw_only=True):
    """Everything the cliproxy is told. `environ` holds only provider variables (`PROVIDER_VARIABLES`).

    `auth_order` is `auth.order` of the config: profile ids per provider. `local_ports` are tried on 127.0.0.1 for an
    OpenAI-compatible server; empty means none is looked for.
    """

    socket: str
    agents: tuple[AgentSlice, ...]
    providers: tuple[ProviderSlice, ...] = ()
    environ: dict[str, str] = {}
    auth_order: dict[str, tuple[str, ...]] = {}
    local_ports: tuple[int, ...] = (11434, 8080, 1234, 8000)
    log_level: str = "info"

    def __repr__(self) -> str:
        return f"ProxySlice({len(self.agents)} agents, {len(self.providers)} providers)"
