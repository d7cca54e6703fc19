"""The first files of a workspace (SPEC 5.1). Their texts are the worker's: a short child of its package writes them."""

from __future__ import annotations

from pathlib import Path

from protocol.errors import UserError
from supervisor.cli.child import run_module


def seed(workspace: Path) -> None:
    """Make the folder and the first files that it lacks; existing ones are never touched. Raises UserError."""
    done = run_module("worker.seed", str(workspace))
    if done.returncode:
        text = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"])[-1][:200]
        raise UserError(f"first files not written: {text}", where=str(workspace), hint=f"ls -ld {workspace}")
