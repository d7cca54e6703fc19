"""Who is told something else, and only they."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol.paths import Paths
from supervisor.changes import Changes, compare, describe, keep_listener
from supervisor.plan import Plan, RunOptions, reader

BASE: dict[str, Any] = {
    "agents": {"list": [{"id": "main"}, {"id": "ops"}]},
    "bindings": [{"agentId": "ops", "match": {"channel": "telegram", "accountId": "work"}}],
    "channels": {"telegram": {"accounts": {"default": {"botToken": "1:a"}, "work": {"botToken": "2:b"}}}},
}
Read = Callable[[dict[str, Any]], Plan]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    file = tmp_path / "openclaw.json"
    plan = reader(Paths(tmp_path, tmp_path / "s", file), RunOptions(), {"OPENCLAW_GATEWAY_TOKEN": "t"})

    def read(config: dict[str, Any]) -> Plan:
        file.write_text(json.dumps(config))
        return plan()

    return read


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ({}, Changes()),
        ({"ui": {"seamColor": "#fff"}}, Changes()),
        ({"bindings": []}, Changes(router=True)),
        ({"session": {"dmScope": "per-peer"}}, Changes(router=True)),
        ({"agents": {"list": [{"id": "main"}, {"id": "ops", "model": "openai/x"}]}}, Changes(changed=("ops",))),
        ({"agents": {"list": [{"id": "main"}, {"id": "ops", "apiKey": "sk-x"}]}}, Changes(proxy=True)),
        (
            {"agents": {"list": [{"id": "main"}, {"id": "fam"}]}, "bindings": []},
            Changes(added=("fam",), removed=("ops",), router=True, proxy=True),
        ),
        (
            {"channels": {"telegram": {"accounts": {"default": {"botToken": "1:a"}, "work": {"botToken": "2:new"}}}}},
            Changes(accounts=("telegram:work",), router=True),
        ),
        ({"gateway": {"port": 4711}}, Changes(listener=True)),
        ({"gateway": {"auth": {"token": "other"}}}, Changes(listener=True)),
        ({"models": {"providers": {"openai": {"baseUrl": "http://127.0.0.1:1"}}}}, Changes(proxy=True)),
        ({"logging": {"file": "/tmp/x.log"}}, Changes(log_file=True)),
    ],
)
def test_a_change_touches_what_it_changes(read: Read, change: dict[str, Any], changes: Changes) -> None:
    old = read({**BASE, "gateway": {}})
    assert compare(old, read({**BASE, "gateway": {}, **change})) == changes


def test_a_kept_listener_is_no_change(read: Read) -> None:
    old, new = read(BASE), read({**BASE, "gateway": {"port": 4711, "auth": {"token": "other"}}})
    assert compare(old, keep_listener(old, new)).nothing


def test_what_was_done_is_said_in_words() -> None:
    assert describe(Changes()) == "nothing"
    changes = Changes(added=("a",), changed=tuple(f"b{n}" for n in range(12)), router=True, listener=True)
    assert describe(changes).startswith("new workers a; workers replaced b0, ")
    assert describe(changes).endswith("b9 …; routing and access; router restarted")
