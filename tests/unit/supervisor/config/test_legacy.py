"""Old spellings are found, and what becomes of them is a good configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocol.paths import Paths
from supervisor.config import check
from supervisor.config.legacy import modernise, outdated
from supervisor.config.load import evaluate
from supervisor.config.parse import parse
from supervisor.config.salvage import salvage

PATHS = Paths.from_environ({"HOME": "/home/tester"})

OLD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"gateway": {"bind": "0.0.0.0"}}, {"gateway": {"bind": "lan"}}),
    ({"gateway": {"bind": "127.0.0.1", "port": 1}}, {"gateway": {"bind": "loopback", "port": 1}}),
    ({"gateway": {"token": "t"}}, {"gateway": {"auth": {"token": "t"}}}),
    ({"agent": {"model": "a/b"}}, {"agents": {"defaults": {"model": "a/b"}}}),
    ({"routing": {"bindings": []}}, {"bindings": []}),
    (
        {"routing": {"groupChat": {"mentionPatterns": ["x"]}, "allowFrom": ["+1"]}},
        {"messages": {"groupChat": {"mentionPatterns": ["x"]}}, "channels": {"whatsapp": {"allowFrom": ["+1"]}}},
    ),
    ({"telegram": {"botToken": "1:a"}}, {"channels": {"telegram": {"botToken": "1:a"}}}),
    (
        {"channels": {"discord": {"accounts": {"x": {"dm": {"policy": "open", "allowFrom": ["*"]}}}}}},
        {"channels": {"discord": {"accounts": {"x": {"dmPolicy": "open", "allowFrom": ["*"]}}}}},
    ),
]


@pytest.mark.parametrize(("old", "new"), OLD, ids=lambda one: str(one)[:40])
def test_an_old_spelling_becomes_the_one_of_today(old: dict[str, Any], new: dict[str, Any]) -> None:
    """The value moves, emptied sections vanish, and the result is good."""
    assert outdated(old)
    assert modernise(old) == new
    assert not outdated(new) and not check.problems(new, PATHS)


def test_nothing_is_moved_over_what_stands_there() -> None:
    """Two values: which one is meant is not ours to say."""
    both = {"agent": {"model": "a/b"}, "agents": {"defaults": {"model": "c/d"}}}
    assert modernise(both) == both


def test_every_key_of_the_specification_is_valid() -> None:
    """One file with all of them."""
    file = Path(__file__).parent / "everything.json5"
    value = parse(file.read_text(), file)
    assert check.problems(value, PATHS) == ()
    assert evaluate(value, PATHS, {}).config.agents.list[0].id == "a"


@pytest.mark.parametrize("bind", ["0.0.0.0", "localhost", "::"])
def test_an_old_bind_value_is_refused_with_the_new_word(bind: str) -> None:
    (problem,) = check.problems({"gateway": {"bind": bind}}, PATHS)
    assert "openclaw doctor --fix" in problem.hint


def test_what_is_good_in_a_broken_configuration_can_still_be_read() -> None:
    """Only the values with mistakes are gone; nonsense gives an empty one."""
    values, config = salvage(
        {"agents": {"list": [{"id": "a", "wrk": 1}, {"name": "no id"}, 5]}, "gateway": {"port": "x"}}
    )
    assert [one.id for one in config.agents.list] == ["a"]
    assert values["gateway"] == {}
    assert salvage([1])[0] == {} and salvage({"agents": 5})[1].agents.list == ()
