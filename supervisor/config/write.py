"""Changes the config file: one writer at a time, checked before it is committed, whole or not at all (SPEC 1.6).

Unlike the original, comments and layout survive (`edit`). Nothing is written when nothing changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

import msgspec

from protocol.errors import UserError
from protocol.paths import Paths
from supervisor.config.edit import rewrite, same
from supervisor.config.load import Loaded, evaluate
from supervisor.config.parse import parse, read_text
from supervisor.config.shape import listed, restored
from supervisor.config.version import VERSION

BACKUPS = 5
#: Seconds to wait for another command that is writing.
LOCK_TIMEOUT = 10.0

Mutate = Callable[[dict[str, Any]], dict[str, Any]]


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What a change did. `changed` is False when the file says it already; hashes are SHA-256, "" for no file."""

    path: Path
    changed: bool
    loaded: Loaded
    old_hash: str = ""
    new_hash: str = ""
    backup: Path | None = None


def change(
    paths: Paths,
    environ: Mapping[str, str],
    mutate: Mutate,
    *,
    command: str,
    dry_run: bool = False,
    as_written: bool = False,
) -> Written:
    """Apply `mutate` to the authored value and commit it.

    It is shown every agent in `agents.list`, also those of `agents.entries`, unless it wants the file `as_written`.
    A section that is exactly `{$include: "file"}` is shown with the content of that file and written there. `command`
    names the command for the audit line and holds no values. Raises UserError and ConfigInvalid; then nothing changed.
    """
    if not as_written:
        mutate = _on_the_list(mutate)
    plan = _plan(paths, environ, mutate)  # what cannot be done is told before anything is touched
    if dry_run or not plan.texts:
        return Written(path=paths.config, changed=bool(plan.texts), loaded=plan.loaded)
    _make_folder(paths.config.parent, paths)
    with _lock(paths.config):
        plan = _plan(paths, environ, mutate)  # on what the file says now that nobody else can change it
        if not plan.texts:
            return Written(path=paths.config, changed=False, loaded=plan.loaded)
        return _commit(paths, plan.texts, plan.loaded, command)


def _on_the_list(mutate: Mutate) -> Mutate:
    return lambda value: restored(mutate(listed(value)), value)


class _Plan(NamedTuple):
    """What the files will say, the main one last, for it is the commit; empty when nothing changes."""

    texts: dict[Path, str]
    loaded: Loaded


def _plan(paths: Paths, environ: Mapping[str, str], mutate: Mutate) -> _Plan:
    _refuse_link(paths.config)
    text = read_text(paths.config)
    authored = {} if text is None else _object(parse(text, paths.config), paths.config)
    included = _included_sections(authored, paths.config)
    before = authored | {key: value for key, (_, value) in included.items()}
    after = mutate(before)
    if same(before, after):
        return _Plan({}, evaluate(authored, paths, environ, exists=text is not None))
    changed = {file: key for key, (file, value) in included.items() if key in after and not same(value, after[key])}
    main = after | {key: authored[key] for key in included if key in after}
    _refuse_hidden(authored, main, paths.config)
    texts = {file: _rewritten(read_text(file), after[key]) for file, key in changed.items()}
    return _Plan({**texts, paths.config: _rewritten(text, _stamped(main))}, evaluate(after, paths, environ))


def _rewritten(text: str | None, value: Any) -> str:
    if text is None or not text.strip():
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return rewrite(text, value)


def _stamped(value: dict[str, Any]) -> dict[str, Any]:
    meta = value.get("meta")
    stamp = {"lastTouchedVersion": VERSION, "lastTouchedAt": _now().isoformat().replace("+00:00", "Z")}
    return {**value, "meta": {**(meta if isinstance(meta, dict) else {}), **stamp}}


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _included_sections(authored: Mapping[str, Any], config: Path) -> dict[str, tuple[Path, Any]]:
    """Top-level sections that live in a file of their own, with that file's content."""
    found = {}
    for key, value in authored.items():
        if isinstance(value, dict) and value.keys() == {"$include"} and isinstance(value["$include"], str):
            file = (config.parent / value["$include"]).resolve()
            text = read_text(file)
            if text is not None and file.is_relative_to(config.parent.resolve()):
                content = parse(text, file)
                if not _has_include(content):
                    found[key] = (file, content)
    return found


def _refuse_hidden(authored: Mapping[str, Any], main: Mapping[str, Any], config: Path) -> None:
    """A section mixed from includes cannot be edited: it is not clear where the change belongs."""
    for key in {*authored, *main}:
        old = authored.get(key)
        if not same(old, main.get(key)) and _has_include(old):
            message = f"{key} is put together from included files; edit them by hand"
            raise UserError(message, where=str(config), hint=f"openclaw config get {key}")
    if "$include" in authored and not same(authored, main):
        raise UserError("the whole file is an include; edit the included file by hand", where=str(config))


def _has_include(value: Any) -> bool:
    if isinstance(value, dict):
        return "$include" in value or any(map(_has_include, value.values()))
    return isinstance(value, list) and any(map(_has_include, value))


def _commit(paths: Paths, texts: Mapping[Path, str], loaded: Loaded, command: str) -> Written:
    config = paths.config
    old, new = _read(config), texts[config].encode()
    backups = {file: _rotate(file, data) for file in texts if (data := _read(file)) is not None}
    for file, text in texts.items():
        write_atomically(file, text.encode())
    written = Written(
        path=config,
        changed=True,
        loaded=loaded,
        old_hash=_hash(old),
        new_hash=_hash(new),
        backup=backups.get(config),
    )
    _audit(paths, written, old, new, command)
    return written


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _hash(data: bytes | None) -> str:
    return hashlib.sha256(data).hexdigest() if data is not None else ""


def _rotate(config: Path, old: bytes) -> Path:
    """`.bak` is the newest, `.bak.4` the oldest."""
    names = [config.with_name(config.name + ".bak")]
    names += [config.with_name(f"{config.name}.bak.{number}") for number in range(1, BACKUPS)]
    try:
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            if newer.exists():
                newer.replace(older)
    except OSError as error:
        raise UserError(f"cannot rotate backups: {error.strerror}", where=str(config.parent)) from None
    write_atomically(names[0], old)
    return names[0]


def write_atomically(file: Path, data: bytes) -> None:
    """Replace a file by a new one, mode 0600; a crash leaves the old or the new one, whole. Raises UserError."""
    part = file.with_name(f".{file.name}.{token_hex(4)}.tmp")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(descriptor)
            part.replace(file)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(file.parent)
    except OSError as error:
        raise UserError(f"cannot write: {error.strerror or error}", where=str(file)) from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _audit(paths: Paths, written: Written, old: bytes | None, new: bytes, command: str) -> None:
    """One line a write, without values: a config may hold secrets."""
    entry = {
        "ts": datetime.now(UTC).isoformat(),
        "source": "config-io",
        "event": "config.write",
        "configPath": str(written.path),
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "cwd": str(Path.cwd()),
        "command": command,
        "existsBefore": old is not None,
        "previousHash": written.old_hash or None,
        "nextHash": written.new_hash,
        "previousBytes": len(old) if old is not None else None,
        "nextBytes": len(new),
        "gatewayModeAfter": written.loaded.config.gateway.mode,
        "result": "rename",
    }
    _make_folder(paths.logs, paths)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(paths.logs / "config-audit.jsonl", flags, 0o600)
        with open(descriptor, "ab") as opened:
            opened.write(json.dumps(entry).encode() + b"\n")
    except OSError as error:
        raise UserError(f"cannot write: {error.strerror}", where=str(paths.logs / "config-audit.jsonl")) from None


def _make_folder(folder: Path, paths: Paths) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        hint = "export OPENCLAW_STATE_DIR=~/.openclaw" if folder.is_relative_to(paths.state) else None
        raise UserError(f"cannot make the folder: {error.strerror}", where=str(folder), hint=hint) from None


def _refuse_link(file: Path) -> None:
    if file.is_symlink():
        hint = f"export OPENCLAW_CONFIG_PATH={file.resolve()}"
        raise UserError("the config file is a symbolic link and is not written through", where=str(file), hint=hint)


def _object(value: Any, file: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError("the config is not an object", where=str(file))
    return value


@contextmanager
def _lock(config: Path) -> Iterator[None]:
    """Held while the file is read, changed and replaced, so that two commands cannot lose each other's change."""
    file = config.with_name(f".{config.name}.lock")
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UserError(f"cannot write: {error.strerror}", where=str(config.parent)) from None
    try:
        _wait_for(descriptor, config)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, config: Path) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise UserError("another command is changing the config", where=str(config)) from None
            time.sleep(0.02)
