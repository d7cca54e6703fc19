"""`python -m tests.fuzz [EXAMPLES]`: the same tests with new chances each time, 5,000 examples a test by default."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.fuzz.support import VARIABLE


def main() -> int:
    os.environ[VARIABLE] = sys.argv[1] if len(sys.argv) > 1 else "5000"
    return pytest.main(["-q", "--timeout=0", str(Path(__file__).parent)])


if __name__ == "__main__":
    sys.exit(main())
