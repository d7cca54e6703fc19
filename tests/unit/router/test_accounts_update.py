"""A changed configuration touches the accounts it changes, and cuts nothing in two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from protocol import messages as m
from protocol.envelope import Address, Inbound, Outbound
from protocol.tasks import Tasks
from router.accounts import Account, Accounts
from router.channels.base import SendDelayed
from router.channels.fake import FakeChannel
from router.leaving import Leaving

A, B = ("fake", "a"), ("fake", "b")
ANSWER = Outbound(key="k", address=Address("fake", "a", "chat"), text="hello")


class Stage:
    """Accounts of fake channels; `gate` holds back what is received."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.taken: list[str | None] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.tasks = Tasks(lambda name, error: None)
        self.accounts = Accounts(self._create, self._receive, self._cursor, self.tasks)

    def _create(self, channel: str, account: str, settings: Mapping[str, Any]) -> FakeChannel:
        self.made.append(account)
        return FakeChannel(channel, account)

    async def _receive(self, account: Account, messages: Sequence[Inbound], cursor: str | None) -> None:
        await self.gate.wait()
        self.taken.append(cursor)

    async def _cursor(self, channel: str, account: str) -> str | None:
        return None

    def account(self, key: tuple[str, str] = A) -> Account:
        found = self.accounts.find(*key)
        assert found is not None
        return found


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    await stage.accounts.update({A: {"botToken": "1"}, B: {"botToken": "2"}})
    await stage.account().online.wait()
    yield stage
    stage.gate.set()
    await stage.accounts.close()
    await stage.tasks.cancel()


async def test_only_the_account_whose_login_changed_is_made_anew(stage: Stage) -> None:
    before = stage.account(A), stage.account(B)
    await stage.accounts.update({A: {"botToken": "1"}, B: {"botToken": "new"}})
    assert stage.made == ["a", "b", "b"]
    assert stage.account(A) is before[0] and stage.account(B) is not before[1]


async def test_who_is_let_in_changes_without_a_new_login(stage: Stage) -> None:
    before = stage.account()
    wanted = {"botToken": "1", "dmPolicy": "open", "allowFrom": ["*"], "groups": {"*": {}}}
    await stage.accounts.update({A: wanted, B: {"botToken": "2"}})
    assert stage.account() is before and before.settings == wanted


async def test_a_batch_under_way_is_taken_whole_when_its_account_ends(stage: Stage) -> None:
    stage.gate.clear()
    batch = asyncio.create_task(stage.account().receive([], "7"))
    await asyncio.sleep(0)
    ending = asyncio.create_task(stage.accounts.update({B: {"botToken": "2"}}))
    done, _ = await asyncio.wait([ending], timeout=0.05)
    assert not done
    stage.gate.set()
    await asyncio.gather(ending, batch)
    assert stage.taken == ["7"] and stage.accounts.find(*A) is None


async def test_an_account_that_ends_begins_no_send(stage: Stage) -> None:
    account = stage.account()
    await stage.accounts.update({B: {"botToken": "2"}})
    with pytest.raises(SendDelayed, match="being restarted"):
        await account.send(ANSWER)


async def test_whoever_waits_for_a_login_that_ends_is_let_go(stage: Stage) -> None:
    account = stage.account()
    account.disconnected("the network is down")
    waiting = asyncio.create_task(account.online.wait())
    await stage.accounts.update({A: {"botToken": "new"}, B: {"botToken": "2"}})
    async with asyncio.timeout(1):
        await waiting
    assert stage.account() is not account


async def test_an_agent_that_leaves_is_reported_when_it_has_nothing_left() -> None:
    unfinished, told = {"a": 1, "b": 0}, list[Any]()
    tasks = Tasks(lambda name, error: None)
    leaving = Leaving(unfinished.__getitem__, told.append, tasks)
    leaving.update(["a", "b"], 3)
    assert told == [m.AgentIdle(agent="b", version=3)]
    unfinished["a"] = 0
    async with asyncio.timeout(2):
        while len(told) < 2:
            await asyncio.sleep(0.01)
    assert told[1] == m.AgentIdle(agent="a", version=3)
    await tasks.cancel()


async def test_an_agent_that_came_back_is_not_reported() -> None:
    told = list[Any]()
    tasks = Tasks(lambda name, error: None)
    leaving = Leaving(lambda _: 1, told.append, tasks)
    leaving.update(["a"], 3)
    leaving.update([], 4)
    async with asyncio.timeout(2):
        while len(tasks):
            await asyncio.sleep(0.01)
    assert told == []
