"""`exec-approvals.json`: the operator's file on what agents may run, read, checked, and changed whole (SPEC 3.16, 5.7).

A file that is broken is an error and never "no rules": a gateway does not start on it, a running one keeps its rules.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from protocol import approvals as rules
from protocol.config import AgentDefaults, AgentTools, Config
from protocol.errors import UserError
from protocol.ids import normalize_agent_id
from protocol.paths import Paths
from supervisor.config import agents
from supervisor.config.parse import parse, read_text
from supervisor.config.problems import ConfigInvalid, Problem, dotted
from supervisor.config.walk import walk, wrong_type
from supervisor.config.write import write_atomically

NAME = "exec-approvals.json"
#: Seconds to wait for somebody else who is writing the file.
LOCK_TIMEOUT = 5.0

Change = Callable[[dict[str, Any]], dict[str, Any]]


class Known(NamedTuple):
    """The file as it is: `value` as written, `hash` its SHA-256, empty where there is no file."""

    value: dict[str, Any]
    file: rules.ApprovalsFile
    hash: str


def file_of(paths: Paths) -> Path:
    """Where the file lies."""
    return paths.state / NAME


def read(paths: Paths) -> rules.ApprovalsFile:
    """The rules in force, those of an empty file where there is none. Raises ConfigInvalid, UserError."""
    return look(paths).file


def look(paths: Paths) -> Known:
    """The file with its text's hash. Raises ConfigInvalid with every problem, UserError when it cannot be read."""
    text = read_text(file_of(paths))
    if text is None:
        return Known({"version": 1}, rules.EMPTY, "")
    value = parse(text, file_of(paths))
    return Known(value, checked(value, file_of(paths)), hashlib.sha256(text.encode()).hexdigest())


def checked(value: Any, source: Path) -> rules.ApprovalsFile:
    """A value as the rules it stands for. Raises ConfigInvalid with every problem."""
    if not isinstance(value, dict):
        raise ConfigInvalid(source, [wrong_type("object", value, ())])
    if found := [*walk(value, rules.ApprovalsFile), *_across(value)]:
        raise ConfigInvalid(source, found)
    return msgspec.convert(_normalized(value), rules.ApprovalsFile)


def policy(config: Config, paths: Paths, agent_id: str, file: rules.ApprovalsFile) -> rules.ExecPolicy:
    """What holds for the commands of this agent (WorkerSlice.exec_policy)."""
    own = agents.entry(config, agent_id).tools or AgentTools()
    return rules.effective(config.tools.exec, own.exec, file, normalize_agent_id(agent_id), str(paths.home))


def elevated(config: Config, agent_id: str) -> rules.ElevatedRules:
    """Who may have this agent leave its sandbox (RouterAgent.elevated)."""
    own, defaults = agents.entry(config, agent_id).tools or AgentTools(), config.agents.defaults or AgentDefaults()
    return rules.elevated_rules(config.tools.elevated, own.elevated, defaults.elevated_default)


def change(paths: Paths, mutate: Change) -> Known:
    """Apply `mutate` to what the file says and write it, whole and mode 0600. Raises ConfigInvalid, UserError."""
    with _lock(paths):
        before = look(paths)
        value = mutate(before.value)
        checked(value, file_of(paths))
        if value == before.value and before.hash:
            return before
        data = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
        write_atomically(file_of(paths), data)
        return look(paths)


def allow(value: dict[str, Any], agent: str, patterns: Sequence[str], now: float | None) -> dict[str, Any]:
    """The value with these patterns on the agent's allowlist, used `now`; those that are there stay as they are."""
    agent = _spelled(value, agent)
    own = dict((value.get("agents") or {}).get(agent) or {})
    listed = list(own.get("allowlist") or ())
    known = {entry["pattern"] for entry in listed if "argPattern" not in entry}
    for pattern in patterns:
        if pattern not in known:
            used = {} if now is None else {"lastUsedAt": int(now * 1000)}
            listed.append({"id": str(uuid.uuid4()), "pattern": pattern, **used})
    return _with_list(value, agent, own, listed)


def disallow(value: dict[str, Any], agent: str, pattern: str) -> dict[str, Any]:
    """The value without this pattern on the agent's allowlist."""
    agent = _spelled(value, agent)
    own = dict((value.get("agents") or {}).get(agent) or {})
    listed = [entry for entry in own.get("allowlist") or () if entry["pattern"] != pattern]
    return _with_list(value, agent, own, listed)


def remember(paths: Paths, agent: str, patterns: Sequence[str]) -> None:
    """An approver said "always" of these programs. Raises UserError."""
    change(paths, lambda value: allow(value, agent, patterns, time.time()))


def _with_list(value: dict[str, Any], agent: str, own: dict[str, Any], listed: list[Any]) -> dict[str, Any]:
    own = {**own, "allowlist": listed}
    return {**value, "agents": {**(value.get("agents") or {}), agent: own}}


def _spelled(value: dict[str, Any], agent: str) -> str:
    """The agent's key as the file has it."""
    return next((key for key in value.get("agents") or {} if _id(key) == agent), agent)


def _normalized(value: dict[str, Any]) -> dict[str, Any]:
    """Agents by the ids that everybody else uses."""
    named = {_id(key): entry for key, entry in (value.get("agents") or {}).items()}
    return {**value, "agents": named} if named else value


def _id(key: str) -> str:
    return key if key == rules.EVERYBODY else normalize_agent_id(key)


def _across(value: dict[str, Any]) -> Iterator[Problem]:
    named = value.get("agents")
    seen: dict[str, str] = {}
    for key, entry in named.items() if isinstance(named, dict) else ():
        first = seen.setdefault(_id(key), key)
        if first != key:
            yield Problem(dotted(("agents", key)), f'the same agent as "{first}"')
        listed = entry.get("allowlist") if isinstance(entry, dict) else None
        yield from _patterns(listed if isinstance(listed, list) else [], ("agents", key, "allowlist"))


def _patterns(listed: list[Any], at: tuple[str, ...]) -> Iterator[Problem]:
    if len(listed) > rules.MAX_PATTERNS:
        yield Problem(dotted(at), f"more than {rules.MAX_PATTERNS} patterns")
    for index, entry in enumerate(listed):
        pattern = entry.get("pattern") if isinstance(entry, dict) else None
        if isinstance(pattern, str) and (problem := pattern_problem(pattern)):
            yield Problem(dotted((*at, index, "pattern")), problem)


def pattern_problem(pattern: str) -> str:
    """What is wrong with an allowlist pattern, empty for a good one."""
    if not pattern.strip() or len(pattern) > rules.MAX_PATTERN:
        return f"Invalid input: expected 1 to {rules.MAX_PATTERN} characters"
    if not pattern.isprintable() or any(char.isspace() for char in pattern):
        return "Invalid input: a program's name or path has no spaces or control characters; list no arguments"
    if "/" not in pattern and any(char in pattern for char in "*?["):
        return "Invalid input: a bare name is taken as it is; write a path such as /usr/bin/*"
    if "/" in pattern and not pattern.startswith(("/", "~/", "*")):
        return "Invalid input: a path begins with / or ~/"
    return ""


@contextmanager
def _lock(paths: Paths) -> Iterator[None]:
    """One writer at a time: the command line and the gateway both write."""
    paths.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(paths.state / f".{NAME}.lock", flags, 0o600)
    try:
        _wait_for(descriptor, file_of(paths))
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, file: Path) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                raise UserError("somebody else is writing the file", where=str(file)) from None
            time.sleep(0.02)
