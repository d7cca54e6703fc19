"""Attacks on files: other agents' ones, and the walls of the file tools."""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from protocol.slices import WorkerSlice
from worker.attacks.base import Outcome, Try, call, fell, held, libc, nonce, scratch
from worker.tools.access import FileAccess
from worker.tools.base import ToolError

_MS_BIND, _MNT_DETACH = 4096, 2
_SECRET = "outside"
#: Seconds for which links are swapped under the file tools.
_RACE = 0.15


def read_file(on: str, settings: WorkerSlice | None) -> Outcome:
    fd = os.open(on, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    return fell(f"opened, {os.fstat(fd).st_size} bytes")


def list_dir(on: str, settings: WorkerSlice | None) -> Outcome:
    names = os.listdir(on)
    return fell(f"{len(names)} names") if names else held("nothing in it to be seen")


def write_file(on: str, settings: WorkerSlice | None) -> Outcome:
    path = os.path.join(on, nonce())
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.close(fd)
    os.unlink(path)
    return fell("made a file and took it away again")


def mknod(on: str, settings: WorkerSlice | None) -> Outcome:
    path = os.path.join(scratch(settings), nonce())
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.unlink(path)
    return fell("made a device and took it away again")


def chroot(on: str, settings: WorkerSlice | None) -> Outcome:
    os.chroot("/")
    return fell("chroot worked")


def mount(on: str, settings: WorkerSlice | None) -> Outcome:
    """A folder over itself: even where it works, nobody sees a difference for that moment."""
    folder = scratch(settings).encode()
    call(libc.mount(folder, folder, None, _MS_BIND, None))
    libc.umount2(folder, _MNT_DETACH)
    return fell("mounted, and unmounted again")


def workspace_escape(on: str, settings: WorkerSlice | None) -> Outcome:
    """The worker's own file tools against a folder full of ways out, and against links swapped meanwhile."""
    folder = Path(on or scratch(settings)) / nonce()
    try:
        inside = _trap(folder)
        ways = [way for way in _ways_out(folder) if _leads_out(inside, folder, way)]
        if not ways and _race(inside, folder):
            ways = ["a link swapped during the call"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return fell(f"outside by {ways[0]}") if ways else held("no link, path or swap leads out")


def _trap(folder: Path) -> Path:
    inside, outside = folder / "in", folder / "out"
    for made in (folder, inside, outside, inside / "real"):
        made.mkdir(mode=0o700)
    (outside / "file").write_text(_SECRET)
    (inside / "real/file").write_text("inside")
    (inside / "relative").symlink_to("../out/file")
    (inside / "absolute").symlink_to(outside / "file")
    (inside / "folder").symlink_to("../out")
    (inside / "root").symlink_to("/proc/self/root")
    (inside / "evil").symlink_to("../out")
    return inside


def _ways_out(folder: Path) -> Iterator[str]:
    yield from ("relative", "absolute", "folder/file", "../out/file", "real/../../out/file", f"root{folder}/out/file")
    yield from (f"{folder}/out/file", f"{folder}/in/../out/file", f"/proc/self/root{folder}/out/file")


def _leads_out(inside: Path, folder: Path, way: str) -> bool:
    access = FileAccess(inside, workspace_only=True)
    if _read(access, way) == _SECRET:
        return True
    with suppress(ToolError):
        opened, name = access.open_folder(way)
        return Path(os.readlink(f"/proc/self/fd/{opened}"), name).is_relative_to(folder / "out")
    return False


def _read(access: FileAccess, way: str) -> str:
    try:
        with os.fdopen(access.open_read(way)) as file:
            return file.read()
    except ToolError:
        return ""


def _race(inside: Path, folder: Path) -> bool:
    until = time.monotonic() + _RACE
    thread = threading.Thread(target=_swap, args=(inside, until), daemon=True)
    thread.start()
    access = FileAccess(inside, workspace_only=True)
    while time.monotonic() < until:
        if _read(access, "real/file") == _SECRET:
            return True
    thread.join()
    return False


def _swap(inside: Path, until: float) -> None:
    while time.monotonic() < until:
        os.rename(inside / "real", inside / "kept")
        os.rename(inside / "evil", inside / "real")
        os.rename(inside / "real", inside / "evil")
        os.rename(inside / "kept", inside / "real")


TRIES: Mapping[str, Try] = {
    "read_file": read_file,
    "list_dir": list_dir,
    "write_file": write_file,
    "mknod": mknod,
    "chroot": chroot,
    "mount": mount,
    "workspace_escape": workspace_escape,
}
