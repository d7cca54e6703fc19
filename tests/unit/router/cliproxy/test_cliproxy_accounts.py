"""Whose key serves whom: own apiKey, own profiles, configured key, environment; never another agent's."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.slices_proxy import AgentSlice, ProviderSlice, ProxySlice
from router.cliproxy.accounts import PLACEHOLDER, Asker, Credential, Missing, resolve
from router.cliproxy.profiles import NO_PROFILES, Profile, Profiles
from router.cliproxy.providers import table

NOW = 1_700_000_000.0
ENV = {"ANTHROPIC_API_KEY": "sk-ant-env"}


def asker(key: str = "", profiles: Profiles = NO_PROFILES) -> Asker:
    return Asker(AgentSlice(agent="main", token_sha256="", agent_dir="/a/main/agent", api_key=key), profiles)


def ask(who: Asker, provider: str = "anthropic", *given: ProviderSlice, **more: Any) -> Credential | Missing:
    settings = ProxySlice(socket="/s", agents=(who.slice,), providers=given, **more)
    return resolve(who, table(settings)[provider], settings, NOW)


def stored(**profiles: Profile) -> Profiles:
    return Profiles({f"anthropic:{name}": profile for name, profile in profiles.items()})


def key(text: str, **more: Any) -> Profile:
    return Profile("api_key", "anthropic", key=text, **more)


def refusal(found: Credential | Missing) -> Missing:
    assert isinstance(found, Missing), found
    return found


def test_the_four_sources_are_used_in_this_order() -> None:
    mine, given = stored(default=key("sk-ant-profile")), ProviderSlice(id="anthropic", api_key="sk-ant-config")
    assert ask(asker("sk-ant-own", mine), "anthropic", given, environ=ENV) == Credential(
        "sk-ant-own", 'apiKey of agent "main"'
    )
    assert ask(asker("", mine), "anthropic", given, environ=ENV) == Credential(
        "sk-ant-profile", "auth profile anthropic:default"
    )
    assert ask(asker(), "anthropic", given, environ=ENV) == Credential(
        "sk-ant-config", "models.providers.anthropic.apiKey"
    )
    assert ask(asker(), environ=ENV) == Credential("sk-ant-env", "environment ANTHROPIC_API_KEY")


def test_nothing_at_all_says_what_to_type() -> None:
    found = refusal(ask(asker()))
    assert found.reason == 'No API key found for provider "anthropic"' and found.absent and not found.final
    assert found.hints == (
        "openclaw config set env.ANTHROPIC_API_KEY YOUR-KEY && openclaw gateway restart",
        "nano /a/main/agent/auth-profiles.json",
        "ollama serve",
    )


def test_an_own_key_that_could_not_be_read_is_not_replaced_by_another() -> None:
    slice_ = AgentSlice(agent="main", token_sha256="", agent_dir="/a", api_key_problem="apiKey: $X is not set")
    found = refusal(ask(Asker(slice_, NO_PROFILES), environ=ENV))
    assert found.reason == "apiKey: $X is not set" and found.final


def test_a_key_that_names_another_vendor_is_not_shown_to_this_one() -> None:
    assert refusal(ask(asker("sk-ant-own"), "openai")).absent
    assert isinstance(ask(asker("sk-anything"), "openai"), Credential)


def test_a_key_goes_to_whatever_address_the_operator_chose() -> None:
    found = ask(asker("sk-ant-client-a"), "openai", environ={"OPENAI_BASE_URL": "http://10.0.0.9:8080/v1"})
    assert isinstance(found, Credential) and found.key == "sk-ant-client-a"


def test_a_server_of_this_machine_without_a_key_gets_a_placeholder() -> None:
    environ = {"ANTHROPIC_BASE_URL": "http://localhost:8080/v1"}
    assert ask(asker(), environ=environ) == Credential(PLACEHOLDER, "none needed")
    assert isinstance(ask(asker(), environ={"ANTHROPIC_BASE_URL": "http://h:8080/v1"}), Missing)


def test_a_local_model_server_never_learns_the_agents_own_key() -> None:
    assert ask(asker("sk-mine"), "ollama") == Credential(PLACEHOLDER, "none needed")


@pytest.mark.parametrize(
    "who",
    [
        asker("sk-ant-oat01-x"),
        asker("", stored(setup=Profile("token", "anthropic", token="sk-ant-oat01-x"))),
        asker("", stored(default=key(" sk-ant-oat01-x "))),
    ],
)
def test_a_subscription_token_is_refused_and_nothing_else_is_billed_instead(who: Asker) -> None:
    found = refusal(ask(who, environ=ENV))
    assert "only API keys are supported" in found.reason and found.final
    assert "oat01" not in found.reason


def test_a_subscription_token_in_the_environment_is_refused_too() -> None:
    found = refusal(ask(asker(), environ={"ANTHROPIC_API_KEY": "sk-ant-oat01-x"}))
    assert "environment ANTHROPIC_API_KEY is a Claude subscription token" in found.reason and not found.final


def test_an_oauth_login_is_refused_unless_the_agent_also_has_a_key() -> None:
    login = Profile("oauth", "anthropic")
    found = refusal(ask(asker("", stored(me=login)), environ=ENV))
    assert 'is a "oauth" login' in found.reason and found.hints == ("nano /a/main/agent/auth-profiles.json",)
    assert isinstance(ask(asker("", stored(me=login, other=key("sk-ant-1")))), Credential)


def test_an_expired_token_is_passed_over() -> None:
    old = Profile("token", "anthropic", token="t1", expires=(NOW - 1) * 1000)
    new = Profile("token", "anthropic", token="t2", expires=(NOW + 1) * 1000)
    assert ask(asker("", stored(a=old, b=new))) == Credential("t2", "auth profile anthropic:b")
    assert "has expired" in refusal(ask(asker("", stored(a=old)))).reason


def test_key_references_to_the_environment_are_followed() -> None:
    profile = Profile("api_key", "anthropic", keyRef={"source": "env", "provider": "default", "id": "GROQ_API_KEY"})
    found = ask(asker("", stored(a=profile)), environ={"GROQ_API_KEY": "sk-ref"})
    assert isinstance(found, Credential) and found.key == "sk-ref"
    assert "no key that can be read" in refusal(ask(asker("", stored(a=profile)))).reason
    odd = Profile("api_key", "anthropic", keyRef="what")
    assert "no key that can be read" in refusal(ask(asker("", stored(a=odd)))).reason


def test_a_configured_key_may_name_a_variable() -> None:
    given = ProviderSlice(id="mine", base_url="http://10.0.0.1/v1", api_key="GROQ_API_KEY")
    found = ask(asker(), "mine", given, environ={"GROQ_API_KEY": "gsk_1"})
    assert isinstance(found, Credential) and found.key == "gsk_1"


def test_a_broken_profile_file_stops_this_agent_with_its_path() -> None:
    found = refusal(ask(asker("", Profiles(problem="is not valid JSON")), environ=ENV))
    assert found.reason == "/a/main/agent/auth-profiles.json is not valid JSON" and found.final


@pytest.mark.parametrize("bad", ["a b", "a\r\nX-Evil: 1", "ключ", "a\x00b"])
def test_a_key_that_could_break_a_header_is_refused(bad: str) -> None:
    assert "characters that no key has" in refusal(ask(asker(bad))).reason


def test_nothing_that_holds_a_key_shows_it() -> None:
    given = ProviderSlice(id="x", api_key="sk-secret", headers={"a": "sk-secret"})
    who = asker("sk-secret", stored(a=key("sk-secret")))
    settings = ProxySlice(socket="/s", agents=(who.slice,), providers=(given,), environ={"A": "sk-secret"})
    shown = repr((who, settings, given, Credential("sk-secret", "x"), table(settings)))
    assert "sk-secret" not in shown
