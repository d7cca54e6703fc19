"""Which line of a script the shell is at, by what it repeats."""

from __future__ import annotations

import pytest

from supervisor.sandbox.setup import MAX_OUTPUT, Progress, key_of
from supervisor.spawners.base import SpawnError
from tests.unit.supervisor.sandbox.test_profile import SPEC


def follow(script: str, *chunks: bytes) -> Progress:
    progress = Progress(script)
    list(progress.follow(iter(chunks)))
    return progress


def test_the_last_repeated_line_is_the_one_it_is_at() -> None:
    progress = follow("one\n\ntwo --x\nthree\n", b"one\nsaid\n\ntw", b"o --x\nbad\nworse\n")
    assert (progress.line, progress.text, progress.last) == (3, "two --x", "bad / worse")


def test_output_that_looks_like_a_later_line_changes_nothing() -> None:
    assert follow("one\ntwo\nthree\n", b"one\nthree\n").line == 1


def test_words_without_an_end_may_stand_before_a_repeated_line() -> None:
    assert follow("printf x\ntwo\n", b"printf x\nxtwo\n").line == 2


def test_too_much_output_is_an_error() -> None:
    with pytest.raises(SpawnError, match="more than 8 MB"):
        follow("yes\n", b"yes\n", *[b"y\n" * (1 << 20)] * (MAX_OUTPUT // (2 << 20) + 1))


def test_the_key_is_of_base_commands_and_environment() -> None:
    changed = SPEC.__class__(**{**{f: getattr(SPEC, f) for f in SPEC.__struct_fields__}, "setup": "true"})
    assert len({key_of("a", SPEC), key_of("b", SPEC), key_of("a", changed)}) == 3
    assert key_of("a", SPEC) == key_of("a", SPEC)
