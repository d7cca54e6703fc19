"""A command as an approver is shown it: whole where that is possible, with nothing in it that hides. Pure."""

from __future__ import annotations

import re

#: Characters of a command that are shown in a chat; the command line shows all of it.
MAX_SHOWN = 1_500
_FENCES = re.compile(r"`{3,}")


def clean(text: str) -> str:
    """Control characters, invisible ones and those that turn the direction of writing are written out."""
    return "".join(char if char.isprintable() or char == "\n" else _escaped(char) for char in text)


def question(agent: str, id: str, command: str, workdir: str, *, elevated: bool) -> str:
    """The text that asks for an approval."""
    text = clean(command)
    shown = shortened(text)
    fence = "`" * max(3, *(len(found) + 1 for found in _FENCES.findall(shown)), 3)
    where = f"on the host, outside of its sandbox, in {_place(workdir)}" if elevated else f"in {_place(workdir)}"
    hidden = "" if shown == text else "\n⚠️ Not shown whole. All of it: openclaw approvals pending"
    return (
        f"🔒 Approval needed: agent {agent} wants to run\n{fence}\n{shown}\n{fence}\n{where}{hidden}\n"
        f"/approve {id} allow-once | allow-always | deny (within 30 minutes)"
    )


def shortened(text: str, limit: int = MAX_SHOWN) -> str:
    """The beginning and the end, with a mark between that says what is missing."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"


def _place(workdir: str) -> str:
    return shortened(clean(workdir).replace("\n", "\\n"), 200) or "the workspace"


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
