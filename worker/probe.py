"""Attacks from inside (`openclaw doctor --isolation`): what a hostile worker would try, really tried.

The names and what must hold where: `protocol.isolation`; how each is done: `worker.attacks`. Each runs in a forked
child of its own with a time limit, so that nothing it does to itself stays. It can only be wrong towards "not held":
an attack that does not know, dies or is late counts as one that worked.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import time
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from protocol.messages import Finding, ProbeTarget
from protocol.slices import WorkerSlice
from worker.attacks import files, leftovers, peers, processes, rights
from worker.attacks.base import Outcome, Try, fell, judged

TRIES: Mapping[str, Try] = {**files.TRIES, **peers.TRIES, **processes.TRIES, **rights.TRIES, **leftovers.TRIES}

#: Seconds for one attack; those on the network wait for one at most.
PATIENCE = 4.0
#: Most targets of one order, and characters of a detail: the answer must fit into one message.
MAX_TARGETS = 500
_MAX_DETAIL = 300
_SILENT = fell("cannot tell: the attack ended without an answer")


def run(targets: tuple[ProbeTarget, ...], settings: WorkerSlice | None = None) -> tuple[Finding, ...]:
    """One finding for each target, in their order. Takes milliseconds each, seconds at worst; never raises.

    `settings` are the worker's own: some attacks are on its own workspace and proxy and need no argument then.
    """
    return tuple(_finding(target, settings) for target in targets[:MAX_TARGETS])


def _finding(target: ProbeTarget, settings: WorkerSlice | None) -> Finding:
    attack = TRIES.get(target.what)
    if attack is None:
        outcome = fell("this worker does not know this attack")
    else:
        outcome = _apart(attack, target.on, settings)
        if outcome == _SILENT:
            # The worker ends the orphans of its commands, and may have taken the child for one.
            outcome = _apart(attack, target.on, settings)
    return Finding(what=target.what, on=target.on, held=outcome.held, detail=outcome.detail[:_MAX_DETAIL])


def _apart(attack: Try, on: str, settings: WorkerSlice | None) -> Outcome:
    try:
        read_end, write_end = os.pipe()
    except OSError as error:
        return fell(f"cannot tell: {error.strerror}")
    try:
        pid = os.fork()
    except OSError as error:
        os.close(read_end)
        os.close(write_end)
        return fell(f"cannot tell: {error.strerror}")
    if pid == 0:
        _child(write_end, attack, on, settings)
    os.close(write_end)
    try:
        return _answer(read_end)
    finally:
        os.close(read_end)
        _end(pid)


def _child(write_end: int, attack: Try, on: str, settings: WorkerSlice | None) -> None:
    """Never returns."""
    try:
        # The parent's event loop must not hear of our signals.
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGALRM, signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(int(PATIENCE) + 1)
        gc.disable()
        os.write(write_end, msgspec.json.encode(_tried(attack, on, settings)))
    finally:
        os._exit(0)


def _tried(attack: Try, on: str, settings: WorkerSlice | None) -> Outcome:
    try:
        found = attack(on, settings)
    except OSError as error:
        found = judged(error)
    except Exception as error:
        found = fell(f"cannot tell: {type(error).__name__}: {error}")
    return Outcome(found.held, found.detail[:_MAX_DETAIL])


def _answer(read_end: int) -> Outcome:
    waiter = select.poll()
    waiter.register(read_end, select.POLLIN)
    until = time.monotonic() + PATIENCE
    data = b""
    while (left := until - time.monotonic()) > 0 and waiter.poll(left * 1000):
        piece = os.read(read_end, 65536)
        if not piece:
            break
        data += piece
    else:
        return fell(f"cannot tell: no answer within {PATIENCE:g} seconds")
    try:
        return msgspec.json.decode(data, type=Outcome)
    except msgspec.DecodeError:
        return _SILENT


def _end(pid: int) -> None:
    """Whoever looks after orphans in this worker may have been faster."""
    with suppress(ProcessLookupError, ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0] == 0:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
