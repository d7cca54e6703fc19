"""The wire form of every message is fixed: a change of these bytes is a change of PROTOCOL_VERSION."""

from __future__ import annotations

import hashlib
import typing

import msgspec
import pytest

from protocol import control as c
from protocol import messages as m
from protocol.codec import encode
from protocol.envelope import Address, Inbound, Peer, Sender
from protocol.errors import ProtocolViolation

INBOUND = Inbound(
    channel="telegram",
    account="work",
    message_id="7:42",
    peer=Peer("direct", "7"),
    sender=Sender("7", "Ann", "ann"),
    text="hé",
    at=1.5,
    reply=Address("telegram", "work", "7"),
)

GOLDEN: list[tuple[object, bytes]] = [
    (m.Welcome(version=1, router="r"), b'{"type":"Welcome","version":1,"router":"r"}'),
    (
        m.Deliver(id="01", session_key="agent:main:main", message=INBOUND),
        '{"type":"Deliver","id":"01","session_key":"agent:main:main","message":{"channel":"telegram","account":"work",'
        '"message_id":"7:42","peer":{"kind":"direct","id":"7"},"sender":{"id":"7","name":"Ann","username":"ann"},'
        '"text":"hé","at":1.5,"reply":{"channel":"telegram","account":"work","target":"7","thread":null,'
        '"reply_to":null},"parent_peer":null,"guild_id":null,"team_id":null,"roles":[],"mentioned":null,"quote":null,'
        '"media":[],"subject":"","history":[],"command":"","relayed":null},'
        '"grant":{"owner":false,"elevated":"off","layers":[]}}'.encode(),
    ),
    (m.SayAck(id="01", seq=0), b'{"type":"SayAck","id":"01","seq":0}'),
    (m.DoneAck(id="01"), b'{"type":"DoneAck","id":"01"}'),
    (m.Cancel(id="01"), b'{"type":"Cancel","id":"01"}'),
    (m.Drain(), b'{"type":"Drain"}'),
    (m.Ping(n=3), b'{"type":"Ping","n":3}'),
    (
        m.Hello(version=1, generation=2, running=("01",), done=()),
        b'{"type":"Hello","version":1,"generation":2,"running":["01"],"done":[]}',
    ),
    (m.Accepted(id="01"), b'{"type":"Accepted","id":"01"}'),
    (m.Say(id="01", seq=0, text="a\n"), b'{"type":"Say","id":"01","seq":0,"text":"a\\n"}'),
    (
        m.Partial(id="01", seq=0, offset=4, text="b"),
        b'{"type":"Partial","id":"01","seq":0,"offset":4,"text":"b"}',
    ),
    (m.Done(id="01", outcome="silent"), b'{"type":"Done","id":"01","outcome":"silent","error":""}'),
    (m.Drained(), b'{"type":"Drained"}'),
    (m.Pong(n=3), b'{"type":"Pong","n":3}'),
]

#: Version, and digests of every field of every link message: between processes of one installation the version must
#: rise when old and new could misunderstand each other.
GOLDEN_SHAPES = (3, "dfcb02817041930d", "be9f4942ac3d19cb")


def shape(union: object) -> str:
    kinds = typing.get_args(union)
    text = "\n".join(
        f"{kind.__name__}({', '.join(f'{f.encode_name}:{f.type}' for f in msgspec.structs.fields(kind))})"
        for kind in kinds
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize(("message", "data"), GOLDEN, ids=lambda value: type(value).__name__)
def test_the_bytes_of_a_link_message_never_change_by_accident(message: object, data: bytes) -> None:
    assert encode(message) == data
    decoder = m.router_to_worker if isinstance(message, m.RouterToWorker) else m.worker_to_router
    assert decoder.decode(data) == message


def test_the_version_is_raised_when_the_shape_of_a_link_message_changes() -> None:
    assert (m.PROTOCOL_VERSION, shape(m.RouterToWorker), shape(m.WorkerToRouter)) == GOLDEN_SHAPES


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"type":"Nope"}',
        b'{"type":"Deliver"}',
        b'{"type":"Pong"}',
        b'{"type":"Pong","n":"1"}',
        b'{"type":"Pong","n":1,"extra":2}',
        b'{"type":"Say","id":"1","seq":0,"text":"\xff"}',
        b'{"type":"Pong","n":1e999}',
        b"[" * 100_000,
        b'{"type":"Say","id":"1","seq":0,"text":"' + b"x" * m.MAX_WORKER_MESSAGE + b'"}',
    ],
    ids=lambda data: repr(data[:30]),
)
def test_a_frame_that_is_not_exactly_a_workers_message_is_a_violation(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        m.worker_to_router.decode(data)


def test_a_worker_has_no_words_for_routing_or_other_agents() -> None:
    """What a hostile worker cannot say it cannot ask for: no field names an agent, an account or a target."""
    for kind in typing.get_args(m.WorkerToRouter):
        names = {field.encode_name for field in msgspec.structs.fields(kind)}
        assert not names & {"agent", "account", "target", "address", "tenant"}, kind


def test_control_messages_survive_the_round_trip() -> None:
    for decoder, message in [
        (c.to_supervisor, c.Restart(agents=("main",))),
        (c.to_router, c.Ask(agent="main", text="hi")),
        (c.from_router, c.Answered(texts=("a",), outcome="answered")),
        (c.from_supervisor, c.Failure(message="no", hint="type this")),
    ]:
        assert decoder.decode(encode(message)) == message
