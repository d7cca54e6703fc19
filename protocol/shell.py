"""A shell command taken apart into the programs it starts, as far as that is certain. Pure.

Only a small and literal part of the language is understood: words, quotes, pipes and chains. Everything else
(redirections, substitutions, variables, subshells, background, here-documents, escapes, comments, braces, characters
that only look like others) is `None`: whoever asks must then treat the command as unknown. So what is understood here
means the same to every POSIX shell.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: Longer commands are not for an allowlist; and programs of one command.
MAX_LENGTH, MAX_SEGMENTS = 8192, 64
#: What may stand outside of quotes. `*?[]` may become names of files, which `Word.literal` tells.
_PLAIN = re.compile(r"[A-Za-z0-9_./:=@%+,\-*?\[\]]+")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PATTERN = frozenset("*?[]")
_CHAIN = re.compile(r"\|\||&&|[|;\n]")
#: Words that the shell itself takes where a program is expected, or that start whatever their arguments name.
_SHELL_WORDS = """
! . : [ [[ alias bg bind break builtin caller case cd command compgen complete compopt continue coproc declare dirs
disown do done elif else enable esac eval exec exit export fc fg fi for function getopts hash help history if in jobs
let local logout mapfile popd pushd read readarray readonly return select set shift shopt source suspend then time
times trap type typeset ulimit umask unalias unset until wait while
"""
_TAKEN = frozenset(_SHELL_WORDS.split())
_RUNNER_NAMES = """
ash awk bash busybox chroot csh dash deno doas docker ed emacs env expect fish flock gawk gdb git-shell ionice julia
ksh less lua make man mawk mksh more nawk nice node nohup nsenter parallel perl php podman pkexec pwsh python ruby
rbash run-parts script sed setarch setpriv setsid sh ssh stdbuf strace su sudo systemd-run taskset tclsh time timeout
toybox tmux unshare valgrind vi view vim watch xargs zsh
"""
#: Programs that run others, or code, by their arguments: only an entry that names them allows them.
RUNNERS = frozenset(_RUNNER_NAMES.split())
_VERSION = re.compile(r"[0-9.]+$")


class Word(NamedTuple):
    """One word without its quotes; not `literal` when the shell may put names of files in its place."""

    text: str
    literal: bool = True


class Segment(NamedTuple):
    """One program of a pipe or chain, with what it is given."""

    program: str
    arguments: tuple[Word, ...]


def segments(command: str) -> tuple[Segment, ...] | None:
    """The programs that this command starts, in order; None when that is not certain."""
    if len(command) > MAX_LENGTH or not _is_text(command):
        return None
    parts = _split(command.strip(" \t\n"))
    found = [_segment(words) for words in parts or ()]
    good = tuple(one for one in found if one is not None)
    return good if good and len(good) == len(found) <= MAX_SEGMENTS else None


def is_runner(path: str) -> bool:
    """Whether this program, by name or path, runs what its arguments name; `python3.11` is `python`."""
    name = path.rpartition("/")[2]
    return name in RUNNERS or _VERSION.sub("", name) in RUNNERS


def to_remember(command: str) -> tuple[str, ...]:
    """What an allowlist must hold so that this command, and others of its programs, need no question any more.

    Empty where "always" would say too much: programs that run others, or that lie in a folder of the moment.
    """
    programs = dict.fromkeys(one.program for one in segments(command) or ())
    good = [one for one in programs if not is_runner(one) and (one.startswith("/") or "/" not in one)]
    return tuple(programs) if len(good) == len(programs) else ()


def _is_text(command: str) -> bool:
    """Without control characters but tab and newline, and without halves of characters."""
    return _CONTROL.search(command.replace("\t", "").replace("\n", "")) is None


def _split(command: str) -> list[list[Word]] | None:
    """Words, segment by segment."""
    parts: list[list[Word]] = [[]]
    position = 0
    while position < len(command):
        if command[position] in " \t":
            position += 1
        elif operator := _CHAIN.match(command, position):
            if not parts[-1]:
                return None
            parts.append([])
            position = _after(command, operator.end())
        elif (read := _word(command, position)) is not None:
            word, position = read
            parts[-1].append(word)
        else:
            return None
    if not parts[-1] and not command.endswith(";"):
        return None
    return [part for part in parts if part]


def _after(command: str, position: int) -> int:
    """Where the next segment begins: lines may be empty, and a pipe or a chain may go on in the next one."""
    while position < len(command) and command[position] in " \t\n":
        position += 1
    return position


def _word(command: str, position: int) -> tuple[Word, int] | None:
    """One word and where it ends, of plain and quoted pieces."""
    text, literal, start = "", True, position
    while position < len(command) and command[position] not in " \t\n|;&":
        char = command[position]
        if char in "'\"":
            end = command.find(char, position + 1)
            inner = command[position + 1 : end]
            if end < 0 or (char == '"' and any(one in inner for one in "$`\\")):
                return None
            text, position = text + inner, end + 1
        elif piece := _PLAIN.match(command, position):
            literal = literal and not _PATTERN & set(piece.group())
            text, position = text + piece.group(), piece.end()
        else:
            return None
    return (Word(text, literal), position) if position > start else None


def _segment(words: list[Word]) -> Segment | None:
    """None where the first word is not simply the name of a program."""
    program = words[0]
    fit = _PLAIN.fullmatch(program.text) and program.literal and "=" not in program.text
    if not fit or program.text in _TAKEN or program.text.startswith("-"):
        return None
    return Segment(program.text, tuple(words[1:]))
