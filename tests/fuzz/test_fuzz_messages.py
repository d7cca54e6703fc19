"""What one process sends another: whole, cut, spoilt. A violation is an error with words, never anything else."""

from __future__ import annotations

import array
import os
import socket
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import control, messages, routes
from protocol.codec import MAX_MESSAGE, Decoder, encode
from protocol.errors import ProtocolViolation
from protocol.pipe import MAX_FDS, FrameReader
from tests.fuzz.making import JSON, cut, encoded, of, spoilt
from tests.fuzz.support import fuzz, peak, within

#: Every union that is read by some process.
UNIONS: dict[str, tuple[Decoder[Any], Any]] = {
    "router to worker": (messages.router_to_worker, messages.RouterToWorker),
    "worker to router": (messages.worker_to_router, messages.WorkerToRouter),
    "supervisor to router": (messages.supervisor_to_router, messages.SupervisorToRouter),
    "router to supervisor": (messages.router_to_supervisor, messages.RouterToSupervisor),
    "supervisor to proxy": (messages.supervisor_to_proxy, messages.SupervisorToProxy),
    "proxy to supervisor": (messages.proxy_to_supervisor, messages.ProxyToSupervisor),
    "supervisor to zygote": (messages.supervisor_to_zygote, messages.SupervisorToZygote),
    "zygote to supervisor": (messages.zygote_to_supervisor, messages.ZygoteToSupervisor),
    "supervisor to worker": (messages.supervisor_to_worker, messages.SupervisorToWorker),
    "operator to supervisor": (control.to_supervisor, control.ToSupervisor),
    "supervisor to operator": (control.from_supervisor, control.FromSupervisor),
    "operator to router": (control.to_router, control.ToRouter),
    "router to operator": (control.from_router, control.FromRouter),
    "routes question": (routes.questions, routes.Question),
    "routes answer": (routes.answers, routes.Answer),
}
NOISE = st.binary(max_size=200) | encoded(JSON)


def decoded(decoder: Decoder[Any], data: bytes) -> Any:
    """The message, or None for a violation."""
    with within():
        try:
            return decoder.decode(data)
        except ProtocolViolation as violation:
            assert str(violation)
            return None


@pytest.mark.parametrize("name", UNIONS)
def test_whatever_is_read_is_written_and_read_again_the_same(name: str) -> None:
    """Spoilt messages of the right shape and bytes of none; most are refused, and what is not is a message."""
    decoder, union = UNIONS[name]
    good = of(union)

    @fuzz(40)
    @given(encoded(spoilt(good)) | cut(encoded(good)) | NOISE)
    def check(data: bytes) -> None:
        message = decoded(decoder, data)
        assert message is None or decoded(decoder, encode(message)) == message

    check()


@pytest.mark.parametrize("name", UNIONS)
def test_a_message_of_the_right_shape_is_taken(name: str) -> None:
    """Else the test above would only ever see refusals."""
    decoder, union = UNIONS[name]
    taken = []

    @fuzz(25)
    @given(encoded(of(union)))
    def check(data: bytes) -> None:
        taken.append(decoded(decoder, data) is not None)

    check()
    assert sum(taken) > len(taken) / 2


@pytest.mark.parametrize("name", UNIONS)
@pytest.mark.parametrize("piece", ["[", '{"a":', "[[],", '"\\', "1" * 5_000 + ",", "\xff"])
def test_an_endless_message_costs_no_more_than_it_weighs(name: str, piece: str) -> None:
    """Nesting, escapes, numbers: a megabyte of each is refused with a small multiple of it in memory."""
    data = piece.encode("latin-1") * (1_000_000 // len(piece))
    with within():
        assert peak(lambda: decoded(UNIONS[name][0], data)) < 8 * len(data)


def test_a_message_over_the_limit_is_not_even_looked_at() -> None:
    data = b"[" * (MAX_MESSAGE + 1)
    assert peak(lambda: decoded(messages.router_to_worker, data)) < 100_000


# --- frames ------------------------------------------------------------------------------------------------------


class Note(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    text: str


FRAMES = st.lists(st.tuples(st.text(max_size=30), st.integers(0, MAX_FDS)), max_size=4)


def drain(reader: FrameReader[Note]) -> list[tuple[Note, int]]:
    found = []
    while (one := reader.next()) is not None:
        found.append((one[0], len(one[1])))
        for fd in one[1]:
            os.close(fd)
    return found


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def send(sock: socket.socket, data: bytes, fds: list[int]) -> None:
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])


@fuzz(150)
@given(FRAMES, st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_frames_come_whole_however_they_are_cut(frames: list[tuple[str, int]], cuts: list[int]) -> None:
    """A frame's descriptors go with its first byte."""
    before = open_files()
    ours, theirs = socket.socketpair()
    reader, found = FrameReader(Decoder[Note](Note)), []
    with ours, theirs:
        for text, count in frames:
            data = len(encode(Note(text))).to_bytes(4, "big") + bytes([count]) + encode(Note(text))
            fds = [theirs.fileno()] * count
            for turn in range(len(data)):
                if not data:
                    break
                size = cuts[turn % len(cuts)]
                send(theirs, data[:size], fds)
                data, fds = data[size:], []
                reader.read(ours)
                found += drain(reader)
    assert found == [(Note(text), count) for text, count in frames]
    assert open_files() == before


@fuzz(200)
@given(st.lists(st.tuples(st.binary(min_size=1, max_size=60), st.integers(0, MAX_FDS)), max_size=5))
def test_no_bytes_and_no_descriptors_break_the_reader(pieces: list[tuple[bytes, int]]) -> None:
    """It ends in words, and no descriptor is left open."""
    before = open_files()
    ours, theirs = socket.socketpair()
    reader = FrameReader(Decoder[Note](Note))
    with ours, theirs, within():
        for data, count in pieces:
            send(theirs, data, [theirs.fileno()] * count)
            try:
                reader.read(ours)
                drain(reader)
            except ProtocolViolation:
                break
        reader.close()
    assert open_files() == before


def test_descriptors_without_a_frame_do_not_pile_up() -> None:
    """A hostile child sends them along with frames that name none."""
    before, data = open_files(), len(encode(Note("x"))).to_bytes(4, "big") + b"\0" + encode(Note("x"))
    ours, theirs = socket.socketpair()
    reader = FrameReader(Decoder[Note](Note))
    with ours, theirs:
        with pytest.raises(ProtocolViolation, match="without a frame"):
            for _ in range(10):
                send(theirs, data, [theirs.fileno()] * MAX_FDS)
                reader.read(ours)
                drain(reader)
        assert open_files() < before + 20
        reader.close()
    assert open_files() == before
