"""`python -m router.cliproxy --pipe FD`: the process that holds the model keys.

The same steps in the same order as every process of ours: name, parent, logging, boot settings, run, exit code.
Exit codes: 0 stopped by the supervisor, 1 the operator's doing (the socket cannot be made), 78 bad boot.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import struct
import sys
from contextlib import suppress

import msgspec

from protocol import messages as m
from protocol.errors import ProtocolViolation
from protocol.log import setup
from protocol.pipe import Pipe, PipeClosed
from protocol.process import die_with_parent, dump_stacks_on_signal, set_title
from router.cliproxy.server import Proxy

log = logging.getLogger("cliproxy")

EX_CONFIG = 78


async def serve(pipe: Pipe[m.SupervisorToProxy]) -> int:
    """Take the boot message, serve until the supervisor says stop, or is gone, or SIGTERM comes."""
    try:
        boot, _ = await pipe.receive()
        if not isinstance(boot, m.ProxyBoot) or boot.version != m.PROTOCOL_VERSION:
            log.critical("the supervisor's first word was not a ProxyBoot of version %d", m.PROTOCOL_VERSION)
            return EX_CONFIG
        setup("cliproxy", boot.slice.log_level)
        return await _run(pipe, Proxy(boot.slice))
    except ProtocolViolation as error:
        log.critical("the supervisor's message is not understood: %s", error)
        return EX_CONFIG
    except PipeClosed:
        return 0
    except OSError as error:
        log.critical("the socket for workers cannot be made: %s", error)
        return 1


async def _run(pipe: Pipe[m.SupervisorToProxy], proxy: Proxy) -> int:
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    await proxy.start()
    grace = 0.0
    try:
        pipe.send(m.ProxyReady())
        grace = await _until_stopped(pipe, proxy, terminated)
    finally:
        await proxy.stop(grace)
    return 0


async def _until_stopped(pipe: Pipe[m.SupervisorToProxy], proxy: Proxy, terminated: asyncio.Event) -> float:
    """Follow the supervisor; the answer is how long running requests may still take, in seconds."""
    obeying = asyncio.ensure_future(_obey(pipe, proxy))
    ended = asyncio.ensure_future(terminated.wait())
    try:
        await asyncio.wait((obeying, ended), return_when=asyncio.FIRST_COMPLETED)
        return obeying.result() if obeying.done() else 0.0
    finally:
        for task in (obeying, ended):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await ended


async def _obey(pipe: Pipe[m.SupervisorToProxy], proxy: Proxy) -> float:
    """Raises PipeClosed when the supervisor is gone, ProtocolViolation when it is out of order."""
    while True:
        message, _ = await pipe.receive()
        match message:
            case m.ProxyUpdate(slice=settings):
                proxy.update(settings)
            case m.ProxyStatusQuery(request=number):
                text = msgspec.json.encode(proxy.status()).decode()
                pipe.send(m.ProxyStatus(request=number, text=text))
            case m.ProxyStop(grace=grace):
                return grace
            case _:
                raise ProtocolViolation(f"{type(message).__name__} after the boot")


async def _open(fd: int) -> int:
    pipe = Pipe(socket.socket(fileno=fd), m.supervisor_to_proxy)
    try:
        return await serve(pipe)
    finally:
        pipe.close()


def _maker_of(fd: int) -> int:
    """The pid that made the socketpair of this descriptor: our supervisor (SO_PEERCRED, unix(7))."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        return int(struct.unpack("iii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m router.cliproxy", description=__doc__.splitlines()[0])
    arguments.add_argument("--pipe", type=int, required=True, help="descriptor of the supervisor's pipe")
    fd: int = arguments.parse_args().pipe
    set_title("openclaw: cliproxy")
    os.umask(0o077)
    die_with_parent(_maker_of(fd))
    dump_stacks_on_signal()
    setup("cliproxy")
    # The supervisor tells us when to stop; a terminal's ^C reaches the whole group and must not come first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return asyncio.run(_open(fd))


if __name__ == "__main__":
    sys.exit(main())
