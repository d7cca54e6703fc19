"""A file that is too much in any way is refused in words, quickly and without filling the memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.errors import UserError
from protocol.paths import Paths
from supervisor.config.check import MAX_PROBLEMS
from supervisor.config.load import load
from supervisor.config.parse import MAX_INCLUDED_FILES
from supervisor.config.problems import ConfigInvalid


def loaded(folder: Path, text: str) -> object:
    paths = Paths.from_environ({"HOME": str(folder), "OPENCLAW_STATE_DIR": str(folder)})
    paths.config.write_text(text)
    return load(paths, {}).values


@pytest.mark.parametrize("text", ["[" * 900 + "]" * 900, '{"cron":' * 101 + "1" + "}" * 101, "[" * 100_000])
def test_what_is_nested_too_deeply_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigInvalid, match="nested more than 100 levels deep"):
        loaded(tmp_path, text)


def test_depth_counts_over_files_too(tmp_path: Path) -> None:
    """Each file may be shallow enough."""
    nested = '{"cron":' * 60 + "%s" + "}" * 60
    (tmp_path / "inner.json").write_text(nested % "1")
    with pytest.raises(ConfigInvalid, match="nested more than 100 levels deep"):
        loaded(tmp_path, nested % '{"$include":"inner.json"}')


def test_ten_files_deep_is_no_way_around_the_depth(tmp_path: Path) -> None:
    """Ten times ninety levels are more than the stack holds."""
    for index in range(10):
        inner = f'{{"$include":"{index + 1}.json"}}' if index < 9 else "1"
        (tmp_path / f"{index}.json").write_text('{"cron":' * 90 + inner + "}" * 90)
    with pytest.raises(ConfigInvalid, match="nested more than 100 levels deep"):
        loaded(tmp_path, '{"$include":"0.json"}')


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("18446744073709551615", 18446744073709551615),
        ("18446744073709551616", 18446744073709551616.0),
        ("-9223372036854775809", -9223372036854775809.0),
        ("9" * 400, float("inf")),
        ("0x" + "f" * 10_000, float("inf")),
        ("-0x" + "f" * 10_000, float("-inf")),
    ],
)
def test_numbers_too_large_are_floats_as_in_javascript(tmp_path: Path, written: str, value: float) -> None:
    """In plain JSON as in JSON5; nothing later stumbles over a number of ten thousand digits."""
    found = loaded(tmp_path, f'{{"cron": {written}}}')
    assert found == {"cron": value}
    assert loaded(tmp_path, f"{{cron: {written}, env: {{A: {written}}}}}")
    with pytest.raises(ConfigInvalid):
        loaded(tmp_path, f'{{"gateway": {{"port": {written}}}}}')


def test_an_include_that_no_system_can_open_is_a_problem_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for name in ("a\\u0000b", "loop", "x" * 5_000, "."):
        with pytest.raises(UserError):
            loaded(tmp_path, f'{{"$include": "{name}"}}')


def test_includes_do_not_multiply_without_end(tmp_path: Path) -> None:
    """Ten includes in each of ten files one below the other would be ten thousand million."""
    for index in range(9):
        listed = ",".join(f'"{index + 1}.json"' for _ in range(10))
        (tmp_path / f"{index}.json").write_text(f'{{"$include": [{listed}]}}')
    (tmp_path / "9.json").write_text("{}")
    with pytest.raises(ConfigInvalid, match=f"More than {MAX_INCLUDED_FILES} files"):
        loaded(tmp_path, '{"$include": "0.json"}')


def test_included_text_is_bounded_in_all(tmp_path: Path) -> None:
    (tmp_path / "large.json").write_text('{"cron": "' + "x" * 6_000_000 + '"}')
    listed = ",".join('"large.json"' for _ in range(3))
    with pytest.raises(ConfigInvalid, match="larger than 16 MB together"):
        loaded(tmp_path, f'{{"$include": [{listed}]}}')


def test_a_long_variable_named_often_does_not_fill_the_memory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="more than 16 MB of text"):
        loaded(tmp_path, '{"env": {"A": "' + "x" * 100_000 + '"}, "cron": "' + "${A}" * 1_000 + '"}')


def test_a_file_of_nothing_but_mistakes_is_answered_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        loaded(tmp_path, "{" + ",".join(f"k{index}: 1" for index in range(5_000)) + "}")
    assert len(caught.value.problems) == MAX_PROBLEMS


def test_a_nul_is_found_before_a_system_call_finds_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="NUL"):
        loaded(tmp_path, '{"agents": {"list": [{"id": "a", "workspace": "/srv/\\u0000"}]}}')


def test_a_float_that_is_no_exact_whole_number_is_not_taken_for_one(tmp_path: Path) -> None:
    """The check and the conversion after it agree on what a whole number is."""
    text = '{"bindings": [{"agentId": "main", "match": {"channel": "telegram", "guildId": %s}}]}'
    assert loaded(tmp_path, text % "5.0")
    with pytest.raises(ConfigInvalid, match="whole number"):
        loaded(tmp_path, text % "-9223372036854775809")
