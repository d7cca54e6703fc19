"""`python -m tests.support.hostile.gateway gateway run …`: the command line, with the hostile zygote of this package.

It waits for running work for a moment only, so that tests of workers that never end do not wait for them either.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from supervisor import service
from supervisor.children import default_commands
from supervisor.cli.main import main

#: Seconds that running work may take to finish.
GRACE = 2.0

_run = service.run_gateway


def run_gateway(paths: Any, options: Any, environ: Any) -> int:
    """The product's own, but for the zygote and the grace."""
    zygote = (sys.executable, "-P", "-m", "tests.support.hostile.zygote")
    options = msgspec.structs.replace(options, grace=GRACE)
    return _run(paths, options, environ, commands={**default_commands(), "zygote": zygote})


if __name__ == "__main__":
    service.run_gateway = run_gateway  # type: ignore[assignment]
    sys.exit(main())
