"""`python -m worker.seed DIR`: the first files of a workspace, for commands that add an agent before it ever runs."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from worker.workspace import prepare


def main(arguments: list[str]) -> int:
    """Write what is missing in DIR; the exit code tells whether the folder could be used."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m worker.seed DIR\n")
        return 1
    try:
        prepare(Path(arguments[0]), skip_bootstrap=False, now=time.time())
    except OSError as error:
        sys.stderr.write(f"{arguments[0]}: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
