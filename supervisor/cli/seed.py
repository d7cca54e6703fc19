"""The first files of a workspace (SPEC 5.1). Their texts are the worker's: a short child of its package writes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from protocol.errors import UserError

_PACKAGES = str(Path(__file__).parents[2])
_WITHIN = 30.0


def seed(workspace: Path) -> None:
    """Make the folder and the first files that it lacks; existing ones are never touched. Raises UserError."""
    searched = os.pathsep.join(filter(None, [_PACKAGES, os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-P", "-m", "worker.seed", str(workspace)]
    try:
        done = subprocess.run(
            command,
            env={"PYTHONPATH": searched, "PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=_WITHIN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"first files not written: {type(error).__name__}", where=str(workspace)) from None
    if done.returncode:
        text = (done.stderr.strip().splitlines() or ["no reason given"])[-1][:200]
        raise UserError(f"first files not written: {text}", where=str(workspace), hint=f"ls -ld {workspace}")
