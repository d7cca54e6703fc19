# ruff: noqa: E501  # whole messages on one line are what a reader compares
"""Everything that is wrong with a configuration is told at once, with its path and what was meant."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.paths import Paths
from supervisor.config import check
from supervisor.config.problems import where

PATHS = Paths.from_environ({"HOME": "/home/tester"})
BOT = "1:a"


def told(value: Any) -> list[str]:
    found = check.problems(value, PATHS)
    return [f"{one.path}: {one.message}" + (f" ({one.hint})" if one.hint else "") for one in found]


def test_all_problems_of_a_file_are_told_in_file_order() -> None:
    """One walk, no stop at the first."""
    value = {
        "session": {"dmScope": "per-pee"},
        "agents": {"list": [{"id": "a", "wrkspace": "x", "default": "yes"}]},
        "gateway": {"port": "18789", "bind": 3},
        "sesion": {},
        "bindings": [{"agentId": "b", "match": {}}],
    }
    assert told(value) == [
        '<root>: Unrecognized key: "sesion" (did you mean "session"?)',
        'session.dmScope: Invalid input (allowed: "main", "per-peer", "per-channel-peer", "per-account-channel-peer")'
        ' (did you mean "per-peer"?)',
        'agents.list.0: Unrecognized key: "wrkspace" (did you mean "workspace"?)',
        "agents.list.0.default: Invalid input: expected boolean, received string",
        "gateway.port: Invalid input: expected number, received string",
        'gateway.bind: Invalid input (allowed: "auto", "lan", "loopback", "custom", "tailnet")',
        "bindings.0.match.channel: Invalid input: expected string, received undefined",
        'bindings.0.agentId: unknown agent "b" (openclaw agents add b)',
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], "<root>: Invalid input: expected object, received array"),
        ({"agents": None}, "agents: Invalid input: expected object, received null"),
        ({"agents": {"list": [{}]}}, "agents.list.0.id: Invalid input: expected string, received undefined"),
        ({"gateway": {"port": 70000}}, "gateway.port: Too big: expected number to be <=65535"),
        ({"gateway": {"port": 1.5}}, "gateway.port: Invalid input: expected a whole number"),
        ({"agents": {"defaults": {"maxConcurrent": 0}}}, "agents.defaults.maxConcurrent: Too small: expected number to be >0"),
        ({"channels": {"telegrm": {}}}, 'channels.telegrm: unknown channel id: telegrm (did you mean "telegram"?)'),
        ({"channels": {"telegram": {"botTokn": "x"}}}, 'channels.telegram: Unrecognized key: "botTokn" (did you mean "botToken"?)'),
        (
            {"channels": {"telegram": {"accounts": {"work": {"dmPolicy": "opn"}}}}},
            'channels.telegram.accounts.work.dmPolicy: Invalid input (allowed: "pairing", "allowlist", "open", "disabled")'
            ' (did you mean "open"?)',
        ),
        ({"channels": {"irc": {"nickserv": {"pasword": "x"}}}}, 'channels.irc.nickserv: Unrecognized key: "pasword" (did you mean "password"?)'),
        (
            {"channels": {"telegram": {"dmPolicy": "open", "allowFrom": ["1"]}}},
            'channels.telegram.allowFrom: dmPolicy "open" requires allowFrom to include "*" (allowFrom: ["*"])',
        ),
        (
            {"channels": {"telegram": {"accounts": {"a": {"botToken": BOT}, "b": {"botToken": BOT}}}}},
            'channels.telegram.accounts.b.botToken: the same token as account "a"'
            " (openclaw channels login --channel telegram --account b)",
        ),
        (
            {"agents": {"list": [{"id": "a", "agentDir": "/x"}, {"id": "b", "agentDir": "/x/"}]}},
            'agents.list: Duplicate agentDir detected (multi-agent config). Conflicts: /x: "a", "b"'
            " (to share credentials copy auth-profiles.json, never the folder)",
        ),
        (
            {"agents": {"list": [{"id": "work"}]}, "bindings": [{"agentId": "wrk", "match": {"channel": "irc"}}]},
            'bindings.0.agentId: unknown agent "wrk" (did you mean "work"?)',
        ),
        (
            {"agents": {"defaults": {"sandbox": {"docker": {"network": "host"}}}}},
            'agents.defaults.sandbox.docker.network: Sandbox security: network mode "host" is blocked. Use "bridge" or "none"'
            " instead.",
        ),
        (
            {"agents": {"list": [{"id": "a", "apiKey": "sk-ant-oat01-x"}]}},
            "agents.list.0.apiKey: this is a login of a consumer subscription; providers forbid sharing it, use an API key",
        ),
        (
            {"messages": {"groupChat": {"mentionPatterns": ["(?<=a)b"]}}},
            "messages.groupChat.mentionPatterns.0: mention pattern '(?<=a)b' needs lookaround or a backreference:"
            " not supported",
        ),
        ({"broadcast": {"strategy": "paralel"}}, 'broadcast.strategy: Invalid input (allowed: "parallel", "sequential") (did you mean "parallel"?)'),
        (
            {"channels": {"telegram": {"botToken": {"source": "env", "id": "lower"}}}},
            "channels.telegram.botToken: env id 'lower' must match ^[A-Z][A-Z0-9_]{0,127}$",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_told_once_with_a_hint(value: Any, expected: str) -> None:
    """Path as in SPEC 2.9, message, and what to do where that is known."""
    assert told(value) == [expected]


@pytest.mark.parametrize(
    "value",
    [
        {"channels": {"discord": {"guilds": {"1": {"channels": {"2": {"allow": True}}}}}}},
        {"channels": {"matrix": {"homeserver": "https://example.org", "dmPolicy": "pairing"}}},
        {"channels": {"defaults": {"groupPolicy": "open"}, "modelByChannel": {"telegram": {"1": "x/y"}}}},
        {"channels": {"telegram": {"groups": {"-1": {"topics": {"5": {"agentId": "x"}}}}}}},
        {"channels": {"telegram": {"dmPolicy": "open", "accounts": {"a": {"allowFrom": ["*"]}}, "allowFrom": ["*"]}}},
        {"bindings": [{"agentId": "anyone", "match": {"channel": "teams2"}}]},
        {"agents": {"list": [{"id": "a"}]}, "bindings": [{"agentId": "x", "type": "acp", "match": {"channel": "irc"}}]},
        {"browser": {"anything": 1}, "$schema": "x", "plugins": {"entries": {}}},
    ],
)
def test_what_the_original_accepts_is_accepted(value: Any) -> None:
    """Sections this build does not use are kept and not judged."""
    assert told(value) == []


def test_warnings_name_what_is_probably_not_meant() -> None:
    """They stop nothing."""
    value = {
        "agents": {"list": [{"id": "a", "default": True}, {"id": "b", "default": True}, {"id": "A"}]},
        "bindings": [
            {"agentId": "a", "match": {"channel": "telegram"}},
            {"agentId": "a", "match": {"channel": "telegrm"}},
        ],
        "channels": {"telegram": {"dmPolicy": "allowlist", "accounts": {"default": {}, "work": {}}}},
    }
    assert check.problems(value, PATHS) == ()
    assert check.warnings(value) == (
        'agents.list.2: agent "a" is listed already; the first entry is used',
        'agents.list: 2 agents are marked default; "a" is it',
        'bindings.0: without accountId it is for the telegram account "default" only, not for work; accountId: "*" means all',
        'bindings.1.match.channel: unknown channel "telegrm"; did you mean "telegram"?',
        "channels.telegram.allowFrom: dmPolicy allowlist with an empty list blocks every direct message",
    )


def test_a_problem_has_a_place_in_one_line() -> None:
    """For errors that are shown alone."""
    first = check.problems({"agents": {"list": [{"id": "a", "wrkspace": 1}]}}, PATHS)[0]
    assert where(first) == "$.agents.list[0].wrkspace"
