"""`agents.entries` is read like `agents.list`, and stays what it is when the file is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.paths import Paths
from supervisor.config import roster
from supervisor.config.load import ConfigInvalid, evaluate, load
from supervisor.config.shape import listed, restored
from supervisor.config.write import change

PATHS = Paths.from_environ({"HOME": "/home/tester"})
MAP = "{\n  agents: { entries: {\n    main: { name: 'M' }, // first\n    work: { model: 'a/b' },\n  } },\n}\n"


def test_the_map_is_read_in_its_order() -> None:
    """Its keys are the ids; those of a list beside it come first."""
    value = {"agents": {"defaults": {}, "list": [{"id": "a"}], "entries": {"b": {"default": True}, "c": {}}}}
    loaded = evaluate(value, PATHS, {})
    assert [(one.id, one.default) for one in loaded.config.agents.list] == [("a", None), ("b", True), ("c", None)]


def test_a_mistake_is_told_where_it_stands() -> None:
    """In the map, not in the list that is made of it."""
    value = {"agents": {"list": [{"id": "a", "x": 1}], "entries": {"b": {"wrkspace": 1}, "c": 5}}}
    with pytest.raises(ConfigInvalid) as error:
        evaluate(value, PATHS, {})
    assert [(one.path, one.key) for one in error.value.problems] == [
        ("agents.list.0", "x"),
        ("agents.entries.b", "wrkspace"),
        ("agents.entries.c", ""),
    ]


def test_a_map_of_the_wrong_type_is_told() -> None:
    with pytest.raises(ConfigInvalid):
        evaluate({"agents": {"entries": []}}, PATHS, {})


def test_an_agent_is_added_to_the_map_and_comments_stay(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path, tmp_path / "openclaw.json")
    paths.config.write_text(MAP)
    change(paths, {}, lambda config: roster.put(config, "new", {"name": "N"}), command="test")
    assert "main: { name: 'M' }, // first" in paths.config.read_text()
    change(paths, {}, lambda config: roster.prune(config, "work").config, command="test")
    loaded = load(paths, {})
    assert [one.id for one in loaded.config.agents.list] == ["main", "new"]
    assert "list" not in paths.config.read_text()


entries = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]), st.fixed_dictionaries({}, optional={"name": st.text()})
)


@given(entries, st.none() | st.lists(st.sampled_from(["e", "f"]), unique=True))
def test_listing_and_restoring_gives_the_same_file(found: dict[str, Any], rows: list[str] | None) -> None:
    """Whatever stands beside the map."""
    agents: dict[str, Any] = {"entries": found} | ({} if rows is None else {"list": [{"id": one} for one in rows]})
    config = {"agents": agents, "gateway": {}}
    assert restored(listed(config), config) == config
    assert list(restored(listed(config), config)["agents"]) == list(agents)
