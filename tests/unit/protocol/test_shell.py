"""Commands taken apart: what is understood is certain, everything else is nothing."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.shell import MAX_LENGTH, MAX_SEGMENTS, Segment, Word, segments


@pytest.mark.parametrize(
    ("command", "programs"),
    [
        ("ls", ["ls"]),
        ("  ls -l /tmp  ", ["ls"]),
        ("git status && ls | wc -l; date", ["git", "ls", "wc", "date"]),
        ("ls\ndate\n\n", ["ls", "date"]),
        ("a ||\n  b |\nc", ["a", "b", "c"]),
        ("ls;", ["ls"]),
        ("'ls' \"-l\"", ["ls"]),
        ("/usr/bin/git log --format='%h; $(x) `y` > z | w'", ["/usr/bin/git"]),
        ('echo "한국어; | &"', ["echo"]),
    ],
)
def test_plain_pipes_and_chains_are_understood(command: str, programs: list[str]) -> None:
    assert [one.program for one in segments(command) or ()] == programs


def test_quotes_are_taken_off_and_patterns_are_told() -> None:
    assert segments("g'i't a\"b c\"d *.py '*' x''") == (
        Segment("git", (Word("ab cd"), Word("*.py", False), Word("*"), Word("x"))),
    )


ATTACKS = [
    "",
    " \n",
    "ls $(rm x)",
    "ls `rm x`",
    'ls "$(rm x)"',
    'ls "`rm x`"',
    "ls ${IFS}-l",
    "ls${IFS}x",
    "$0",
    "$'ls'",
    'ls "$HOME"',
    "ls > /etc/passwd",
    "ls >> x",
    "ls < x",
    "ls 2>&1",
    "ls >| x",
    "ls <<EOF\nrm x\nEOF",
    "cat <<< x",
    "ls <(rm x)",
    "(ls)",
    "{ ls; }",
    "{ls,-l}",
    "ls & rm x",
    "ls &",
    "ls |& rm x",
    "ls ;; rm",
    "; ls",
    "ls |",
    "ls &&",
    "| ls",
    "ls &&& rm",
    "l\\s",
    "ls \\\nrm x",
    "ls\\\n -l",
    'ls "a\\"; rm x"',
    "ls 'unclosed",
    'ls "unclosed',
    "ls # comment",
    "! ls",
    "A=b ls",
    "PATH=/tmp ls",
    "A+=b ls",
    "a[0]=b ls",
    "ls\rrm x",
    "ls\x00rm",
    "ls\x1brm",
    "ls\x85rm",
    "ls rm\u2028x",
    "ls\xa0x",
    "ｌs",
    "lѕ",
    "ls\u200b",
    "'ｌs'",
    "ls \ud800",
    "~/x",
    "ls ~root",
    "/usr/bin/l?",
    "/usr/bin/[l]s",
    "*",
    "eval ls",
    "exec ls",
    "command ls",
    "builtin ls",
    ". ./x",
    "source x",
    "time ls",
    "if ls; then ls; fi",
    "for a in b; do ls; done",
    "while ls; do ls; done",
    "case a in a) ls;; esac",
    "function f() { ls; }",
    "ls() { rm x; }",
    "coproc ls",
    "trap ls EXIT",
    "alias ls=rm",
    "[[ a ]]",
    "((1))",
    "-x",
    "''",
    "ls " + "x" * MAX_LENGTH,
    ";".join(["ls"] * (MAX_SEGMENTS + 1)),
]


@pytest.mark.parametrize("command", ATTACKS)
def test_what_is_not_certain_is_not_understood(command: str) -> None:
    assert segments(command) is None


@given(st.text(alphabet="ab '\"\\$`|&;<>(){}\n\t#~*?=!-/", max_size=24))
def test_what_is_understood_starts_nothing_else_in_a_real_shell(command: str) -> None:
    """Every program is a function that prints how it was called; nothing else may come out."""
    found = segments(command)
    if found is None or any("/" in one.program or one.program.strip("ab-") for one in found):
        return
    names = {one.program for one in found}
    defined = "".join(f"{name}() {{ printf '%s\\n' {name}; }}\n" for name in names if name.strip("-"))
    done = subprocess.run(["bash", "-f", "-c", f"{defined}{command}"], capture_output=True, text=True, cwd="/")
    assert done.stderr == "" and done.returncode == 0
    assert set(done.stdout.split()) <= names
