"""For all tests: property tests try the same examples every time, so that a red run is red for everybody.

New examples are sought by `python -m tests.fuzz` and by `HYPOTHESIS_PROFILE=search`.
"""

from __future__ import annotations

import os

from hypothesis import settings

pytest_plugins = ["tests.support.docker_fixtures"]

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
