"""`openclaw logs`: the end of the log file, and what comes after it (SPEC 3.5)."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from protocol.errors import UserError
from supervisor.cli import client, context, output
from supervisor.cli.context import Context
from supervisor.cli.nouns import Json, noun
from supervisor.config.load import load

app = noun("Show the gateway's log.")
APPS = {"logs": app}

_BLOCK = 64 * 1024
#: A line longer than this is cut when it is shown.
_MAX_LINE = 16 * 1024
_MAX_BYTES = 64 * 1024 * 1024
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
Count = Annotated[int, typer.Option("--limit", "--lines", "-n", min=1, max=100_000, help="How many lines.")]


@app.command()
def logs(
    limit: Count = 200,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written; Ctrl-C ends it.")] = False,
    interval: Annotated[int, typer.Option("--interval", min=50, help="Milliseconds between looks.")] = 500,
    json: Json = False,
    plain: Annotated[bool, typer.Option("--plain", help="No colours (there are none in pipes anyway).")] = False,
) -> None:
    """Show the last lines of the log; works without a running gateway."""
    ctx = context.current()
    file = log_file(ctx)
    if not file.exists():
        raise UserError(f"no log file yet: {ctx.short(file)}", hint="openclaw gateway start")
    if not client.is_running(ctx.paths):
        output.say("Gateway not reachable; reading local log file.")
    lines, position = tail(file, limit)
    if json:
        output.data(msgspec.json.encode(_meta(file, position)).decode())
    else:
        output.data(f"Log file: {ctx.short(file)}")
    for line in lines:
        output.data(shown(line, json=json))
    try:
        for line in _following(file, position, interval / 1000) if follow else ():
            output.data(shown(line, json=json))
            sys.stdout.flush()
    except KeyboardInterrupt:
        return


def log_file(ctx: Context) -> Path:
    """`logging.file`, or the usual place; a configuration that cannot be read has the usual place."""
    try:
        configured = load(ctx.paths, ctx.environ).config.logging.file
    except UserError:
        configured = None
    return ctx.paths.expand(configured) if configured else ctx.paths.log_file


def tail(file: Path, count: int) -> tuple[list[bytes], int]:
    """The last whole lines and the position after them, read from the end. Raises UserError."""
    try:
        with file.open("rb") as opened:
            position = opened.seek(0, os.SEEK_END)
            end, data = position, b""
            while position > 0 and data.count(b"\n") <= count and len(data) < _MAX_BYTES:
                step = min(_BLOCK, position)
                position = opened.seek(position - step)
                data = opened.read(step) + data
    except OSError as error:
        raise UserError(f"cannot read: {error.strerror}", where=str(file)) from None
    whole, _, rest = data.rpartition(b"\n")
    return whole.split(b"\n")[-count:] if whole else [], end - len(rest)


def _following(file: Path, position: int, pause: float) -> Iterator[bytes]:
    """Lines as they are written; a file that was put aside is read to its end before the new one."""
    opened = file.open("rb")
    opened.seek(position)
    rest = b""
    try:
        while True:
            data = opened.read(_BLOCK)
            if data:
                *lines, rest = (rest + data).split(b"\n")
                yield from lines
            elif _replaced(file, opened.fileno()):
                opened.close()
                opened, rest = file.open("rb"), b""
            else:
                time.sleep(pause)
    finally:
        opened.close()


def _replaced(file: Path, descriptor: int) -> bool:
    try:
        now, mine = file.stat(), os.fstat(descriptor)
    except OSError:
        return False
    return (now.st_ino, now.st_dev) != (mine.st_ino, mine.st_dev) or now.st_size < mine.st_size


def parsed(line: bytes) -> dict[str, Any]:
    """One line as its fields; a line that is not ours is all message."""
    try:
        entry = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        return {"message": line[:_MAX_LINE].decode("utf-8", "replace")}
    return entry


def shown(line: bytes, *, json: bool) -> str:
    """A line for people, or for programs."""
    entry = parsed(line)
    known = {key: str(entry.get(key, "")) for key in ("time", "level", "subsystem", "message")}
    if json:
        raw = line[:_MAX_LINE].decode("utf-8", "replace")
        return msgspec.json.encode({"type": "log", **known, "raw": raw}).decode()
    extra = [f"{key}={value}" for key, value in entry.items() if key not in known and key != "error"]
    text = " ".join(filter(None, (known["time"], known["level"], known["subsystem"], known["message"], *extra)))
    return _ANSI.sub("", text)[:_MAX_LINE]


def _meta(file: Path, position: int) -> dict[str, Any]:
    return {"type": "meta", "file": str(file), "cursor": position, "size": file.stat().st_size}
