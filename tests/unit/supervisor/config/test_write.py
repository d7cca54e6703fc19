"""A change is whole, checked, backed up and told, or it does not happen."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import UserError
from protocol.paths import Paths
from supervisor.config.load import ConfigInvalid
from supervisor.config.write import Written, change

ROOT = Path(__file__).parents[4]


def paths_in(folder: Path) -> Paths:
    return Paths.from_environ({"HOME": str(folder)})


def set_port(paths: Paths, port: Any) -> Written:
    return change(paths, {}, lambda config: {**config, "gateway": {"port": port}}, command="test")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_first_write_makes_a_private_file(tmp_path: Path) -> None:
    """Plain JSON, stamped, without a backup."""
    paths = paths_in(tmp_path)
    written = set_port(paths, 1234)
    assert json.loads(paths.config.read_text())["gateway"] == {"port": 1234}
    assert json.loads(paths.config.read_text())["meta"].keys() == {"lastTouchedVersion", "lastTouchedAt"}
    assert (mode(paths.state), mode(paths.config), written.backup) == (0o700, 0o600, None)


def test_comments_survive_a_change(tmp_path: Path) -> None:
    """What the user wrote around the value stays."""
    paths = paths_in(tmp_path)
    paths.state.mkdir()
    paths.config.write_text("// mine\n{\n  gateway: { port: 1 }, // the port\n}\n")
    set_port(paths, 2)
    text = paths.config.read_text()
    assert text.startswith("// mine\n{\n  gateway: { port: 2 }, // the port\n  meta: {")


def test_five_backups_are_kept(tmp_path: Path) -> None:
    """The newest without a number."""
    paths = paths_in(tmp_path)
    for port in range(1, 9):
        set_port(paths, port)
    ports = [
        json.loads(paths.config.with_name(f"openclaw.json.bak{suffix}").read_text())["gateway"]["port"]
        for suffix in ("", ".1", ".2", ".3", ".4")
    ]
    assert ports == [7, 6, 5, 4, 3]
    assert not paths.config.with_name("openclaw.json.bak.5").exists()
    assert mode(paths.config.with_name("openclaw.json.bak.4")) == 0o600


def test_an_invalid_result_is_never_written(tmp_path: Path) -> None:
    """And nothing at all changes on disk, not even a lock file appears."""
    paths = paths_in(tmp_path)
    with pytest.raises(ConfigInvalid):
        set_port(paths, "x")
    assert tree(tmp_path) == {} and not paths.state.exists()


def test_no_change_writes_nothing(tmp_path: Path) -> None:
    """The time stamp alone is no reason."""
    paths = paths_in(tmp_path)
    set_port(paths, 1)
    before = tree(tmp_path)
    assert not set_port(paths, 1).changed
    assert tree(tmp_path) == before


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    """It may point anywhere."""
    paths = paths_in(tmp_path)
    paths.state.mkdir()
    (tmp_path / "real.json").write_text("{}")
    paths.config.symlink_to(tmp_path / "real.json")
    with pytest.raises(UserError, match="symbolic link") as caught:
        set_port(paths, 1)
    assert caught.value.hint == f"export OPENCLAW_CONFIG_PATH={tmp_path}/real.json"
    assert (tmp_path / "real.json").read_text() == "{}"


def test_an_included_section_is_written_where_it_lives(tmp_path: Path) -> None:
    """A section that is one include; a section mixed from several is refused."""
    paths = paths_in(tmp_path)
    paths.state.mkdir()
    paths.config.write_text("{gateway: {$include: './gateway.json5'}, agents: {$include: ['a.json5'], list: []}}")
    (paths.state / "gateway.json5").write_text("{port: 1 /* here */}")
    (paths.state / "a.json5").write_text("{}")
    set_port(paths, 2)
    assert (paths.state / "gateway.json5").read_text() == "{port: 2 /* here */}"
    assert "$include: './gateway.json5'" in paths.config.read_text()
    with pytest.raises(UserError, match="agents is put together from included files"):
        change(paths, {}, lambda config: {**config, "agents": {"list": [{"id": "a"}]}}, command="test")


def test_every_write_leaves_a_line_without_values(tmp_path: Path) -> None:
    """Who, when, which command, which hashes."""
    paths = paths_in(tmp_path)
    login = {"telegram": {"botToken": "1:secret"}}
    change(paths, {}, lambda config: {**config, "channels": login}, command="channels add")
    set_port(paths, 1)
    lines = [json.loads(line) for line in (paths.logs / "config-audit.jsonl").read_text().splitlines()]
    assert [(one["command"], one["existsBefore"]) for one in lines] == [("channels add", False), ("test", True)]
    assert lines[1]["previousHash"] == lines[0]["nextHash"]
    assert "secret" not in (paths.logs / "config-audit.jsonl").read_text()
    assert mode(paths.logs / "config-audit.jsonl") == 0o600


def test_two_commands_do_not_lose_each_others_change(tmp_path: Path) -> None:
    """Eight real processes add one agent each at the same time."""
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "supervisor.cli.main", "agents", "add"]
    running = [
        subprocess.Popen([*command, f"a{number}"], env=environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for number in range(8)
    ]
    errors = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0] * 8, errors
    listed = json.loads(paths_in(tmp_path).config.read_text())["agents"]["list"]
    assert {one["id"] for one in listed} == {"main", *(f"a{number}" for number in range(8))}


def test_an_included_file_is_backed_up_before_it_is_written(tmp_path: Path) -> None:
    """It is the user's as much as the main file."""
    paths = paths_in(tmp_path)
    paths.state.mkdir()
    paths.config.write_text("{ gateway: { $include: './gateway.json5' } }")
    included = paths.state / "gateway.json5"
    included.write_text("{ port: 1 }")
    set_port(paths, 2)
    assert included.with_name("gateway.json5.bak").read_text() == "{ port: 1 }"


@pytest.mark.parametrize(
    "section",
    [
        "{ $include: ['./a.json5', './b.json5'] }",
        "{ $include: './a.json5', port: 1 }",
        "{ $include: './nested.json5' }",
    ],
)
def test_a_section_mixed_from_files_is_read_only(tmp_path: Path, section: str) -> None:
    """It is not clear where the change belongs; an error, and nothing is written."""
    paths = paths_in(tmp_path)
    paths.state.mkdir()
    paths.config.write_text(f"{{ gateway: {section} }}")
    (paths.state / "a.json5").write_text("{ bind: 'loopback' }")
    (paths.state / "b.json5").write_text("{}")
    (paths.state / "nested.json5").write_text("{ auth: { $include: './b.json5' } }")
    before = tree(tmp_path)
    with pytest.raises(UserError, match="edit them by hand"):
        set_port(paths, 2)
    assert tree(tmp_path) == before
