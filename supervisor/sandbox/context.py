"""What the worker's image is built from: a tar archive of the installed `protocol` and `worker`, and of the Dockerfile.

It is cut from the installed packages, so that it is there however the product was installed, and an image always holds
the very code that the supervisor speaks with. The same sources give the same archive, byte by byte.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from protocol.errors import UserError

DOCKERFILE = "supervisor/sandbox/image/Dockerfile"
_PACKAGES = ("protocol", "worker")
_IMAGE = "supervisor/sandbox/image"
#: What `COPY wheel[s]` of the Dockerfile takes.
_WHEELS = "wheels"


def archive(wheels: Path | None = None) -> bytes:
    """A build context for the target `worker`. Raises UserError for a folder without wheels."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in sorted([*sources(), *_wheels(wheels)]):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def digest() -> str:
    """Of the sources that go into an image: 64 hexadecimal digits. An image with another one is stale."""
    found = hashlib.sha256()
    for name, data in sorted(sources()):
        found.update(f"{name}\0{len(data)}\0".encode() + data)
    return found.hexdigest()


def sources() -> Iterator[tuple[str, bytes]]:
    """Name in the context and content of each file of ours."""
    for package in _PACKAGES:
        yield from _files(resources.files(package), package)
    yield from _files(resources.files("supervisor.sandbox") / "image", _IMAGE)


def _files(folder: Traversable, name: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        inside = f"{name}/{entry.name}"
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _files(entry, inside)
        elif not entry.name.endswith(".pyc"):
            yield inside, entry.read_bytes()


def _wheels(folder: Path | None) -> Iterator[tuple[str, bytes]]:
    if folder is None:
        return
    found = sorted(folder.glob("*.whl"))
    if not any(path.name.startswith("pip-") for path in found):
        raise UserError(
            "a folder of wheels must hold pip and everything that the image installs",
            where=str(folder),
            hint=f"python3 -m pip download --dest {folder} --only-binary :all: pip -r requirements.txt",
        )
    for path in found:
        yield f"{_WHEELS}/{path.name}", path.read_bytes()
