"""`python -m supervisor`: the gateway in the foreground, without the command line around it.

Settings come from the environment and the configuration. Exit codes: 0 stopped, 1 the operator's input, 2 our fault,
78 not configured.
"""

from __future__ import annotations

import os
import sys
import traceback

from protocol.errors import OpenClawError, UserError
from protocol.paths import Paths
from supervisor.service import RunOptions, run_gateway


def main() -> int:
    try:
        return run_gateway(Paths.from_environ(os.environ), RunOptions(), os.environ)
    except UserError as error:
        place = f"{error.where}: " if error.where else ""
        hint = f"\nhint: {error.hint}" if error.hint else ""
        sys.stderr.write(f"error: {place}{error.message}{hint}\n")
        return error.exit_code
    except OpenClawError as error:
        sys.stderr.write(f"error: {error}\nhint: openclaw logs\n")
        return 2
    except Exception:
        traceback.print_exc()
        return 2


if __name__ == "__main__":
    sys.exit(main())
