"""Is a group message meant for the agent? Native mentions, patterns, replies to us, commands (RULES 3.8).

Patterns come from users, so they run on RE2, where no pattern can hang the router. Patterns that the original leaves
out (no regular expression at all, a repetition inside a repetition) and those that RE2 cannot run (lookaround,
backreference) are left out here too; `refused` names them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import re2

from protocol.config import GroupChat, Identity
from protocol.envelope import Inbound
from router.repetition import is_ambiguous

#: Zero-width and direction marks: they are invisible, and a mention with one inside looks like a mention.
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u206f]")
_SPECIAL = re.compile(r"[.*+?^${}()|\[\]\\]")
#: Longest text looked at and longest pattern taken, in characters.
_MAX_TEXT, _MAX_PATTERN = 8000, 2000


class Facts(NamedTuple):
    """What is known of one message. `implicit` are the kinds of indirect mention, such as `reply_to_bot`."""

    can_detect: bool
    mentioned: bool
    mentions_anyone: bool = False
    implicit: Collection[str] = ()


class Policy(NamedTuple):
    """What holds for this conversation and this sender."""

    group: bool = True
    require_mention: bool = True
    text_commands: bool = False
    is_command: bool = False
    may_command: bool = False


class Decision(NamedTuple):
    """`skip` is the answer; `command` says that the message passed only because it is an authorised command."""

    skip: bool
    mentioned: bool
    command: bool


def decide(facts: Facts, policy: Policy) -> Decision:
    """Whether a message is left unanswered for want of a mention. Where none could be detected, none is required."""
    command = (
        policy.group
        and policy.require_mention
        and policy.text_commands
        and policy.is_command
        and policy.may_command
        and not facts.mentioned
        and not facts.mentions_anyone
    )
    mentioned = facts.mentioned or bool(facts.implicit) or command
    return Decision(policy.require_mention and facts.can_detect and not mentioned, mentioned, command)


def gate(message: Inbound, wanted: Sequence[str], require_mention: bool) -> bool:
    """Whether a group message goes on to the agent with these patterns."""
    possible = message.mentioned is not None or any(_compile(one) is not None for one in wanted)
    implicit = ("reply_to_bot",) if message.quote is not None and message.quote.from_us else ()
    named = bool(message.mentioned) or named_in(message.text, wanted)
    return not decide(Facts(possible, named, implicit=implicit), Policy(require_mention=require_mention)).skip


def named_in(text: str, wanted: Sequence[str]) -> bool:
    """Whether one of the patterns is found in the text; case and invisible marks do not count."""
    text = _INVISIBLE.sub("", text[:_MAX_TEXT]).strip().lower()
    return bool(text) and any(compiled.search(text) for one in wanted if (compiled := _compile(one)) is not None)


def patterns(own: GroupChat, shared: GroupChat | None, identity: Identity) -> tuple[str, ...]:
    """The agent's own patterns if it has the key, else the shared ones, else its name and emoji."""
    if own.mention_patterns is not None:
        return own.mention_patterns
    if shared is not None and shared.mention_patterns is not None:
        return shared.mention_patterns
    derived = []
    if name := (identity.name or "").split():
        derived.append(r"\b@?" + r"\s+".join(_escape(word) for word in name) + r"\b")
    if emoji := (identity.emoji or "").strip():
        derived.append(_escape(emoji))
    return tuple(derived)


def refused(wanted: Sequence[str]) -> list[str]:
    """The patterns that cannot be used."""
    return [one for one in wanted if one.strip() and _compile(one) is None]


def usable(wanted: Sequence[str]) -> list[str]:
    """The patterns as they run, without those that are left out."""
    return [_source(one) for one in wanted if _compile(one) is not None]


def _source(pattern: str) -> str:
    """JSON turns a single-backslash `\\b` into a backspace, which nobody writes in a pattern: it is meant as `\\b`."""
    return pattern.replace("\b", r"\b").strip()


def _escape(text: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found.group(), text)


@functools.lru_cache(maxsize=4096)
def _compile(pattern: str) -> Any:
    """The compiled pattern, or None for one that is left out."""
    source = _source(pattern)
    if not source or len(source) > _MAX_PATTERN or is_ambiguous(source):
        return None
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    try:
        return re2.compile(source, options=options)
    except re2.error:
        return None
