"""Short children: what belongs to the code of another kind of process is done by that code, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from protocol.errors import UserError

_PACKAGES = str(Path(__file__).parents[2])
_WITHIN = 30.0


def run_module(module: str, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run one of our modules to its end, with nothing of our environment but where it is. Raises UserError."""
    searched = os.pathsep.join(filter(None, [_PACKAGES, os.environ.get("PYTHONPATH", "")]))
    try:
        return subprocess.run(
            [sys.executable, "-P", "-m", module, *arguments],
            input=stdin,
            env={"PYTHONPATH": searched, "PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
            capture_output=True,
            timeout=_WITHIN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{module} could not be run: {type(error).__name__}", hint="openclaw doctor") from None
