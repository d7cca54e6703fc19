"""What a worker may say and when, and what the router tells the supervisor about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from protocol import messages as m
from protocol.codec import encode
from protocol.link import PeerGone
from protocol.sandbox import HOST, Seat
from protocol.slices import AgentLink
from router.workers import UNANSWERED_PINGS, Workers


class Socket:
    """One agent's end of the link, without a socket."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Any]] = []
        self.connected: set[int] = set()
        self.closed = False

    def send(self, generation: int, message: Any) -> None:
        if generation not in self.connected:
            raise PeerGone(f"generation {generation} is not there")
        self.sent.append((generation, message))

    def close(self) -> None:
        self.closed = True


class Links:
    def __init__(self) -> None:
        self.sockets: dict[str, Socket] = {}
        self.receivers: dict[str, Callable[[int, bytes], None]] = {}

    def bind(self, agent: str, path: str, *, on_message: Callable[[int, bytes], None], **keys: str) -> Socket:
        self.sockets[agent] = Socket()
        self.receivers[agent] = on_message
        return self.sockets[agent]


class Stage:
    def __init__(self) -> None:
        self.links = Links()
        self.reported: list[Any] = []
        self.heard: list[tuple[Seat, int, Any]] = []
        self.workers = Workers(self.links, self, self.reported.append, "life")  # type: ignore[arg-type]

    def worker_up(self, seat: Seat, generation: int, hello: m.Hello) -> None:
        self.heard.append((seat, generation, hello))

    def worker_said(self, seat: Seat, generation: int, message: m.WorkerToRouter) -> None:
        self.heard.append((seat, generation, message))

    def says(self, message: Any, generation: int = 1, agent: str = "main", place: str = HOST) -> None:
        data = message if isinstance(message, bytes) else encode(message)
        self.links.receivers[f"{agent}@{place}"](generation, data)

    def start(self, generation: int = 1, agent: str = "main", place: str = HOST) -> None:
        self.workers.expect(link(agent, place=place), generation)
        self.links.sockets[f"{agent}@{place}"].connected.add(generation)

    def greeted(self, generation: int = 1) -> None:
        self.start(generation)
        self.says(m.Hello(version=m.PROTOCOL_VERSION, generation=generation), generation)


def link(agent: str, socket: str = "/x", place: str = HOST) -> AgentLink:
    return AgentLink(agent=agent, place=place, socket=socket, router_secret="s", router_public="p", worker_public="w")


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_hello_is_answered_and_reported_once(stage: Stage) -> None:
    stage.greeted()
    assert stage.links.sockets["main@host"].sent == [(1, m.Welcome(version=m.PROTOCOL_VERSION, router="life"))]
    assert stage.reported == [m.WorkerReady(agent="main", generation=1)]
    stage.says(m.Hello(version=m.PROTOCOL_VERSION, generation=1))
    assert stage.reported == [m.WorkerReady(agent="main", generation=1)], "a reconnection is not a new worker"


def test_a_generation_that_was_not_started_is_not_heard(stage: Stage) -> None:
    stage.start()
    stage.says(m.Hello(version=m.PROTOCOL_VERSION, generation=9), generation=9)
    assert (stage.heard, stage.reported) == ([], [])


@pytest.mark.parametrize(
    "message",
    [
        m.Say(id="1", seq=0, text="early"),
        m.Hello(version=m.PROTOCOL_VERSION + 1, generation=1),
        m.Hello(version=m.PROTOCOL_VERSION, generation=2),
        m.Welcome(version=1, router="i am the router"),
        b"{",
        b'{"type":"Say","id":"1","seq":0,"text":"x","agent":"other"}',
    ],
    ids=["before Hello", "other version", "another generation's number", "a router's word", "malformed", "extra field"],
)
def test_a_violation_ends_the_generation_with_a_name_for_it(stage: Stage, message: Any) -> None:
    stage.start()
    stage.says(message)
    [report] = stage.reported
    assert isinstance(report, m.WorkerMisbehaved)
    assert (report.agent, report.generation) == ("main", 1)
    stage.says(m.Hello(version=m.PROTOCOL_VERSION, generation=1))
    assert len(stage.reported) == 1 and stage.heard == [], "it is refused from then on"


def test_an_agents_words_come_from_its_own_socket_only(stage: Stage) -> None:
    stage.greeted()
    stage.start(agent="other")
    stage.says(m.Hello(version=m.PROTOCOL_VERSION, generation=1), agent="other")
    stage.says(m.Done(id="1", outcome="answered"), agent="other")
    assert [(seat.agent, type(message).__name__) for seat, _, message in stage.heard] == [
        ("main", "Hello"),
        ("other", "Hello"),
        ("other", "Done"),
    ]


def test_three_unanswered_pings_are_silence_and_an_answer_ends_it(stage: Stage) -> None:
    stage.greeted()
    stage.reported.clear()
    for _ in range(UNANSWERED_PINGS):
        stage.workers.heartbeat()
    assert stage.reported == []
    stage.workers.heartbeat()
    stage.workers.heartbeat()
    assert stage.reported == [m.WorkerSilent(agent="main", generation=1)], "said once"
    stage.says(m.Pong(n=1))
    stage.workers.heartbeat()
    assert len(stage.reported) == 1


def test_a_worker_that_was_not_greeted_is_not_pinged(stage: Stage) -> None:
    stage.start()
    stage.workers.heartbeat()
    assert stage.links.sockets["main@host"].sent == []


def test_a_send_to_nobody_says_so(stage: Stage) -> None:
    assert not stage.workers.send(Seat("main"), 1, m.Drain())
    assert not stage.workers.send(Seat("unknown"), 1, m.Drain())


def test_links_of_agents_that_are_gone_are_closed_and_no_others(stage: Stage) -> None:
    stage.start()
    stage.start(agent="other")
    stage.workers.keep({"main"})
    sockets = stage.links.sockets
    assert (sockets["main@host"].closed, sockets["other@host"].closed) == (False, True)


def test_a_sandboxed_worker_cannot_speak_as_the_one_on_the_host(stage: Stage) -> None:
    stage.greeted()
    stage.start(place="box")
    stage.says(m.Hello(version=m.PROTOCOL_VERSION, generation=1), place="box")
    stage.says(m.Done(id="1", outcome="answered"), place="box")
    assert [seat.place for seat, _, _ in stage.heard] == [HOST, "box", "box"]
    assert set(stage.links.sockets) == {"main@host", "main@box"}, "each has a link of its own"


def test_the_link_of_a_session_goes_with_its_last_generation(stage: Stage) -> None:
    stage.start(1, place="box")
    stage.start(2, place="box")
    stage.workers.forget(Seat("main", "box"), 1, close=True)
    assert not stage.links.sockets["main@box"].closed
    stage.workers.forget(Seat("main", "box"), 2, close=True)
    assert stage.links.sockets["main@box"].closed


def test_a_link_with_other_keys_is_bound_anew(stage: Stage) -> None:
    stage.start()
    old = stage.links.sockets["main@host"]
    stage.workers.expect(link("main", socket="/y"), 2)
    assert old.closed and not stage.links.sockets["main@host"].closed


def test_a_worker_that_sends_more_than_can_be_read_is_replaced(stage: Stage) -> None:
    stage.greeted()
    stage.reported.clear()
    long = encode(m.Say(id="1", seq=0, text="x" * 1_000_000))
    for _ in range(200):
        stage.says(long)
    assert [one.reason for one in stage.reported] == ["it sends more than anybody could read"]
    assert len(stage.heard) < 100
