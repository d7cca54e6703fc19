"""Results are bounded, errors have one shape."""

from __future__ import annotations

import errno

from worker.tools.base import MAX_RESULT, failure, os_error, shorten


def test_a_long_result_keeps_its_beginning_and_its_end() -> None:
    text = shorten("a" * 20_000 + "z" * 20_000)
    assert len(text) == MAX_RESULT
    assert text.startswith("aaa") and text.endswith("zzz")
    assert "characters left out" in text
    assert shorten("short") == "short"


def test_an_error_is_json_for_the_model() -> None:
    result = failure("read", "ENOENT: x")
    assert result.is_error
    assert result.text == '{\n  "status": "error",\n  "tool": "read",\n  "error": "ENOENT: x"\n}'


def test_system_errors_have_their_usual_words() -> None:
    error = os_error(OSError(errno.ENOENT, "ignored"), "access", "/nope")
    assert str(error) == "ENOENT: no such file or directory, access '/nope'"
