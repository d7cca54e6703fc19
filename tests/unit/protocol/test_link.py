"""One agent's link over real sockets: fencing by generation, one key per agent, restarts on either side."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import zmq

from protocol import messages as m
from protocol.codec import encode
from protocol.link import AgentSocket, PeerGone, RouterLinks, WorkerLink, new_keypair


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because socket paths are."""
    with tempfile.TemporaryDirectory(prefix="oc") as name:
        yield Path(name)


class End:
    """A worker's end that remembers what happened to it."""

    def __init__(self, path: Path, generation: int, router_public: str, keys: tuple[str, str]) -> None:
        self.messages: asyncio.Queue[m.RouterToWorker] = asyncio.Queue()
        self.up = asyncio.Event()
        self.down = asyncio.Event()
        self.link = WorkerLink(
            str(path),
            generation=generation,
            router_public=router_public,
            worker_public=keys[0],
            worker_secret=keys[1],
            on_message=lambda data: self.messages.put_nowait(m.router_to_worker.decode(data)),
            on_up=self.up.set,
            on_down=self.down.set,
        )


class Bench:
    """One router's links with helpers to make workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.links = RouterLinks()
        self.router_keys = new_keypair()
        self.worker_keys = {agent: new_keypair() for agent in ("main", "other")}
        self.heard: asyncio.Queue[tuple[str, int, bytes]] = asyncio.Queue()
        self.sockets: dict[str, AgentSocket] = {}
        self.ends: list[End] = []

    def path(self, agent: str) -> Path:
        return self.folder / agent / "link"

    def bind(self, agent: str) -> AgentSocket:
        self.sockets[agent] = self.links.bind(
            agent,
            str(self.path(agent)),
            secret=self.router_keys[1],
            worker_public=self.worker_keys[agent][0],
            on_message=lambda generation, data: self.heard.put_nowait((agent, generation, data)),
        )
        return self.sockets[agent]

    def connect(self, agent: str, generation: int = 1, keys: tuple[str, str] | None = None) -> End:
        end = End(self.path(agent), generation, self.router_keys[0], keys or self.worker_keys[agent])
        self.ends.append(end)
        return end

    def close(self) -> None:
        for end in self.ends:
            end.link.close()
        for socket in self.sockets.values():
            socket.close()
        self.links.close()


@pytest.fixture
async def bench(folder: Path) -> AsyncIterator[Bench]:
    made = Bench(folder)
    yield made
    made.close()


async def test_messages_pass_both_ways_and_carry_the_generation(bench: Bench) -> None:
    socket = bench.bind("main")
    end = bench.connect("main", generation=12)
    await end.up.wait()
    assert end.link.send(m.Hello(version=1, generation=12))
    assert await bench.heard.get() == ("main", 12, encode(m.Hello(version=1, generation=12)))
    socket.send(12, m.Ping(n=1))
    assert await end.messages.get() == m.Ping(n=1)


async def test_a_send_to_a_generation_that_is_not_there_fails_at_once(bench: Bench) -> None:
    socket = bench.bind("main")
    with pytest.raises(PeerGone, match="main generation 3"):
        socket.send(3, m.Drain())


async def test_another_agents_key_does_not_open_this_agents_socket(bench: Bench) -> None:
    """A hostile worker with its own valid key gets nothing through on a socket that is not its own (FIELD S63)."""
    bench.bind("main")
    bench.bind("other")
    thief = bench.connect("main", keys=bench.worker_keys["other"])
    honest = bench.connect("main", generation=2)
    await honest.up.wait()
    assert not thief.up.is_set()
    assert not thief.link.send(m.Pong(n=1))
    assert honest.link.send(m.Pong(n=2))
    assert (await bench.heard.get())[1] == 2
    assert bench.heard.empty()


async def test_a_socket_without_curve_is_not_let_in(bench: Bench) -> None:
    bench.bind("main")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    plain = context.socket(zmq.DEALER)
    plain.set(zmq.IMMEDIATE, 1)
    plain.connect(f"ipc://{bench.path('main')}")
    honest = bench.connect("main")
    await honest.up.wait()
    with pytest.raises(zmq.Again):
        plain.send(b"hello", zmq.NOBLOCK)
    context.destroy(linger=0)


async def test_a_worker_outlives_a_router_restart_and_sends_nothing_into_the_void(bench: Bench) -> None:
    bench.bind("main")
    end = bench.connect("main")
    await end.up.wait()
    bench.sockets["main"].close()
    await end.down.wait()
    assert not end.link.send(m.Pong(n=1)), "nothing may be buffered for a router that is gone"
    end.up.clear()
    bench.bind("main")
    await end.up.wait()
    assert end.link.send(m.Pong(n=2))
    assert await bench.heard.get() == ("main", 1, encode(m.Pong(n=2)))


async def test_a_worker_that_forces_a_new_connection_is_heard_on_it_every_time(bench: Bench) -> None:
    """Ensure that the old connection, still known to the router, does not shut out the new one."""
    socket = bench.bind("main")
    end = bench.connect("main")
    await end.up.wait()
    for n in range(50):
        end.up.clear()
        end.link.reconnect()
        await end.up.wait()
        assert end.link.send(m.Pong(n=n))
        assert (await bench.heard.get())[2] == encode(m.Pong(n=n))
        socket.send(1, m.Ping(n=n))
        assert await end.messages.get() == m.Ping(n=n)


async def test_an_oversized_frame_ends_the_connection_and_is_not_delivered(bench: Bench) -> None:
    bench.bind("main")
    end = bench.connect("main")
    await end.up.wait()
    end.link.send(m.Say(id="1", seq=0, text="x" * (m.MAX_WORKER_MESSAGE + 128 * 1024)))
    await end.down.wait()
    assert bench.heard.empty()


async def test_many_messages_arrive_in_order_in_spite_of_the_edge_triggered_descriptor(bench: Bench) -> None:
    socket = bench.bind("main")
    end = bench.connect("main")
    await end.up.wait()
    end.link.send(m.Pong(n=0))
    await bench.heard.get()
    for n in range(700):
        socket.send(1, m.Ping(n=n))
        assert end.link.send(m.Pong(n=n))
    assert [(await end.messages.get()) for _ in range(700)] == [m.Ping(n=n) for n in range(700)]
    heard = [(await bench.heard.get())[2] for _ in range(700)]
    assert heard == [encode(m.Pong(n=n)) for n in range(700)]


async def test_the_socket_is_for_our_user_and_the_group_of_its_folder(bench: Bench) -> None:
    bench.bind("main")
    assert os.stat(bench.path("main")).st_mode & 0o777 == 0o660
    assert os.stat(bench.path("main").parent).st_mode & 0o777 == 0o700


async def test_a_closed_worker_end_is_noticed_by_the_router(bench: Bench) -> None:
    socket = bench.bind("main")
    end = bench.connect("main", generation=4)
    await end.up.wait()
    end.link.send(m.Pong(n=0))
    await bench.heard.get()
    bench.ends.remove(end)
    end.link.close()
    with pytest.raises(PeerGone):
        for _ in range(1000):
            socket.send(4, m.Ping(n=0))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.005)
