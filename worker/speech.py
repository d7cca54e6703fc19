"""What of a model's text people get to see. Pure.

Rules: SPEC 4.16. A text that is only `NO_REPLY` means "say nothing"; the same word at the end of other text is taken
off. A reply tag at the start asks to quote a message: people never see it, the router is told (`spoken`) and decides.
"""

from __future__ import annotations

import re

#: Longest single text for a person, in characters; far over any chat, well under the link's message limit.
MAX_SAY = 100_000
CUT_MARK = "\n[… the answer was longer and is cut here]"

_SILENT = re.compile(r"\s*(NO_REPLY|HEARTBEAT_OK)\s*", re.IGNORECASE)
_TRAILING_SILENT = re.compile(r"(^|\s)NO_REPLY\s*$", re.IGNORECASE)
_REPLY_TAG = re.compile(r"^\s*\[\[\s*(reply_to_current|reply_to:[^\]\n]{1,64})\s*\]\]\s*", re.IGNORECASE)
_WORDS = ("no_reply", "heartbeat_ok")


def visible(text: str) -> str:
    """The text to be said, empty for silence."""
    text = _REPLY_TAG.sub("", text)
    if _SILENT.fullmatch(text):
        return ""
    text = _TRAILING_SILENT.sub("", text).strip()
    return text if len(text) <= MAX_SAY else text[: MAX_SAY - len(CUT_MARK)] + CUT_MARK


def spoken(text: str) -> str:
    """The text for the router: what people see, behind the reply tag if there is one."""
    shown, tag = visible(text), _REPLY_TAG.match(text)
    return f"[[{tag.group(1)}]] {shown}" if shown and tag else shown


def without_tag(text: str) -> str:
    """A live text from its beginning, as people see it."""
    return _REPLY_TAG.sub("", text)


def is_silent(text: str) -> bool:
    """Whether the model chose to say nothing, in so many words."""
    return _SILENT.fullmatch(_REPLY_TAG.sub("", text)) is not None


def undecided(beginning: str) -> bool:
    """Whether a live text that begins so may still turn out to be silence or a tag."""
    start = beginning.strip().lower()
    if start.startswith("[["[: len(start)]):
        return len(start) < 80 and "]]" not in start
    return any(word.startswith(start) for word in _WORDS)
