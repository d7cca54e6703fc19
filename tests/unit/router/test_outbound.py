"""Each answer reaches its platform exactly once, whatever the platform and the process do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from protocol.envelope import Address, Inbound, Outbound, Peer, Sender
from protocol.tasks import Tasks
from router.accounts import Accounts
from router.channels.base import SendDelayed, SendRefused, SendUncertain
from router.channels.fake import FakeChannel
from router.outbound import Outbox
from router.spool.base import Admission, OutboxRow
from router.spool.memory import MemorySpool

ADDRESS = Address("fake", "default", "chat")


class Stage:
    """An outbox over the memory spool and one fake account; a crash makes a new outbox over the same spool."""

    def __init__(self) -> None:
        self.spool = MemorySpool()
        self.channel = FakeChannel()
        self.sent: list[OutboxRow] = []
        self.crashes: list[BaseException] = []
        self.tasks = Tasks(lambda _, error: self.crashes.append(error))
        self.accounts = Accounts(self._create, self._receive, self.spool.cursor, self.tasks)
        self.outbox = Outbox(self.spool, self.accounts, self.tasks, self.sent.append)

    async def start(self) -> None:
        await self.spool.open()
        await self.accounts.update({("fake", "default"): {}})
        account = self.accounts.find("fake", "default")
        assert account is not None
        await account.online.wait()

    async def inbound(self, number: int = 1) -> str:
        message = Inbound(
            channel="fake",
            account="default",
            message_id=str(number),
            peer=Peer("direct", "1"),
            sender=Sender("1"),
            text="?",
            at=0.0,
            reply=ADDRESS,
        )
        return (await self.spool.admit([Admission("main", "s", message)], None, 0.0))[0].id

    async def settled(self) -> list[str]:
        """Wait until nothing is on its way any more; what the platform has."""
        await self.outbox.settle(5)
        assert not self.crashes
        return [message.text for message in self.channel.sent]

    def _create(self, channel: str, account: str, settings: Mapping[str, Any]) -> FakeChannel:
        return self.channel

    async def _receive(self, *_: object) -> None:
        return None


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    await made.start()
    yield made
    await made.accounts.close()
    await made.tasks.cancel()


async def state(stage: Stage) -> dict[str, int]:
    return {name: count for name, count in (await stage.spool.counts()).items() if count and name.startswith("out.")}


async def test_an_answer_is_sent_once_and_a_repeated_say_is_not(stage: Stage) -> None:
    id = await stage.inbound()
    assert len(await stage.outbox.say(id, 0, "hello", ADDRESS)) == 1
    assert await stage.outbox.say(id, 0, "hello", ADDRESS) == []
    assert await stage.settled() == ["hello"]
    assert await state(stage) == {"out.sent": 1}


async def test_parts_and_answers_of_one_chat_keep_their_order(stage: Stage) -> None:
    id = await stage.inbound()
    stage.channel.faults.append(SendDelayed("busy", retry_after=0.0))
    said = [stage.outbox.say(id, seq, f"{seq} " + "word " * 1500, ADDRESS) for seq in range(3)]
    for one in said:
        await one
    texts = await stage.settled()
    assert len(texts) == 6
    assert [text[0] for text in texts[::2]] == ["0", "1", "2"]


async def test_a_delay_is_waited_for_and_then_sent(stage: Stage) -> None:
    stage.channel.faults += [SendDelayed("429", retry_after=0.01), SendDelayed("429", retry_after=0.01)]
    await stage.outbox.say(await stage.inbound(), 0, "hello", ADDRESS)
    assert await stage.settled() == ["hello"]


async def test_a_refused_message_is_a_dead_letter_and_the_next_one_goes(stage: Stage) -> None:
    id = await stage.inbound()
    stage.channel.faults.append(SendRefused("blocked by the user"))
    await stage.outbox.say(id, 0, "first", ADDRESS)
    await stage.outbox.say(id, 1, "second", ADDRESS)
    assert await stage.settled() == ["second"]
    assert await state(stage) == {"out.dead": 1, "out.sent": 1}


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_lost_answer_is_looked_up_and_the_message_is_there_once(stage: Stage, arrived: bool) -> None:
    stage.channel.faults.append(SendUncertain("cut"))
    stage.channel.arrives_when_uncertain = arrived
    await stage.outbox.say(await stage.inbound(), 0, "hello", ADDRESS)
    assert await stage.settled() == ["hello"]
    assert await state(stage) == {"out.sent": 1}


async def test_where_nobody_can_tell_it_stays_uncertain_and_is_never_sent_again(stage: Stage) -> None:
    stage.channel = FakeChannel(can_confirm=False)
    await stage.accounts.update({})
    await stage.start()
    id = await stage.inbound()
    stage.channel.faults.append(SendUncertain("cut"))
    await stage.outbox.say(id, 0, "first", ADDRESS)
    await stage.outbox.say(id, 1, "second", ADDRESS)
    assert await stage.settled() == ["second"]
    assert await state(stage) == {"out.uncertain": 1, "out.sent": 1}


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_crash_between_request_and_answer_neither_loses_nor_doubles(stage: Stage, arrived: bool) -> None:
    """What the spool holds as SENDING after a crash is asked about first."""
    id = await stage.inbound()
    part = Outbound(key=f"{id}.0.0", address=ADDRESS, text="hello")
    await stage.spool.say(id, 0, [part], time.time(), sending_note=stage.channel.note(part))
    if arrived:
        stage.channel.sent.append(part)
    await stage.spool.close()
    await stage.spool.open()
    _, rows = await stage.spool.pending()
    stage.outbox.resume(rows)
    assert await stage.settled() == ["hello"]


async def test_while_an_account_is_away_its_messages_wait_and_stopping_does_not(stage: Stage) -> None:
    account = stage.accounts.find("fake", "default")
    assert account is not None
    account.disconnected("network is down")
    await stage.outbox.say(await stage.inbound(), 0, "hello", ADDRESS)
    async with asyncio.timeout(1):
        await stage.outbox.settle(30)
    assert await state(stage) == {"out.queued": 1}
    account.connected("@default")
    assert await stage.settled() == ["hello"]


async def test_an_account_of_our_own_outlives_a_change_of_the_configured_ones(stage: Stage) -> None:
    page = FakeChannel("webchat")
    stage.accounts.add(page)
    await stage.accounts.update({})
    address = Address("webchat", "default", "main")
    await stage.outbox.say(await stage.inbound(), 0, "to the page", address)
    await stage.outbox.settle(5)
    assert [message.text for message in page.sent] == ["to the page"]
