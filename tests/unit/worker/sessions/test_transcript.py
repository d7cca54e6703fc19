"""Every line is on disk before it counts; a cut anywhere leaves whole lines and nothing else."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from worker.llm.base import AssistantTurn, ToolCall, ToolTurn
from worker.sessions.entries import AnswerLine, Ended, Heading, Line, Mark, ResultLine, Said, UserLine
from worker.sessions.transcript import NotATranscript, Transcript, read_key

KEEP = 100_000
HEADING = Heading("s1", "agent:main:main", 1.0)


def lines_of(number: int, size: int = 5) -> list[Line]:
    id = f"m{number}"
    call = ToolCall(f"c{number}", "read", {"path": "x"})
    return [
        UserLine("q" * size, 1.0, Mark(id)),
        AnswerLine(AssistantTurn("", (call,)), 2.0, Mark(id, starts=call.id)),
        ResultLine(ToolTurn(call.id, "read", "r" * size), 3.0, Mark(id)),
        AnswerLine(AssistantTurn("a" * size), 4.0, Mark(id, Said(0), done=Ended("answered"))),
    ]


def write(transcript: Transcript, lines: list[Line]) -> None:
    for line in lines:
        if isinstance(line, UserLine):
            transcript.begin(line)
        else:
            transcript.add(line)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s1.jsonl"


@pytest.fixture
def transcript(path: Path) -> Iterator[Transcript]:
    made = Transcript.create(path, HEADING, "/ws", KEEP)
    yield made
    made.close()


def state(transcript: Transcript) -> list[tuple[str, int, list[tuple[int, str]], bool]]:
    return [(one.inbound, len(one.items), one.says, one.done is not None) for one in transcript.records]


def test_what_was_written_is_read_again(transcript: Transcript, path: Path) -> None:
    write(transcript, lines_of(1) + lines_of(2))
    again = Transcript.load(path, KEEP)
    assert state(again) == state(transcript) == [("m1", 3, [(0, "aaaaa")], True), ("m2", 3, [(0, "aaaaa")], True)]
    assert again.heading == HEADING
    again.close()


def test_files_are_private_and_each_line_names_its_parent(transcript: Transcript, path: Path) -> None:
    write(transcript, lines_of(1))
    assert path.stat().st_mode & 0o777 == 0o600
    entries = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()][1:]
    assert [entry["parentId"] for entry in entries] == [None, *(entry["id"] for entry in entries[:-1])]


def test_a_cut_at_any_byte_leaves_the_whole_lines_before_it(tmp_path: Path, path: Path, transcript: Transcript) -> None:
    write(transcript, lines_of(1))
    data = path.read_bytes()
    ends = [position + 1 for position, byte in enumerate(data) if byte == 10]
    for cut in range(ends[0], len(data)):
        torn = tmp_path / "torn.jsonl"
        torn.write_bytes(data[:cut])
        loaded = Transcript.load(torn, KEEP)
        whole = max(end for end in ends if end <= cut)
        assert torn.stat().st_size == whole
        assert sum(1 + len(record.items) for record in loaded.records) == ends.index(whole)
        loaded.close()


def test_writing_goes_on_after_a_torn_line(path: Path, transcript: Transcript) -> None:
    write(transcript, lines_of(1)[:2])
    with open(path, "ab") as file:
        file.write(b'{"type":"mess')
    again = Transcript.load(path, KEEP)
    write(again, lines_of(1)[2:])
    third = Transcript.load(path, KEEP)
    assert state(third) == [("m1", 3, [(0, "aaaaa")], True)]
    again.close()
    third.close()


def test_lines_of_another_generation_are_taken_in(path: Path, transcript: Transcript) -> None:
    write(transcript, lines_of(1))
    other = Transcript.load(path, KEEP)
    write(other, lines_of(2)[:2])
    transcript.refresh()
    assert state(transcript)[1] == ("m2", 1, [], False)
    write(transcript, lines_of(2)[2:])
    other.refresh()
    assert state(other) == state(transcript)
    other.close()


def test_a_full_disk_takes_the_half_line_back(path: Path, transcript: Transcript) -> None:
    write(transcript, lines_of(1))
    size = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            transcript.begin(UserLine("hello", 1.0, Mark("m2")))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.stat().st_size == size
    assert transcript.find("m2") is None
    write(transcript, lines_of(2))
    assert transcript.find("m2") is not None


def test_only_the_end_of_a_long_file_is_read_and_memory_stays_bounded(path: Path, transcript: Transcript) -> None:
    for number in range(50):
        write(transcript, lines_of(number, 400))
    short = Transcript.load(path, 2000, tail=4096)
    assert 1 <= len(short.records) < 10
    assert short.records[-1].inbound == "m49"
    short.close()


def test_turns_that_left_the_memory_are_found_again(path: Path, transcript: Transcript) -> None:
    small = Transcript.load(path, 1000)
    for number in range(10):
        write(small, lines_of(number, 200))
    assert len(small.records) < 4
    found = small.find("m0")
    assert found is not None
    assert found.says == [(0, "a" * 200)]
    assert small.find("m99") is None
    small.close()


def test_the_same_message_begins_one_turn_only(transcript: Transcript, path: Path) -> None:
    write(transcript, lines_of(1))
    transcript.add(lines_of(1)[0])
    assert len(transcript.records) == 1


def test_two_open_turns_of_one_session_do_not_mix(transcript: Transcript) -> None:
    first, second = lines_of(1), lines_of(2)
    write(transcript, [first[0], second[0], *first[1:], *second[1:]])
    assert [record.inbound for record in transcript.until(transcript.records[0])] == ["m1"]
    assert state(transcript)[0][1] == 3


def test_history_is_what_people_saw_from_the_end(transcript: Transcript) -> None:
    write(transcript, lines_of(1) + lines_of(2))
    assert [entry.role for entry in transcript.history(4)] == ["assistant", "user", "tool", "assistant"]
    assert transcript.history(0) == []


@pytest.mark.parametrize("make", ["link", "pipe", "text"])
def test_nothing_but_a_transcript_is_opened(tmp_path: Path, make: str) -> None:
    path = tmp_path / "x.jsonl"
    if make == "link":
        (tmp_path / "target").write_text("secret\n")
        path.symlink_to(tmp_path / "target")
    elif make == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("hello\n")
    with pytest.raises((NotATranscript, OSError)):
        Transcript.load(path, KEEP)
    assert read_key(path) is None


def test_a_removed_file_is_noticed(transcript: Transcript, path: Path) -> None:
    assert not transcript.deleted
    path.unlink()
    assert transcript.deleted
