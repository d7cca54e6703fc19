"""Each process is told its own part and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from protocol.paths import Paths
from supervisor.config.load import Loaded, evaluate
from supervisor.config.slices import agent_ids, proxy_slice, router_slice, worker_slice


class Cut:
    """The slices of one configuration."""

    def __init__(self, home: Path, config: dict[str, Any], **environ: str) -> None:
        self.environ = {"HOME": str(home), **environ}
        self.paths = Paths.from_environ(self.environ)
        self.loaded: Loaded = evaluate(config, self.paths, self.environ)
        ids = agent_ids(self.loaded.config)
        self.tokens = {one: "pt-" + one for one in ids}
        self.warnings: list[str] = []

    def router(self) -> Any:
        return router_slice(
            self.loaded.config, self.paths, self.environ,
            token="t", host="127.0.0.1", port=1, warn=self.warnings.append,
        )  # fmt: skip

    def worker(self, agent: str) -> Any:
        return worker_slice(self.loaded.config, self.paths, agent, self.tokens[agent])

    def proxy(self) -> Any:
        return proxy_slice(self.loaded.config, self.paths, self.tokens, self.environ, warn=self.warnings.append)


TWO: dict[str, Any] = {
    "agents": {"list": [{"id": "main", "apiKey": "sk-main"}, {"id": "Work", "model": "openai/x", "apiKey": "sk-work"}]},
    "channels": {"telegram": {"accounts": {"default": {}, "work": {"botToken": "2:work"}}}},
}


def text_of(slice_: Any) -> str:
    return msgspec.json.encode(slice_).decode()


def test_the_router_sees_no_model_key_and_no_files(tmp_path: Path) -> None:
    """Keys belong to the cliproxy, folders to the workers."""
    text = text_of(Cut(tmp_path, TWO, ANTHROPIC_API_KEY="sk-env").router())
    assert "sk-" not in text and "pt-" not in text and "workspace" not in text


def test_a_worker_sees_neither_tokens_nor_keys_nor_other_agents_secrets(tmp_path: Path) -> None:
    """Only its own link key and proxy token."""
    text = text_of(Cut(tmp_path, TWO, TELEGRAM_BOT_TOKEN="1:env").worker("work"))
    assert "sk-" not in text and "2:work" not in text and "1:env" not in text
    assert "pt-work" in text and "pt-main" not in text


def test_the_proxy_gets_each_agents_own_key_and_provider_variables_only(tmp_path: Path) -> None:
    """Tokens are known by their digest; a provider may name a variable of its own."""
    config = {**TWO, "models": {"providers": {"corp": {"apiKey": "CORP_KEY", "baseUrl": "http://x"}}}}
    environ = {"OPENAI_API_KEY": "o", "CORP_KEY": "c", "STRIPE_API_KEY": "no", "TELEGRAM_BOT_TOKEN": "no"}
    proxy = Cut(tmp_path, config, **environ).proxy()
    assert {one.agent: one.api_key for one in proxy.agents} == {"main": "sk-main", "work": "sk-work"}
    assert proxy.environ == {"OPENAI_API_KEY": "o", "CORP_KEY": "c"}
    assert "pt-" not in text_of(proxy)


def test_a_key_that_cannot_be_had_is_not_replaced_by_another(tmp_path: Path) -> None:
    """The proxy is told, so that nobody else pays for this agent."""
    cut = Cut(tmp_path, {"agents": {"list": [{"id": "a", "apiKey": "${GONE}"}]}})
    assert cut.proxy().agents[0].api_key_problem == "agents.list: apiKey of agent a missing env var in ${GONE}"
    assert cut.warnings == ["agents.list: apiKey of agent a missing env var in ${GONE}"]


def test_a_token_of_the_environment_is_for_the_default_account_alone(tmp_path: Path) -> None:
    """SPEC 1.3; a token of the configuration beats it."""
    telegram = Cut(tmp_path, TWO, TELEGRAM_BOT_TOKEN="1:env").router().channels["telegram"]
    assert telegram == {"botToken": "1:env", "accounts": {"default": {}, "work": {"botToken": "2:work"}}}
    own = {"channels": {"telegram": {"botToken": "3:own"}}}
    assert Cut(tmp_path, own, TELEGRAM_BOT_TOKEN="1:env").router().channels["telegram"]["botToken"] == "3:own"
    assert Cut(tmp_path, {}, TELEGRAM_BOT_TOKEN="1:env").router().channels == {"telegram": {"botToken": "1:env"}}


def test_an_account_without_its_secret_is_unconfigured_and_the_others_go_on(tmp_path: Path) -> None:
    """Named in a warning, without failing the whole."""
    missing = {"source": "env", "id": "GONE"}
    accounts = {"a": {"botToken": missing}, "b": {"botToken": "${GONE}"}, "c": {"botToken": "3:c"}}
    cut = Cut(tmp_path, {"channels": {"telegram": {"accounts": accounts}}})
    assert cut.router().channels["telegram"]["accounts"] == {"a": {}, "b": {}, "c": {"botToken": "3:c"}}
    assert [one.split(":")[0] for one in cut.warnings] == [
        "channels.telegram.accounts.a.botToken",
        "channels.telegram.accounts.b.botToken",
    ]


def test_a_token_file_is_read_unless_it_is_a_link(tmp_path: Path) -> None:
    """A regular file only."""
    (tmp_path / "token").write_text("4:file\n")
    (tmp_path / "link").symlink_to(tmp_path / "token")
    accounts = {"a": {"tokenFile": "~/token"}, "b": {"tokenFile": "~/link"}}
    cut = Cut(tmp_path, {"channels": {"telegram": {"accounts": accounts}}})
    assert cut.router().channels["telegram"]["accounts"] == {"a": {"botToken": "4:file"}, "b": {}}
    assert "symbolic link" in cut.warnings[0]


def test_a_worker_may_not_touch_what_belongs_to_others(tmp_path: Path) -> None:
    """The state folder with everything in it, but for its own workspace and sessions."""
    state = tmp_path / ".openclaw"
    worker = Cut(tmp_path, TWO).worker("work")
    assert set(worker.forbidden_paths) == {str(state), str(state / "agents/work/agent")}
    own = ("workspace-work", "agents/work/sessions", "skills")
    assert worker.allowed_paths == tuple(str(state / part) for part in own)
    opened = {**TWO, "tools": {"fs": {"allowCrossAgent": True}}}
    assert str(state / "workspace") in Cut(tmp_path, opened).worker("work").allowed_paths


def test_tool_layers_come_in_their_order(tmp_path: Path) -> None:
    """Global, global provider, agent, agent provider; empty ones are left out."""
    config = {
        "tools": {
            "profile": "coding",
            "deny": ["cron"],
            "byProvider": {"openai": {"deny": ["exec"]}},
            "exec": {"timeoutSec": 9},
        },
        "agents": {"list": [{"id": "a", "model": "openai/x", "tools": {"alsoAllow": ["browser"]}}]},
    }
    worker = Cut(tmp_path, config).worker("a")
    assert [(one.allow, one.also_allow, one.deny) for one in worker.tool_layers] == [
        (None, None, ("cron",)),
        (None, None, ("exec",)),
        (None, ("browser",), None),
    ]
    assert (worker.tool_profile, worker.exec_timeout) == ("coding", 9)
    assert worker.tool_profile_also == ("browser", "exec", "process")


def test_a_model_alias_is_resolved_and_an_own_model_has_no_foreign_fallbacks(tmp_path: Path) -> None:
    """SPEC 5.9.1."""
    config = {
        "agents": {
            "defaults": {"model": {"primary": "fast", "fallbacks": ["b/b"]}, "models": {"a/a": {"alias": "fast"}}},
            "list": [{"id": "x"}, {"id": "y", "model": "fast"}],
        }
    }
    cut = Cut(tmp_path, config)
    assert (cut.worker("x").model, cut.worker("x").fallbacks) == ("a/a", ("b/b",))
    assert (cut.worker("y").model, cut.worker("y").fallbacks) == ("a/a", ())


def test_local_model_ports_can_be_chosen(tmp_path: Path) -> None:
    """Unset: the well-known ones; empty: none."""
    assert Cut(tmp_path, {}).proxy().local_ports == (11434, 8080, 1234, 8000)
    for text, ports in (("1234, 8000", (1234, 8000)), ("99999,x,5", (5,))):
        assert Cut(tmp_path, {}, OPENCLAW_LOCAL_MODEL_PORTS=text).proxy().local_ports == ports


def test_no_local_port_is_tried_when_the_variable_is_empty(tmp_path: Path) -> None:
    """Empty is a choice here, unlike for other variables."""
    assert Cut(tmp_path, {}, OPENCLAW_LOCAL_MODEL_PORTS="").proxy().local_ports == ()
