"""Which model serves an agent: what it names, else the first with a key, else a local server, else offline."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.model_route import Route
from protocol.slices_proxy import AgentSlice, ProviderSlice, ProxySlice
from router.cliproxy.accounts import Asker
from router.cliproxy.profiles import NO_PROFILES
from router.cliproxy.providers import table
from router.cliproxy.routes import Directory, decide

ANTHROPIC = {"ANTHROPIC_API_KEY": "sk-ant-env"}
OPENAI = {"OPENAI_API_KEY": "sk-env"}


def route(model: str, local: dict[str, str] | None = None, key: str = "", **more: Any) -> Route | None:
    agent = AgentSlice(agent="main", token_sha256="", agent_dir="/a", api_key=key)
    settings = ProxySlice(socket="/s", agents=(agent,), **more)
    return decide(Directory(Asker(agent, NO_PROFILES), settings, table(settings), 0.0), model, local)


def served(*given: Any, **more: Any) -> tuple[str, str, str]:
    found = route(*given, **more)
    assert found is not None and found.api != "offline", found
    return found.api, found.provider, found.model


def offline(*given: Any, **more: Any) -> Route:
    found = route(*given, **more)
    assert found is not None and found.api == "offline", found
    return found


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("anthropic/claude-opus-4-6", ("anthropic-messages", "anthropic", "claude-opus-4-6")),
        ("Anthropic/claude-sonnet-4", ("anthropic-messages", "anthropic", "claude-sonnet-4")),
        ("anthropic/", ("anthropic-messages", "anthropic", "claude-sonnet-4-6")),
        ("claude-opus-4-6", ("anthropic-messages", "anthropic", "claude-opus-4-6")),
        ("gpt-5.5", ("openai-completions", "openai", "gpt-5.5")),
        ("openai/ft:gpt/x", ("openai-completions", "openai", "ft:gpt/x")),
        ("mystery", ("anthropic-messages", "anthropic", "mystery")),
        ("", ("anthropic-messages", "anthropic", "claude-sonnet-4-6")),
    ],
)
def test_a_named_model_goes_to_its_provider(model: str, expected: tuple[str, str, str]) -> None:
    assert served(model, environ=ANTHROPIC | OPENAI) == expected


def test_a_model_listed_by_a_custom_provider_is_found_by_its_whole_name() -> None:
    given = ProviderSlice(id="mine", base_url="http://127.0.0.1:9/v1", models=("meta/llama",))
    assert served("meta/llama", providers=(given,)) == ("openai-completions", "mine", "meta/llama")
    assert served("mine/meta/llama", providers=(given,)) == ("openai-completions", "mine", "meta/llama")


def test_no_model_means_the_vendor_of_the_agents_own_key() -> None:
    assert served("", key="gsk_own", environ=ANTHROPIC)[1] == "groq"
    assert served("", environ=OPENAI)[1] == "openai"


def test_a_configured_provider_with_a_model_serves_an_agent_that_names_none() -> None:
    given = ProviderSlice(id="mine", base_url="http://10.0.0.1/v1", api_key="k", models=("m1",))
    assert served("", providers=(given,)) == ("openai-completions", "mine", "m1")


def test_local_servers_are_asked_about_only_when_there_is_nothing_else() -> None:
    assert route("", local_ports=(11434,)) is None
    assert route("", environ=OPENAI, local_ports=(11434,)) is not None
    assert served("", {"ollama": "qwen3:4b"}, local_ports=(11434,)) == ("openai-completions", "ollama", "qwen3:4b")


def test_a_named_local_server_must_run() -> None:
    assert route("ollama/qwen3", local_ports=(11434,)) is None
    assert served("ollama/qwen3", {"ollama": "x"}, local_ports=(11434,))[2] == "qwen3"
    found = offline("ollama/qwen3", {}, local_ports=(11434,))
    assert found.reason == "No ollama server answers on 127.0.0.1:11434" and found.hints == ("ollama serve",)


def test_a_named_provider_without_a_key_is_offline_and_not_replaced() -> None:
    found = offline("anthropic/claude-x", {"ollama": "x"}, environ=OPENAI, local_ports=(11434,))
    assert found.reason == 'No API key found for provider "anthropic"'
    assert found.hints[0] == "openclaw config set env.ANTHROPIC_API_KEY YOUR-KEY && openclaw gateway restart"


def test_nothing_anywhere_says_what_to_type() -> None:
    found = offline("", {})
    assert "No model is configured" in found.reason and "ollama serve" in found.hints


def test_an_unknown_provider_is_named() -> None:
    assert offline("nosuch/x").reason == 'Unknown provider "nosuch" in model "nosuch/x"'


def test_a_refused_own_key_is_not_replaced_by_the_gateways() -> None:
    found = offline("", {"ollama": "x"}, key="sk-ant-oat01-z", environ=OPENAI, local_ports=(11434,))
    assert "only API keys" in found.reason


def test_a_refused_key_of_the_environment_is_passed_over_and_told_when_nothing_else_is_there() -> None:
    bad = {"ANTHROPIC_API_KEY": "sk-ant-oat01-z"}
    assert served("", environ=bad | OPENAI)[1] == "openai"
    assert "subscription token" in offline("", {}, environ=bad).reason


def test_a_provider_that_is_configured_wrongly_is_offline_with_the_config_path() -> None:
    found = offline("x/m", providers=(ProviderSlice(id="x", base_url="nonsense"),))
    assert found.reason == "$.models.providers.x.baseUrl: not an http(s) address"


def test_a_provider_without_any_model_asks_for_one() -> None:
    found = offline("mine/", providers=(ProviderSlice(id="mine", base_url="http://127.0.0.1:9/v1"),))
    assert found.hints == ("openclaw config set agents.defaults.model mine/<model>",)
