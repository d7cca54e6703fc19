"""The end of a log file is found without reading the whole of it."""

from __future__ import annotations

from pathlib import Path

from supervisor.cli.logs import shown, tail


def test_the_last_lines_are_read_from_the_end(tmp_path: Path) -> None:
    """Whole lines only; the position is where the next one begins."""
    file = tmp_path / "x.log"
    file.write_bytes(b"".join(b"line %d\n" % number for number in range(50_000)) + b"half")
    lines, position = tail(file, 3)
    assert lines == [b"line 49997", b"line 49998", b"line 49999"]
    assert position == file.stat().st_size - len(b"half")


def test_fewer_lines_than_asked_for_are_all_there_is(tmp_path: Path) -> None:
    """Also none."""
    file = tmp_path / "x.log"
    file.write_bytes(b"a\nb\n")
    assert tail(file, 10) == ([b"a", b"b"], 4)
    file.write_bytes(b"")
    assert tail(file, 10) == ([], 0)


def test_a_line_is_shown_for_people_and_for_programs() -> None:
    """A line that is not ours is shown as it is."""
    line = b'{"time":"t","level":"info","subsystem":"router","message":"hi","seconds":1}'
    assert shown(line, json=False) == "t info router hi seconds=1"
    assert shown(b"plain \xff", json=False) == "plain �"
    assert '"type":"log"' in shown(line, json=True)
