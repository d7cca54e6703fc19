"""What changed, in names a person knows and without any value."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.config.diff import changed_paths, summary

AGENTS: dict[str, Any] = {"agents": {"list": [{"id": "main", "name": "M"}, {"id": "Ops", "model": "x"}]}}


@pytest.mark.parametrize(
    ("new", "paths"),
    [
        (AGENTS, ()),
        ({**AGENTS, "bindings": []}, ("bindings",)),
        ({"agents": {"list": [{"id": "main", "name": "M"}, {"id": "ops", "model": "y"}]}}, ("agents.list.ops.id",)),
        ({"agents": {"list": [{"id": "main", "name": "N"}, {"id": "Ops", "model": "x"}]}}, ("agents.list.main.name",)),
        ({"agents": {"list": [{"id": "main", "name": "M"}]}}, ("agents.list.ops",)),
        ({"agents": {"list": list(reversed(AGENTS["agents"]["list"]))}}, ("agents.list",)),
        ({"agents": {"list": 7}}, ("agents.list",)),
        ({}, ("agents",)),
    ],
)
def test_each_difference_is_named_by_its_path(new: dict[str, Any], paths: tuple[str, ...]) -> None:
    assert changed_paths(AGENTS, new)[: len(paths)] == paths and bool(changed_paths(AGENTS, new)) == bool(paths)


def test_a_changed_secret_is_named_and_not_shown() -> None:
    old = {"channels": {"telegram": {"accounts": {"work": {"botToken": "1:old"}, "fun": {}}}}}
    new = {"channels": {"telegram": {"accounts": {"work": {"botToken": "1:new"}, "fun": {}}}}}
    assert changed_paths(old, new) == ("channels.telegram.accounts.work",)


def test_many_differences_are_counted() -> None:
    assert summary(()) == "nothing"
    assert summary(tuple(map(str, range(10)))) == "0, 1, 2, 3, 4, 5, 6, 7, and 2 more"
