"""One call gives the configuration as it is now."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.errors import UserError
from protocol.paths import Paths
from supervisor.config.load import ConfigInvalid, load


def home(folder: Path, text: str | None = None) -> Paths:
    paths = Paths.from_environ({"HOME": str(folder)})
    paths.state.mkdir()
    if text is not None:
        paths.config.write_text(text)
    return paths


def test_a_missing_file_means_all_defaults(tmp_path: Path) -> None:
    """And says that it is missing."""
    loaded = load(home(tmp_path), {})
    assert not loaded.exists and loaded.config.agents.list == () and loaded.warnings == ()


def test_a_broken_file_is_told_with_line_and_column(tmp_path: Path) -> None:
    """The message of the original."""
    with pytest.raises(ConfigInvalid) as caught:
        load(home(tmp_path, "{\n  agents: jx\n}"), {})
    problem = caught.value.problems[0]
    assert (problem.path, problem.message) == (
        "<root>",
        "JSON5 parse failed: SyntaxError: JSON5: invalid character 'j' at 2:11",
    )


def test_variables_come_from_the_env_block_too(tmp_path: Path) -> None:
    """And a missing one is a warning."""
    text = "{env: {MODEL: 'x/y'}, agents: {defaults: {model: '${MODEL}'}}, channels: {telegram: {botToken: '${NOPE}'}}}"
    loaded = load(home(tmp_path, text), {})
    assert loaded.config.agents.defaults is not None and loaded.config.agents.defaults.model == "x/y"
    assert loaded.warnings == (
        'missing env var "NOPE" at channels.telegram.botToken - feature using this value will be unavailable',
    )


def test_the_digest_changes_with_the_meaning_only(tmp_path: Path) -> None:
    """A comment is no change, a variable is."""
    paths = home(tmp_path, "{messages: {responsePrefix: '${P}'}}")
    first = load(paths, {"P": "1"}).digest
    paths.config.write_text("// hello\n{messages: {responsePrefix: '${P}'}}")
    assert load(paths, {"P": "1"}).digest == first
    assert load(paths, {"P": "2"}).digest != first


def test_a_file_that_cannot_be_read_is_the_operators_business(tmp_path: Path) -> None:
    """A folder in its place, or bytes that are no text."""
    paths = home(tmp_path)
    paths.config.mkdir()
    with pytest.raises(UserError, match="cannot read"):
        load(paths, {})
    paths.config.rmdir()
    paths.config.write_bytes(b"\xff\xfe{}")
    with pytest.raises(UserError, match="not UTF-8 text"):
        load(paths, {})
