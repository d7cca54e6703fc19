"""Tiny children, one per way of failing: `python -m tests.support.peers <role> <behaviour> --pipe FD`.

Roles are router, cliproxy and zygote; behaviours are named after what they do wrong. `obeys` does everything right.
A router peer stands in for the real one towards the supervisor only: it says what workers would have told it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

from protocol.process import dump_stacks_on_signal
from tests.support import zygote


def main() -> None:
    role, behaviour, _, fd = sys.argv[1:5]
    dump_stacks_on_signal()
    pipe = socket.socket(fileno=int(fd))
    if fail_early(behaviour):
        return
    if role == "zygote":
        zygote.serve(pipe, behaviour)


def fail_early(behaviour: str) -> bool:
    match behaviour:
        case "exits-at-once":
            os._exit(3)
        case "exits-78-at-once":
            os._exit(78)
        case "never-ready":
            signal.pause()
    return False


if __name__ == "__main__":
    main()
