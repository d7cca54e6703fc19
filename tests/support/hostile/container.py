"""The first process of a container, whose mallories are hostile. An entry point ends with the product's own module:
`… -m tests.support.hostile.container worker.container`, so that the supervisor takes the image for a sandbox's.
"""

from __future__ import annotations

import sys

from tests.support.hostile import worker
from worker import boot, container

if __name__ == "__main__":
    boot.serve = worker.serve
    sys.exit(container.main())
