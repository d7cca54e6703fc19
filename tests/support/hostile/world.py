"""What an attack has, and what it gives back."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from protocol import messages as m
from tests.support.hostile.line import Line

#: Agents whose workers are hostile.
HOSTILE = "mallory"


class World:
    """The settings and the link of a hostile worker, the message an attack is done for, and the order in it."""

    def __init__(self, boot: m.WorkerBoot) -> None:
        self.settings = boot.slice
        self.generation = boot.generation
        self.line = Line(boot.slice, str(boot.generation))
        self.turn = ""
        self.order: dict[str, Any] = {}

    def hear(self, wanted: Callable[[Any], bool], seconds: float = 5.0) -> Any:
        """The next such message; None when none comes in time. Others are passed over."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if wanted(heard := self.line.hear(left)):
                return heard
        return None

    def log(self, text: str) -> None:
        """A line in the gateway's log, as far as it lets us."""
        print(json.dumps({"level": "warn", "message": text[:2000]}), file=sys.stderr, flush=True)


#: Attempt -> what came of it; what succeeded begins with DONE.
Report = dict[str, str]
Attack = Callable[[World], Report]
