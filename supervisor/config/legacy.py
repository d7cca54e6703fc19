"""Spellings of older versions, and how they are said today (SPEC 2.8, 3.11). Pure: plain values in and out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from supervisor.config.edit import Path, PathMissing, lookup, remove, replace
from supervisor.config.problems import Problem, dotted

Value = dict[str, Any]

#: Old place, place of today. A value moves only where nothing stands yet.
_MOVED: tuple[tuple[Path, Path], ...] = (
    (("agent",), ("agents", "defaults")),
    (("memorySearch",), ("agents", "defaults", "memorySearch")),
    (("routing", "bindings"), ("bindings",)),
    (("routing", "agentToAgent"), ("tools", "agentToAgent")),
    (("routing", "queue"), ("messages", "queue")),
    (("routing", "groupChat", "mentionPatterns"), ("messages", "groupChat", "mentionPatterns")),
    (("routing", "groupChat", "historyLimit"), ("messages", "groupChat", "historyLimit")),
    (("routing", "allowFrom"), ("channels", "whatsapp", "allowFrom")),
    (("gateway", "token"), ("gateway", "auth", "token")),
    (("gateway", "password"), ("gateway", "auth", "password")),
    (("tools", "bash"), ("tools", "exec")),
    *(
        ((name,), ("channels", name))
        for name in ("telegram", "discord", "whatsapp", "slack", "signal", "imessage", "irc", "msteams")
    ),
)
#: Moves inside of a channel and of each of its accounts.
_MOVED_IN_CHANNEL: tuple[tuple[Path, Path], ...] = (
    (("dm", "policy"), ("dmPolicy",)),
    (("dm", "allowFrom"), ("allowFrom",)),
    (("streamMode",), ("streaming",)),
)
BIND = {
    **dict.fromkeys(("0.0.0.0", "::", "[::]", "*", "all"), "lan"),
    **dict.fromkeys(("127.0.0.1", "::1", "[::1]", "localhost", "local"), "loopback"),
}


class Step(NamedTuple):
    """One old spelling. `new` is where it belongs today, `value` what it says there."""

    old: Path
    new: Path
    value: Any

    @property
    def change(self) -> str:
        """What `modernise` does about it."""
        return f"{dotted(self.old)} by {self.value if self.old == self.new else dotted(self.new)}"

    @property
    def text(self) -> str:
        """For people."""
        if self.old == self.new:
            return f"{dotted(self.old)} is {self.value} today"
        return f"{dotted(self.old)} is {dotted(self.new)} today"


def outdated(config: Value) -> tuple[Step, ...]:
    """Every old spelling in a configuration."""
    return tuple(_found(config))


def modernise(config: Value) -> Value:
    """The configuration with every old spelling replaced; emptied sections vanish."""
    for step in outdated(config):
        config = _applied(config, step)
    return config


def explains(step: Step, problem: Problem) -> bool:
    """Whether a problem of the configuration is this old spelling."""
    about = tuple([] if problem.path == "<root>" else problem.path.split(".")) + ((problem.key,) if problem.key else ())
    return about == tuple(map(str, step.old))[: len(about)] and len(about) > 0


def _found(config: Value) -> Iterator[Step]:
    bind = _at(config, ("gateway", "bind"))
    if isinstance(bind, str) and bind.strip().lower() in BIND:
        yield Step(("gateway", "bind"), ("gateway", "bind"), BIND[bind.strip().lower()])
    for old, new in _MOVED:
        if (value := _at(config, old)) is not None and _at(config, new) is None:
            yield Step(old, new, value)
    for at in _channel_levels(config):
        for old, new in _MOVED_IN_CHANNEL:
            if (value := _at(config, (*at, *old))) is not None and _at(config, (*at, *new)) is None:
                yield Step((*at, *old), (*at, *new), value)


def _channel_levels(config: Value) -> Iterator[Path]:
    channels = config.get("channels")
    for name, section in channels.items() if isinstance(channels, dict) else ():
        yield ("channels", name)
        accounts = section.get("accounts") if isinstance(section, dict) else None
        for account in accounts if isinstance(accounts, dict) else ():
            yield ("channels", name, "accounts", account)


def _applied(config: Value, step: Step) -> Value:
    if step.old == step.new:
        changed: Value = replace(config, step.new, step.value)
        return changed
    moved = replace(_pruned(config, step.old), step.new, step.value)
    assert isinstance(moved, dict)
    return moved


def _pruned(config: Value, path: Path) -> Value:
    """Without the value at a path, and without what holds nothing any more."""
    left: Value = remove(config, path)
    above = path[:-1]
    return _pruned(left, above) if above and _at(left, above) == {} else left


def _at(config: Any, path: Path) -> Any:
    try:
        return lookup(config, path)
    except PathMissing:
        return None
