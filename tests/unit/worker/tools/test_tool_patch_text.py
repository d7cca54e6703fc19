"""Patches as models write them: read, applied, and refused with words that help."""

from __future__ import annotations

import pytest

from worker.tools.patch_text import MAX_FILES, Change, Hunk, PatchError, parse_patch, updated


def patch(*lines: str) -> str:
    return "\n".join(("*** Begin Patch", *lines, "*** End Patch"))


def apply(content: str, *lines: str) -> str:
    (change,) = parse_patch(patch("*** Update File: a", *lines))
    return updated(content, change)


def test_every_kind_of_change_is_read() -> None:
    text = patch(
        "*** Add File: new", "+one", "+", "*** Delete File: old", "*** Update File: a", "*** Move to: b", "@@ def f():",
        " x", "-y", "+z", "*** End of File",
    )  # fmt: skip
    assert parse_patch(text) == (
        Change("add", "new", ("one", "")),
        Change("delete", "old"),
        Change("update", "a", hunks=(Hunk(("def f():",), ("x", "y"), ("x", "z"), True),), to="b"),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a patch begins with"),
        ("*** Begin Patch\n*** Add File: a\n+x", "a patch begins with"),
        (patch(), "the patch changes no file"),
        (patch("hello"), "line 2: expected"),
        (patch("*** Add File: a", "x"), "line 3: the lines of a new file"),
        (patch("*** Add File: "), "'*** Add File:' names no file"),
        (patch("*** Delete File: a", "x"), "line 3: nothing may follow"),
        (patch("*** Update File: a"), "line 2: the update of a is empty"),
        (patch("*** Update File: a", "!x"), "line 3: expected a line that begins with"),
        (patch("*** Delete File: a", "*** Add File: ./a", "+x"), "the patch names a file twice"),
        (patch(*(f"*** Delete File: {n}" for n in range(MAX_FILES + 1))), "the patch touches 101 files"),
    ],
)
def test_what_is_no_patch_is_refused_with_the_line(text: str, reason: str) -> None:
    with pytest.raises(PatchError) as caught:
        parse_patch(text)
    assert str(caught.value).startswith(reason)


def test_hunks_apply_in_order_and_the_rest_stays() -> None:
    assert apply("a\nb\nc\nd\ne\n", " a", "-b", "+B", "@@", "-d", "+D") == "a\nB\nc\nD\ne\n"


def test_a_place_behind_a_named_line_is_found_among_equal_ones() -> None:
    content = "def f():\n    return 1\ndef g():\n    return 1\n"
    assert apply(content, "@@ def g():", "-    return 1", "+    return 2").count("return 1") == 1
    assert apply(content, "@@ def g():", "-    return 1", "+    return 2").endswith("return 2\n")


def test_lines_may_be_put_in_without_any_around_them() -> None:
    assert apply("a\nb\n", "+c") == "a\nb\nc\n"
    assert apply("a\nb\n", "@@ a", "+x") == "a\nx\nb\n"


def test_the_end_of_the_file_is_a_place() -> None:
    assert apply("x\ny\nx\n", "-x", "+z", "*** End of File") == "x\ny\nz\n"


def test_white_space_at_the_end_of_lines_is_forgiven_and_line_ends_stay() -> None:
    assert apply("a \r\nb\r\n", " a", "-b", "+c") == "a\r\nc\r\n"


@pytest.mark.parametrize("lines", [("-zz", "+x"), ("-b", "-a"), ("@@ nowhere", "-a"), ("-b", "+x", "@@", "-b")])
def test_a_hunk_that_does_not_fit_is_an_error(lines: tuple[str, ...]) -> None:
    with pytest.raises(PatchError, match="Could not find"):
        apply("a\nb\n", *lines)
