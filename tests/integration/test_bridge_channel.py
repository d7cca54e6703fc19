"""A bridge's account as the router uses it, against a bridge on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from protocol.envelope import Address, Inbound, Outbound, Peer
from protocol.errors import UserError
from router.channels.base import AccountTrouble, SendDelayed, SendRefused, SendUncertain
from router.channels.bridge import create
from router.channels.bridge.channel import BridgeChannel
from tests.support.bridge import Bridge


class Host:
    """Takes messages when `open`."""

    def __init__(self) -> None:
        self.taken: list[Inbound] = []
        self.open = asyncio.Event()
        self.open.set()
        self.login = asyncio.Event()

    async def receive(self, messages: Sequence[Inbound], cursor: str | None = None) -> None:
        await self.open.wait()
        self.taken += messages

    async def cursor(self) -> str | None:
        return None

    def connected(self, login: str) -> None:
        self.login.set()

    def disconnected(self, reason: str) -> None:
        self.login.clear()


class Stage:
    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.host = Host()
        self.channel: BridgeChannel = create("discord", "work", {"bridge": {"socket": str(bridge.path)}})
        self.run = asyncio.ensure_future(self.channel.run(self.host))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Bridge(tmp_path / "b.sock") as bridge:
        stage = Stage(bridge)
        await stage.host.login.wait()
        yield stage
        stage.run.cancel()
        await asyncio.gather(stage.run, return_exceptions=True)
        await stage.channel.close()


def outbound(key: str = "k.0.0") -> Outbound:
    return Outbound(key=key, address=Address("discord", "work", "c1", "t1", "m9"), text="hello")


async def test_a_message_keeps_guild_roles_team_parent_and_thread(stage: Stage) -> None:
    stage.bridge.push(
        "discord", "hi", account="work", peer="channel:t1", sender="u1", parent_peer={"kind": "channel", "id": "c1"},
        guild_id="g1", team_id="T1", roles=["r1", "r2"], mentioned=True, target="c1", thread="t1",
    )  # fmt: skip
    await stage.bridge.until(lambda: bool(stage.bridge.taken))
    [message] = stage.host.taken
    assert (message.guild_id, message.team_id, message.roles) == ("g1", "T1", ("r1", "r2"))
    assert message.parent_peer == Peer("channel", "c1")
    assert message.reply == Address("discord", "work", "c1", "t1")
    assert message.mentioned is True


async def test_a_message_is_confirmed_only_when_the_router_has_it(stage: Stage) -> None:
    stage.host.open.clear()
    id = stage.bridge.push("discord", "hi", account="work", peer="direct:u1")
    await stage.channel.send(outbound())
    assert stage.bridge.taken == []
    stage.host.open.set()
    await stage.bridge.until(lambda: stage.bridge.taken == [id])


async def test_a_text_is_sent_with_its_thread_and_the_message_it_quotes(stage: Stage) -> None:
    receipt = await stage.channel.send(outbound())
    assert receipt.message_id == "s1"
    assert stage.bridge.sent[0][1] == {
        "type": "send", "key": "k.0.0", "target": "c1", "text": "hello", "thread": "t1", "reply_to": "m9"
    }  # fmt: skip


async def test_the_bridges_no_is_told_apart(stage: Stage) -> None:
    stage.bridge.faults = [
        {"type": "refused", "reason": "blocked"}, {"type": "delayed", "reason": "slow down", "seconds": 7}
    ]  # fmt: skip
    with pytest.raises(SendRefused, match="blocked"):
        await stage.channel.send(outbound())
    with pytest.raises(SendDelayed) as delayed:
        await stage.channel.send(outbound())
    assert delayed.value.retry_after == 7


async def test_a_lost_answer_is_uncertain_and_saying_it_again_sends_nothing_twice(stage: Stage) -> None:
    stage.bridge.faults = [None]
    with pytest.raises(SendUncertain):
        await stage.channel.send(outbound())
    with pytest.raises(AccountTrouble, match="hung up"):
        await stage.run
    with pytest.raises(SendDelayed):
        await stage.channel.send(outbound())
    assert await stage.channel.confirm(outbound(), "") is None
    stage.host.login.clear()
    stage.run = asyncio.ensure_future(stage.channel.run(stage.host))
    await stage.host.login.wait()
    await stage.channel.send(outbound())
    assert len(stage.bridge.sent) == 1


@pytest.mark.parametrize("line", [b"garbage\n", b'{"type":"message"}\n', b'{"type":"x"}\n', b"x" * 600_000 + b"\n"])
async def test_a_bridge_that_talks_nonsense_is_hung_up_on_with_the_reason(tmp_path: Path, line: bytes) -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(line)
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        ended.set()

    async with await asyncio.start_unix_server(serve, tmp_path / "b.sock"):
        channel = create("whatsapp", "default", {"bridge": {"socket": str(tmp_path / "b.sock")}})
        with pytest.raises(AccountTrouble, match="the bridge at"):
            await channel.run(Host())
        assert not (await channel.probe()).ok
        await ended.wait()


async def test_a_bridge_that_is_not_there_is_trouble_with_its_path(tmp_path: Path) -> None:
    channel = create("whatsapp", "default", {"bridge": {"socket": str(tmp_path / "none.sock")}})
    with pytest.raises(AccountTrouble, match=r"none\.sock"):
        await channel.run(Host())


def test_a_relative_socket_is_refused() -> None:
    with pytest.raises(UserError, match="absolute"):
        create("whatsapp", "default", {"bridge": {"socket": "b.sock"}})
