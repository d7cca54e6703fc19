"""Frames, descriptors and ends of a pipe between the supervisor and a child."""

from __future__ import annotations

import os
import socket

import pytest

from protocol import messages as m
from protocol.errors import ProtocolViolation
from protocol.pipe import FrameReader, Pipe, PipeClosed, make_pair, receive_blocking, send_blocking


async def test_messages_arrive_whole_and_in_order_even_when_larger_than_the_socket_buffer() -> None:
    ours, theirs = make_pair()
    sender, receiver = Pipe(ours, m.router_to_supervisor), Pipe(theirs, m.supervisor_to_router)
    reasons = ["x" * size for size in (1, 700_000, 3)]
    for reason in reasons:
        sender.send(m.AgentTrouble(agent="main", reason=reason, retry_at=1.0))
    got = [(await receiver.receive())[0] for _ in reasons]
    assert [message.reason for message in got if isinstance(message, m.AgentTrouble)] == reasons
    await sender.flush()
    sender.close()
    receiver.close()


async def test_a_descriptor_travels_with_its_message_and_with_no_other() -> None:
    ours, theirs = make_pair()
    sender, receiver = Pipe(ours, m.router_to_supervisor), Pipe(theirs, m.supervisor_to_router)
    read, write = os.pipe()
    sender.send(m.RouterStop(grace=1.0))
    sender.send(m.OperatorHandover(), fds=[write])
    sender.send(m.RouterStop(grace=2.0))
    os.close(write)
    (_, none), (_, fds), (_, also_none) = [await receiver.receive() for _ in range(3)]
    assert (none, also_none) == ([], [])
    os.write(fds[0], b"ok")
    os.close(fds[0])
    assert os.read(read, 10) == b"ok"
    os.close(read)
    sender.close()
    receiver.close()


async def test_the_end_of_the_other_side_is_an_error_that_stays() -> None:
    ours, theirs = make_pair()
    pipe = Pipe(ours, m.router_to_supervisor)
    theirs.close()
    for _ in range(2):
        with pytest.raises(PipeClosed):
            await pipe.receive()
    pipe.close()


async def test_an_unknown_message_is_a_violation_and_not_ignored() -> None:
    ours, theirs = make_pair()
    pipe = Pipe(ours, m.router_to_supervisor)
    send_blocking(theirs, m.RouterStop(grace=1.0))
    with pytest.raises(ProtocolViolation, match="RouterStop"):
        await pipe.receive()
    pipe.close()
    theirs.close()


def test_an_oversized_frame_is_refused_by_its_header() -> None:
    ours, theirs = make_pair()
    reader: FrameReader[m.SupervisorToRouter] = FrameReader(m.supervisor_to_router)
    ours.sendall(b"\xff\xff\xff\xff\x00")
    with pytest.raises(ProtocolViolation, match="frame of"):
        receive_blocking(theirs, reader)
    ours.close()
    theirs.close()


def test_a_closed_peer_is_told_from_a_silent_one() -> None:
    ours, theirs = make_pair()
    ours.shutdown(socket.SHUT_RDWR)
    with pytest.raises(PipeClosed):
        receive_blocking(theirs, FrameReader(m.supervisor_to_router))
    ours.close()
    theirs.close()
