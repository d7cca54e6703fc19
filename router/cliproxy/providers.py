"""The model vendors we know, and how a configured address becomes the one that is called. Pure.

Addresses come from this table and the configuration only, never from a request (FIELD S54).
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

import msgspec

from protocol.slices_proxy import ProviderSlice, ProxySlice

Api = Literal["anthropic-messages", "openai-completions"]

#: `models.providers.<id>.api` values we can serve, and what they mean here. Ollama also speaks the OpenAI format.
APIS: dict[str, Api] = {
    "": "openai-completions",
    "anthropic-messages": "anthropic-messages",
    "openai-completions": "openai-completions",
    "ollama": "openai-completions",
}
#: Servers known by the port they listen on when nobody says otherwise.
LOCAL_PORTS = {11434: "ollama", 8080: "llamacpp", 1234: "lmstudio", 8000: "vllm"}
#: What starts each of them.
LOCAL_COMMANDS = {
    "ollama": "ollama serve",
    "llamacpp": "llama-server -m model.gguf --port 8080",
    "lmstudio": "lms server start",
    "vllm": "vllm serve Qwen/Qwen3-8B",
}


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One vendor as it is called now.

    `own_url` means that the operator chose the address. `local` is the port of a model server on 127.0.0.1 that
    needs no key, 0 for all others. `problem` says why this entry cannot be used at all.
    """

    id: str
    api: Api
    base_url: str
    default_model: str = ""
    variables: tuple[str, ...] = ()
    url_variable: str = ""
    key: str = ""
    headers: dict[str, str] = {}
    models: tuple[str, ...] = ()
    own_url: bool = False
    local: int = 0
    problem: str = ""

    def __repr__(self) -> str:
        return f"Provider({self.id!r}, {self.base_url!r})"

    @property
    def url(self) -> str:
        """Where questions are posted."""
        return join(self.base_url, self.api)

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.base_url)


def _vendor(name: str, url: str, model: str, *variables: str) -> Provider:
    return Provider(id=name, api="openai-completions", base_url=url, default_model=model, variables=variables)


#: In the order in which one is chosen for an agent without a model. Default models: docs/models.md.
BUILT_IN = (
    Provider(
        id="anthropic",
        api="anthropic-messages",
        base_url="https://api.anthropic.com",
        default_model="claude-sonnet-4-6",
        variables=("ANTHROPIC_API_KEY",),
        url_variable="ANTHROPIC_BASE_URL",
    ),
    Provider(
        id="openai",
        api="openai-completions",
        base_url="https://api.openai.com/v1",
        default_model="gpt-5.5",
        variables=("OPENAI_API_KEY",),
        url_variable="OPENAI_BASE_URL",
    ),
    _vendor(
        "google",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "gemini-2.5-flash",
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
    ),
    _vendor("openrouter", "https://openrouter.ai/api/v1", "openrouter/auto", "OPENROUTER_API_KEY"),
    _vendor("groq", "https://api.groq.com/openai/v1", "llama-3.3-70b-versatile", "GROQ_API_KEY"),
    _vendor("mistral", "https://api.mistral.ai/v1", "mistral-large-latest", "MISTRAL_API_KEY"),
    _vendor("deepseek", "https://api.deepseek.com/v1", "deepseek-chat", "DEEPSEEK_API_KEY"),
    _vendor("xai", "https://api.x.ai/v1", "grok-4", "XAI_API_KEY"),
    _vendor("together", "https://api.together.xyz/v1", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "TOGETHER_API_KEY"),
    _vendor("cerebras", "https://api.cerebras.ai/v1", "llama-3.3-70b", "CEREBRAS_API_KEY"),
    _vendor("litellm", "http://127.0.0.1:4000/v1", "", "LITELLM_API_KEY"),
)


def table(settings: ProxySlice) -> dict[str, Provider]:
    """Every provider by its id: built in, local, configured, in this order."""
    found = {provider.id: _at_variable(provider, settings.environ) for provider in BUILT_IN}
    for port in (*LOCAL_PORTS, *settings.local_ports):
        name = LOCAL_PORTS.get(port, f"local-{port}")
        url = f"http://127.0.0.1:{port}/v1"
        found[name] = Provider(id=name, api="openai-completions", base_url=url, local=port)
    for given in settings.providers:
        found[given.id.lower()] = _configured(given, found.get(given.id.lower()))
    return found


def _at_variable(provider: Provider, environ: dict[str, str]) -> Provider:
    url = environ.get(provider.url_variable, "").strip()
    if not url:
        return provider
    return msgspec.structs.replace(
        provider, base_url=url, own_url=True, problem=_url_problem(url, provider.url_variable)
    )


def _configured(given: ProviderSlice, known: Provider | None) -> Provider:
    url = given.base_url or (known.base_url if known else "")
    where = f"$.models.providers.{given.id}"
    problem = "" if given.api in APIS else f"{where}.api: {given.api!r} is not spoken here; use {_api_names()}"
    problem = problem or (_url_problem(url, f"{where}.baseUrl") if given.base_url or known is None else known.problem)
    return Provider(
        id=given.id.lower(),
        api=known.api if known and not given.api else APIS.get(given.api, "openai-completions"),
        base_url=url,
        default_model=given.models[0] if given.models else known.default_model if known else "",
        variables=known.variables if known else (),
        url_variable=known.url_variable if known else "",
        key=given.api_key,
        headers=given.headers,
        models=given.models,
        own_url=bool(given.base_url) or bool(known and known.own_url),
        local=known.local if known and not given.base_url else 0,
        problem=problem,
    )


def _api_names() -> str:
    return " or ".join(name for name in APIS if name)


def _url_problem(url: str, where: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    return "" if good else f"{where}: not an http(s) address"


def join(base_url: str, api: Api) -> str:
    """The address of one request. A base may or may not end in /v1, or already name the endpoint (SPEC 5.9.5, 8.4)."""
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    if api == "anthropic-messages":
        path = path.removesuffix("/messages").removesuffix("/v1") + "/v1/messages"
    else:
        # A bare host means the usual /v1; a path is taken as it is, since vendors differ (/openai, /api/v3 …).
        path = (path.removesuffix("/chat/completions") or "/v1") + "/chat/completions"
    return parts._replace(path=path, query="", fragment="").geturl()


def is_loopback(url: str) -> bool:
    """Whether an address stays on this machine."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host in ("localhost", "::1") or host.startswith("127.")


#: Key prefixes that belong to one vendor. `sk-` alone is OpenAI's, but others copied it, so it decides nothing.
_KEY_PREFIXES = (
    ("sk-ant-", "anthropic"),
    ("sk-or-", "openrouter"),
    ("sk-proj-", "openai"),
    ("AIza", "google"),
    ("gsk_", "groq"),
    ("xai-", "xai"),
    ("csk-", "cerebras"),
)


def owner_of_key(key: str) -> str:
    """The provider a key unmistakably belongs to, or "" when it could be anybody's."""
    return next((owner for prefix, owner in _KEY_PREFIXES if key.startswith(prefix)), "")


_MODEL_PREFIXES = (
    ("claude", "anthropic"),
    ("gpt-", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("gemini", "google"),
    ("grok", "xai"),
    ("deepseek", "deepseek"),
    ("mistral", "mistral"),
)


def owner_of_model(model: str) -> str:
    """The vendor of a model named without a provider, or ""."""
    return next((owner for prefix, owner in _MODEL_PREFIXES if model.startswith(prefix)), "")
