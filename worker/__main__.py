"""`python -m worker --boot FD`: one worker in an interpreter of its own, for containers and for a look by hand."""

from __future__ import annotations

import argparse
import os
import sys

from protocol.process import die_with_parent, set_title
from worker.boot import lock_down, settle, work


def main() -> int:
    """The same steps as a forked worker, without the fork. Logs go to standard error."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--boot", type=int, required=True, metavar="FD", help="inherited socket with the boot message")
    boot_fd = parser.parse_args().boot
    set_title("openclaw: worker")
    die_with_parent(os.getppid())
    boot_fd = settle(boot_fd, 2)
    lock_down()
    return work(boot_fd)


if __name__ == "__main__":
    sys.exit(main())
