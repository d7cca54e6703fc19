"""One reading of the configuration: start rules, slices, and what must never be logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import UserError
from protocol.paths import Paths
from protocol.sandbox import Seat
from supervisor.plan import Plan, RunOptions, reader, secret_values

BOT = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path / "s", tmp_path / "openclaw.json")


def plan(tmp_path: Path, config: dict[str, Any] | None = None, **options: Any) -> Plan:
    if config is not None:
        (tmp_path / "openclaw.json").write_text(json.dumps(config))
    return reader(paths(tmp_path), RunOptions(**options), {"ANTHROPIC_API_KEY": "sk-ant-key-of-the-environment"})()


def test_without_a_configuration_it_does_not_start_unless_told_to(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Missing config") as caught:
        plan(tmp_path)
    assert caught.value.exit_code == 78
    assert list(plan(tmp_path, allow_unconfigured=True, token="t").agents) == ["main"]


def test_a_remote_gateway_is_not_started_here(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set gateway\.mode=local \(current: remote\)") as caught:
        plan(tmp_path, {"gateway": {"mode": "remote"}})
    assert (caught.value.exit_code, caught.value.where) == (78, "$.gateway.mode")


def test_each_process_gets_its_own_part(tmp_path: Path) -> None:
    found = plan(tmp_path, {"agents": {"list": [{"id": "main"}, {"id": "ops"}]}}, token="t", port=1)
    assert [agent.id for agent in found.router.agents] == list(found.agents) == ["main", "ops"]
    assert (found.router.host, found.router.port, found.router.token) == ("127.0.0.1", 1, "t")
    worker = found.fixed[Seat("ops")]
    assert worker.slice.worker_public == worker.link.worker_public
    assert worker.slice.proxy_token not in repr(found.proxy)


def test_keys_of_an_agent_stay_the_same_when_the_configuration_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "openclaw.json").write_text("{}")
    read = reader(paths(tmp_path), RunOptions(token="t"), {})
    assert read().fixed[Seat("main")] == read().fixed[Seat("main")]


def test_a_made_token_is_noted_once(tmp_path: Path) -> None:
    first, second = plan(tmp_path, {}), plan(tmp_path, {})
    assert first.router.token == second.router.token
    assert any("Generated a new token" in text for _, text in first.notes)
    assert not any("Generated a new token" in text for _, text in second.notes)


def test_every_secret_is_named_for_the_masker(tmp_path: Path) -> None:
    config = {
        "agents": {"list": [{"id": "main", "apiKey": "key-of-the-agent-1"}]},
        "channels": {"telegram": {"botToken": BOT}, "irc": {"host": "h", "nick": "n", "password": "irc-password-1"}},
        "models": {"providers": {"own": {"baseUrl": "http://x/v1", "apiKey": "key-of-the-provider"}}},
    }
    found = secret_values(plan(tmp_path, config, token="gateway-token-1"))
    wanted = {
        "gateway-token-1", BOT, "irc-password-1", "key-of-the-agent-1", "key-of-the-provider",
        "sk-ant-key-of-the-environment",
    }  # fmt: skip
    assert wanted <= found
    assert not {"h", "n", "http://x/v1"} & found
