"""The first source of a variable wins: process, ./.env, <state>/.env, config."""

from __future__ import annotations

from pathlib import Path

from protocol.paths import Paths
from supervisor.config.environ import config_block, overlay, parse_dotenv


def test_a_dotenv_file_is_read_line_by_line() -> None:
    """Quotes, export, comments; other lines are nothing."""
    text = "A=1\nexport B='x # y'\n# C=2\nD = \"two\\nlines\"\nnonsense\nE=plain # note\n"
    assert parse_dotenv(text) == {"A": "1", "B": "x # y", "D": "two\nlines", "E": "plain"}


def test_the_config_block_gives_variables_directly_and_under_vars() -> None:
    """Anything that is not a scalar is no variable."""
    assert config_block({"A": "1", "vars": {"B": 2}, "shellEnv": {"enabled": True}}) == {"A": "1", "B": "2"}


def test_nothing_that_is_set_is_overridden(tmp_path: Path) -> None:
    """An empty value counts as not set."""
    (tmp_path / ".openclaw").mkdir()
    (tmp_path / ".openclaw" / ".env").write_text("A=state\nB=state\n")
    paths = Paths.from_environ({"HOME": str(tmp_path)})
    found = overlay(paths, {"A": "process", "B": ""}, {"B": "config", "C": "config"})
    assert (found["A"], found["B"], found["C"]) == ("process", "state", "config")
