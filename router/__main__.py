"""`python -m router --pipe FD`: the process that owns the chat connections.

The same steps in the same order as every process of ours: name, parent, logging, boot settings, run, exit code.
Exit codes: 0 stopped by the supervisor, 1 the operator's doing (port in use), 2 our fault, 78 bad boot.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys

from protocol import messages as m
from protocol.errors import ProtocolViolation, Temporary, UserError
from protocol.log import setup
from protocol.pipe import Pipe, PipeClosed
from protocol.process import die_with_parent, dump_stacks_on_signal, set_title
from router.service import Router, parent_of, raise_descriptor_limit

log = logging.getLogger("router")

EX_CONFIG = 78


async def serve(fd: int) -> int:
    """Take the boot message, run the router."""
    pipe = Pipe(socket.socket(fileno=fd), m.supervisor_to_router)
    try:
        boot, _ = await pipe.receive()
        if not isinstance(boot, m.RouterBoot) or boot.version != m.PROTOCOL_VERSION:
            log.critical("the supervisor's first word was not a RouterBoot of version %d", m.PROTOCOL_VERSION)
            return EX_CONFIG
        setup("router", boot.slice.log_level)
        return await Router(pipe, boot).run()
    except (UserError, Temporary) as error:
        hint = f" hint: {error.hint}" if isinstance(error, UserError) and error.hint else ""
        log.critical("%s%s", error, hint)
        return 1
    except ProtocolViolation as error:
        log.critical("the supervisor's message is not understood: %s", error)
        return EX_CONFIG
    except PipeClosed:
        return 0
    finally:
        pipe.close()


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m router", description=__doc__.splitlines()[0])
    arguments.add_argument("--pipe", type=int, required=True, help="descriptor of the supervisor's pipe")
    fd: int = arguments.parse_args().pipe
    set_title("openclaw: router")
    os.umask(0o077)
    die_with_parent(parent_of(fd))
    dump_stacks_on_signal()
    setup("router")
    # The supervisor tells us when to stop; a terminal's ^C reaches the whole group and must not come first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise_descriptor_limit()
    return asyncio.run(serve(fd))


if __name__ == "__main__":
    sys.exit(main())
