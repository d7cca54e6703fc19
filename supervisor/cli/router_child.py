"""Asks the router's code a question about routes: a short-lived child, because here it is a command line only."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from protocol.codec import encode
from protocol.errors import OpenClawError, ProtocolViolation, UserError
from protocol.routes import Answer, Question, Refused, answers

COMMAND = (sys.executable, "-P", "-m", "router.routes")
#: Seconds for an answer about ten thousand bindings on a slow machine.
PATIENCE = 60.0
_PLAIN = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
_PACKAGES = str(Path(__file__).parents[2])


class NoAnswer(OpenClawError):
    """The child failed; its own words are in the text."""


def ask(question: Question, environ: Mapping[str, str], *, within: float = PATIENCE) -> Answer:
    """The answer. Raises UserError for a question that makes no sense, NoAnswer when it is our fault."""
    try:
        done = subprocess.run(
            COMMAND, input=encode(question), capture_output=True, env=_environment(environ), timeout=within, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"python -m router.routes had no answer within {within:g} seconds") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["nothing"]
        raise NoAnswer(f"python -m router.routes ended with {done.returncode} and said: {said[0][:300]}")
    return _read(done.stdout)


def _read(data: bytes) -> Answer:
    try:
        answer = answers.decode(data)
    except ProtocolViolation as error:
        raise NoAnswer(f"python -m router.routes: {error}") from None
    if isinstance(answer, Refused):
        raise UserError(answer.message, where=answer.where or None, hint=answer.hint or None)
    return answer


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """No keys and no tokens, and where our packages are."""
    visible = {name: environ[name] for name in _PLAIN if name in environ}
    if _PACKAGES not in (*site.getsitepackages(), site.getusersitepackages()):
        visible["PYTHONPATH"] = os.pathsep.join(filter(None, [_PACKAGES, visible.get("PYTHONPATH", "")]))
    return visible
