"""The last configuration that was accepted, kept beside the file, and put back when the file is ruined (SPEC 1.6).

Ruined means that nothing of it can be read: not text, or not JSON5 at all (a full disk, a crash of an editor). A file
with a mistake in it is never replaced: its owner is told what is wrong. What is put back is said loudly, and the file
that was there is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from protocol.errors import UserError
from protocol.paths import Paths
from supervisor.config.load import evaluate
from supervisor.config.parse import parse, read_bytes, read_text
from supervisor.config.problems import ConfigInvalid
from supervisor.config.redact import REDACTED
from supervisor.config.write import write_atomically

#: What stands where a secret was hidden; a file with one of these is no copy to come back to.
_PLACEHOLDERS = (REDACTED, '"***"', "'***'")


def copy_of(config: Path) -> Path:
    return config.with_name(config.name + ".last-good")


def keep(config: Path, text: str | None) -> None:
    """Keep an accepted text. Raises UserError when it cannot be written."""
    copy = copy_of(config)
    if text is None or any(word in text for word in _PLACEHOLDERS) or _read(copy) == text.encode():
        return
    write_atomically(copy, text.encode())


def recover(paths: Paths, environ: Mapping[str, str], now: datetime) -> str:
    """Put the last good configuration in the place of a ruined one; returns what to tell people, empty when nothing
    was done. For the holder of the gateway's lock. Raises UserError when it cannot be written."""
    config, copy = paths.config, copy_of(paths.config)
    why, good = ruin(config), _read(copy)
    if not why or good is None or config.is_symlink() or not _usable(copy, paths, environ):
        return ""
    kept = config.with_name(f"{config.name}.clobbered.{now:%Y%m%dT%H%M%S}")
    write_atomically(kept, _read(config) or b"")
    write_atomically(config, good)
    return f"{config} was ruined ({why}): the last good copy was put back, the ruined file is kept as {kept}"


def ruin(config: Path) -> str:
    """Why nothing of the file can be read, empty when something can."""
    try:
        text = read_text(config)
        value = parse(text, config) if text is not None else {}
    except ConfigInvalid as error:
        return error.problems[0].message
    except UserError as error:
        return error.message if "UTF-8" in error.message else ""
    return "" if isinstance(value, dict) else "it holds no object"


def _usable(copy: Path, paths: Paths, environ: Mapping[str, str]) -> bool:
    try:
        evaluate(parse(read_text(copy) or "", copy), paths, environ)
    except UserError:
        return False
    return True


def _read(file: Path) -> bytes | None:
    try:
        return read_bytes(file)
    except OSError:
        return None
