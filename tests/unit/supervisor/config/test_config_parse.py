"""Includes and variables, as SPEC 1.5 tells them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supervisor.config.parse import parse, resolve_includes, substitute
from supervisor.config.problems import ConfigInvalid


def resolved(folder: Path, text: str) -> Any:
    main = folder / "openclaw.json"
    return resolve_includes(parse(text, main), main)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        resolved(folder, text)
    return f"{caught.value.problems[0].path}: {caught.value.problems[0].message}"


def test_an_include_takes_the_place_of_its_object(tmp_path: Path) -> None:
    """And keys beside it come on top."""
    (tmp_path / "agents.json5").write_text("{list: [{id: 'a'}], defaults: {model: 'x/y', skills: ['s']}}")
    assert resolved(tmp_path, "{agents: {$include: './agents.json5', defaults: {model: 'z/z'}}}") == {
        "agents": {"list": [{"id": "a"}], "defaults": {"model": "z/z", "skills": ["s"]}}
    }


def test_several_includes_merge_in_order(tmp_path: Path) -> None:
    """Objects merge, the later wins."""
    (tmp_path / "a.json").write_text('{"x": {"p": 1, "q": 1}}')
    (tmp_path / "b.json").write_text('{"x": {"q": 2}}')
    assert resolved(tmp_path, "{$include: ['a.json', 'b.json']}") == {"x": {"p": 1, "q": 2}}


def test_an_include_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, broken, circular and outside of the fence."""
    (tmp_path / "broken.json5").write_text("{a: }")
    (tmp_path / "loop.json5").write_text("{a: {$include: './loop.json5'}}")
    missing = refusal(tmp_path, "{$include: './missing.json5'}")
    assert missing == f"<root>: Failed to read include file: ./missing.json5 (resolved: {tmp_path}/missing.json5)"
    assert "Failed to parse include file: ./broken.json5" in refusal(tmp_path, "{$include: './broken.json5'}")
    assert "invalid character '}' at 1:5" in refusal(tmp_path, "{$include: './broken.json5'}")
    assert "Circular include: ./loop.json5" in refusal(tmp_path, "{$include: './loop.json5'}")
    assert "outside the config folder" in refusal(tmp_path, "{$include: '../x.json5'}")


def test_includes_end_somewhere(tmp_path: Path) -> None:
    """Eleven levels are one too many."""
    for number in range(12):
        (tmp_path / f"{number}.json").write_text('{"a": {"$include": "%d.json"}}' % (number + 1))  # noqa: UP031
    assert "nested more than 10 levels" in refusal(tmp_path, "{$include: '0.json'}")


def test_variables_are_filled_in_and_missing_ones_are_named() -> None:
    """`$${X}` is text; a missing variable stays and is told with its path."""
    value = {"a": ["${ONE}-x", "$${ONE}"], "b": {"c": "${GONE}"}, "d": "$HOME ${lower}"}
    filled, missing = substitute(value, {"ONE": "1", "GONE": ""})
    assert filled == {"a": ["1-x", "${ONE}"], "b": {"c": "${GONE}"}, "d": "$HOME ${lower}"}
    assert [(one.name, one.path) for one in missing] == [("GONE", "b.c")]
