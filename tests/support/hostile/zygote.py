"""`python -m tests.support.hostile.zygote --pipe FD`: the zygote of the host, whose mallories are hostile."""

from __future__ import annotations

import sys

from tests.support.hostile import worker
from worker import boot, zygote

if __name__ == "__main__":
    boot.serve = worker.serve
    sys.exit(zygote.main())
