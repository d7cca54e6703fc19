"""Addresses come out right however they were written, and only from the table and the configuration."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.slices_proxy import ProviderSlice, ProxySlice
from router.cliproxy.providers import Provider, is_loopback, join, owner_of_key, owner_of_model, table


def settings(*providers: ProviderSlice, **more: Any) -> ProxySlice:
    return ProxySlice(socket="/s", agents=(), providers=providers, **more)


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/", "https://api.anthropic.com/v1/messages"),
        ("http://localhost:8080/v1", "http://localhost:8080/v1/messages"),
        ("http://localhost:8080/v1/", "http://localhost:8080/v1/messages"),
        ("https://x.dev/anthropic", "https://x.dev/anthropic/v1/messages"),
        ("https://x.dev/v1/messages?beta=1#x", "https://x.dev/v1/messages"),
    ],
)
def test_an_anthropic_base_may_or_may_not_end_in_v1(base: str, url: str) -> None:
    assert join(base, "anthropic-messages") == url


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
        ("http://localhost:8080", "http://localhost:8080/v1/chat/completions"),
        ("http://localhost:8080/", "http://localhost:8080/v1/chat/completions"),
        ("https://api.groq.com/openai/v1/", "https://api.groq.com/openai/v1/chat/completions"),
        ("https://x.dev/api/v3/chat/completions", "https://x.dev/api/v3/chat/completions"),
    ],
)
def test_an_openai_base_gets_v1_only_when_it_has_no_path(base: str, url: str) -> None:
    assert join(base, "openai-completions") == url


def test_base_urls_from_the_environment_are_used_and_a_configured_one_beats_them() -> None:
    environ = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    found = table(settings(ProviderSlice(id="openai", base_url="http://other:1/v1"), environ=environ))
    assert found["anthropic"].url == "http://127.0.0.1:9/v1/messages" and found["anthropic"].own_url
    assert found["openai"].url == "http://other:1/v1/chat/completions"


def test_a_configured_key_keeps_the_built_in_rest() -> None:
    found = table(settings(ProviderSlice(id="Anthropic", api_key="k")))["anthropic"]
    assert found.api == "anthropic-messages" and found.variables == ("ANTHROPIC_API_KEY",) and not found.own_url


def test_a_custom_provider_speaks_openai_unless_it_says_otherwise() -> None:
    given = ProviderSlice(id="mine", base_url="http://h:1/v1", models=("a/b", "c"))
    found = table(settings(given, ProviderSlice(id="claudish", base_url="http://h:2", api="anthropic-messages")))
    assert found["mine"].api == "openai-completions" and found["mine"].default_model == "a/b"
    assert found["claudish"].url == "http://h:2/v1/messages"


@pytest.mark.parametrize(
    ("given", "where"),
    [
        (ProviderSlice(id="x"), "$.models.providers.x.baseUrl"),
        (ProviderSlice(id="x", base_url="ftp://h"), "$.models.providers.x.baseUrl"),
        (ProviderSlice(id="x", base_url="http://h:99999999"), "$.models.providers.x.baseUrl"),
        (ProviderSlice(id="x", base_url="http://[::1"), "$.models.providers.x.baseUrl"),
        (ProviderSlice(id="x", base_url="http://h", api="google-generative-ai"), "$.models.providers.x.api"),
    ],
)
def test_a_provider_that_cannot_work_says_where(given: ProviderSlice, where: str) -> None:
    assert table(settings(given))["x"].problem.startswith(where)


def test_local_ports_become_providers_under_their_known_names() -> None:
    found = table(settings(local_ports=(11434, 5555)))
    assert found["ollama"].local == 11434 and found["local-5555"].url == "http://127.0.0.1:5555/v1/chat/completions"


def test_a_configured_ollama_elsewhere_is_no_local_server() -> None:
    found = table(settings(ProviderSlice(id="ollama", base_url="http://gpu:11434", api="ollama")))["ollama"]
    assert found.local == 0 and found.url == "http://gpu:11434/v1/chat/completions"


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("http://localhost:1", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:1", True),
        ("http://localhost.evil.com", False),
        ("http://10.0.0.1", False),
        ("http://[", False),
    ],
)
def test_loopback_is_this_machine_only(url: str, answer: bool) -> None:
    assert is_loopback(url) is answer


def test_keys_and_models_name_their_vendor_only_when_unmistakable() -> None:
    assert [owner_of_key(key) for key in ("sk-ant-api03-x", "sk-or-v1-x", "AIzaX", "sk-x", "")] == [
        "anthropic", "openrouter", "google", "", ""]  # fmt: skip
    assert owner_of_model("claude-opus-4-6") == "anthropic" and owner_of_model("llama") == ""


def test_a_provider_shows_itself_without_its_key() -> None:
    assert "secret" not in repr(Provider(id="x", api="openai-completions", base_url="http://h", key="secret"))
