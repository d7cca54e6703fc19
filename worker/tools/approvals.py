"""May this command run without a question? The allowlist of one agent against what `protocol.shell` understood. Pure.

Anything not fully understood is a miss. A program that runs what its arguments name (`env`, `xargs`, `sh`, `find
-exec`) is never matched by a glob: the operator must have named it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from protocol.approvals import ExecPolicy
from protocol.shell import Segment, Word, is_runner, segments

#: Finds a program as the shell would: its path, empty when there is none.
Find = Callable[[str], str]
#: Where the safe programs must lie: the system's own, which no agent can write.
_SYSTEM = ("/bin/", "/usr/bin/")
#: Arguments by which a program that is otherwise harmless runs others, writes or deletes.
_FORBIDDEN = {
    "find": re.compile(r"-(exec|execdir|ok|okdir|delete|fprint0?|fprintf|fls)"),
    "fd": re.compile(r"(-[a-zA-Z]*[xX].*|--exec.*)"),
    "git": re.compile(r"(-c.*|--exec-path.*|--config-env.*|--upload-pack.*|--receive-pack.*|--ext-diff|-O.*|--exec.*)"),
    "rg": re.compile(r"--(pre|hostname-bin).*"),
    "rsync": re.compile(r"(-[a-zA-Z]*e.*|--rsh.*|--rsync-path.*)"),
    "sort": re.compile(r"(-[a-zA-Z]*o.*|--output.*|--compress-program.*|-[a-zA-Z]*T.*|--temporary-directory.*)"),
    "tar": re.compile(r"(-[a-zA-Z]*[IF].*|--(to-command|checkpoint-action|use-compress-program|info-script|rsh).*)"),
    "zip": re.compile(r"(-[a-zA-Z]*T.*|--unzip-command.*)"),
}


class _Safe(NamedTuple):
    """What a program that reads its input only may be given: switches, switches with a value, and other words."""

    switches: str
    valued: str
    words: int = 0


_SAFE = {
    "cut": _Safe("snz", "bcdf"),
    "grep": _Safe("EFivcnoqwxah", "mABC", 1),
    "head": _Safe("qvz", "nc"),
    "jq": _Safe("rcSsneMja", "", 1),
    "sort": _Safe("nrufbhVgMdisz", "kt"),
    "tail": _Safe("qvz", "nc"),
    "tr": _Safe("cCdst", "", 2),
    "uniq": _Safe("cduiz", "fsw"),
    "wc": _Safe("cmlLw", ""),
}


class Verdict(NamedTuple):
    """`reason` is for the model: why it is not simply run."""

    action: Literal["run", "ask", "refuse"]
    reason: str = ""


def decide(policy: ExecPolicy, command: str, *, with_env: bool, find: Find) -> Verdict:
    """What becomes of a command under this policy. `with_env`: it comes with variables of its own."""
    if policy.security == "deny":
        return Verdict("refuse", "exec is denied (tools.exec.security or exec-approvals.json)")
    if policy.ask == "always":
        return Verdict("ask", "every command needs an approval")
    if policy.security == "full":
        return Verdict("run")
    missing = "variables of its own" if with_env else miss(policy, command, find)
    if not missing:
        return Verdict("run")
    return Verdict("ask" if policy.ask == "on-miss" else "refuse", f"exec is limited to an allowlist: {missing}")


def after_silence(policy: ExecPolicy, command: str, *, with_env: bool, find: Find) -> bool:
    """Whether a command may run that nobody decided on in time (`askFallback`)."""
    if policy.ask_fallback == "full":
        return policy.security == "full"
    return policy.ask_fallback == "allowlist" and not with_env and not miss(policy, command, find)


def miss(policy: ExecPolicy, command: str, find: Find) -> str:
    """What keeps the command from being allowlisted as a whole; empty when nothing does."""
    parts = segments(command)
    if parts is None:
        return "only plain programs joined by pipes and chains can be checked"
    for part in parts:
        if not _listed(policy.allowlist, part, find) and not _safe(policy.safe_bins, part, find):
            return f"{part.program[:100]} is not on it"
    return ""


def _listed(allowlist: Sequence[str], part: Segment, find: Find) -> bool:
    path = find(part.program)
    if not path or not _is_straight(path) or _forbidden(posixpath.basename(path), part.arguments):
        return False
    names = [one for one in allowlist if _matches(one, path, find)]
    return any(_is_exact(one) for one in names) if is_runner(path) else bool(names)


def _matches(pattern: str, path: str, find: Find) -> bool:
    """A bare name means the program that the shell finds by it, a path with `*`, `?`, `**` those that fit."""
    return find(pattern) == path if "/" not in pattern else _glob(pattern).fullmatch(path) is not None


def _is_exact(pattern: str) -> bool:
    return not any(char in pattern for char in "*?[")


def _is_straight(path: str) -> bool:
    return path.startswith("/") and posixpath.normpath(path) == path


def _forbidden(program: str, arguments: Sequence[Word]) -> bool:
    """Also where a word may become such an argument: a file may be called `-exec`."""
    pattern = _FORBIDDEN.get(program)
    return pattern is not None and any(pattern.fullmatch(one.text) or _may_be_switch(one) for one in arguments)


def _may_be_switch(word: Word) -> bool:
    return not word.literal and word.text[:1] in ("-", "*", "?", "[")


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    """`*` and `?` stay within one folder, `**` does not; everything else is itself."""
    pieces = re.split(r"(\*\*|\*|\?)", pattern)
    meaning = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL)


# --- programs that only read their input ---------------------------------------------------------------------------


def _safe(bins: Sequence[str], part: Segment, find: Find) -> bool:
    """One of the safe programs, given nothing that could be a file."""
    if part.program not in bins or not find(part.program).startswith(_SYSTEM):
        return False
    known = _SAFE.get(part.program, _Safe("", ""))
    words = _words(known, [word.text for word in part.arguments])
    return words is not None and words <= known.words and all(word.literal for word in part.arguments)


def _words(known: _Safe, arguments: list[str]) -> int | None:
    """How many arguments are no switches; None for a switch we do not know."""
    words, rest = 0, iter(arguments)
    for argument in rest:
        if argument == "-" or not argument.startswith("-"):
            words += 1
        elif not re.fullmatch(r"-[0-9]+", argument):
            taken = _switches(known, argument[1:])
            if taken is None or (taken and next(rest, None) is None):
                return None
    return words


def _switches(known: _Safe, cluster: str) -> bool | None:
    """Whether the last switch takes the next argument; None for one that is not known."""
    for index, switch in enumerate(cluster):
        if switch in known.valued:
            return index == len(cluster) - 1
        if switch not in known.switches:
            return None
    return False if cluster else None
