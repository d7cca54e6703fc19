"""What a new plan changes for whom, read off the slices: only who is told something else is touched. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from protocol.accounts import account_ids, account_settings, sections
from protocol.slices import RouterSlice
from supervisor.plan import Plan


class Changes(NamedTuple):
    """Agents by id, accounts as `telegram:work`. `listener`: the HTTP port, its address or what opens it."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    router: bool = False
    proxy: bool = False
    listener: bool = False
    log_file: bool = False

    @property
    def nothing(self) -> bool:
        return not any(self)


def compare(old: Plan, new: Plan) -> Changes:
    """The difference, as each process sees it."""
    common = [agent for agent in new.agents if agent in old.agents]
    other = {seat.agent for seat in (*old.fixed, *new.fixed) if old.fixed.get(seat) != new.fixed.get(seat)}
    return Changes(
        added=tuple(agent for agent in new.agents if agent not in old.agents),
        removed=tuple(agent for agent in old.agents if agent not in new.agents),
        changed=tuple(agent for agent in common if agent in other or new.agents[agent] != old.agents[agent]),
        accounts=_accounts(old.router, new.router),
        router=_without_listener(old.router) != _without_listener(new.router),
        proxy=old.proxy != new.proxy,
        listener=_listener(old.router) != _listener(new.router),
        log_file=(old.log_file, old.log_max_bytes) != (new.log_file, new.log_max_bytes),
    )


def keep_listener(old: Plan, new: Plan) -> Plan:
    """The new plan with the HTTP port as it is."""
    host, port, token = _listener(old.router)
    router = msgspec.structs.replace(new.router, host=host, port=port, token=token)
    return msgspec.structs.replace(new, router=router)


def describe(changes: Changes) -> str:
    """What was done, in the words of the log."""
    said = [f"{word} {', '.join(agents[:10])}{' …' if len(agents) > 10 else ''}" for word, agents in (
        ("new workers", changes.added), ("removed", changes.removed), ("workers replaced", changes.changed),
        ("accounts", changes.accounts)) if agents]  # fmt: skip
    said += ["routing and access"] if changes.router and not changes.accounts else []
    said += ["models"] if changes.proxy else []
    said += ["router restarted"] if changes.listener else []
    return "; ".join(said) or "nothing"


def _listener(slice_: RouterSlice) -> tuple[str, int, str]:
    return slice_.host, slice_.port, slice_.token


def _without_listener(slice_: RouterSlice) -> RouterSlice:
    return msgspec.structs.replace(slice_, host="", port=0, token="")


def _accounts(old: RouterSlice, new: RouterSlice) -> tuple[str, ...]:
    """Accounts that came, went, or have other settings."""
    if old.channels == new.channels:
        return ()
    before, after = _settings(old), _settings(new)
    keys = dict.fromkeys((*before, *after))
    return tuple(f"{channel}:{account}" for channel, account in keys
                 if before.get((channel, account)) != after.get((channel, account)))  # fmt: skip


def _settings(slice_: RouterSlice) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {
        (name, account): account_settings(section, account, name)
        for name, section in sections(slice_.channels)
        for account in account_ids(section)
    }
