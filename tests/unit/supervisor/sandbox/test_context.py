"""The build context holds the worker's side of the installed product, and nothing else."""

from __future__ import annotations

import ast
import io
import re
import sys
import tarfile
from importlib import resources
from pathlib import Path

import pytest

from protocol.errors import UserError
from supervisor.sandbox import context

ROOT = Path(__file__).parents[4]
IMAGE = ROOT / "supervisor/sandbox/image"
#: What a module imports under one name and PyPI has under another.
NAMES = {"zmq": "pyzmq"}
OURS = {"protocol", "worker"}


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getnames()


def test_the_archive_holds_protocol_worker_and_the_image_files_only() -> None:
    found = names(context.archive())
    assert {"worker/__main__.py", "protocol/messages.py", context.DOCKERFILE} <= set(found)
    assert all(name.startswith(("worker/", "protocol/", "supervisor/sandbox/image/")) for name in found)
    assert not [name for name in found if "__pycache__" in name or name.endswith(".pyc")]
    assert "worker/templates/AGENTS.md" in found


def test_the_same_sources_give_the_same_archive() -> None:
    assert context.archive() == context.archive()
    with tarfile.open(fileobj=io.BytesIO(context.archive())) as tar:
        assert {(entry.mode, entry.mtime, entry.uid) for entry in tar} == {(0o644, 0, 0)}


def test_wheels_are_taken_along(tmp_path: Path) -> None:
    for name in ("pip-26.0-py3-none-any.whl", "msgspec-1-cp311-x.whl", "notes.txt"):
        (tmp_path / name).write_bytes(b"zip")
    found = [name for name in names(context.archive(tmp_path)) if name.startswith("wheels/")]
    assert found == ["wheels/msgspec-1-cp311-x.whl", "wheels/pip-26.0-py3-none-any.whl"]


def test_a_folder_without_pip_is_refused_with_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must hold pip") as caught:
        context.archive(tmp_path)
    assert caught.value.where == str(tmp_path)
    assert str(caught.value.hint).startswith("python3 -m pip download --dest")


def test_the_image_installs_all_that_a_worker_imports_in_exact_versions() -> None:
    lines = [line for line in (IMAGE / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z_]+==[\w.]+", line) for line in lines)
    installed = {line.partition("==")[0] for line in lines}
    imported = {NAMES.get(name, name) for package in OURS for name in third_party(ROOT / package)}
    assert {"msgspec", "pyzmq", "aiohttp", "setproctitle"} <= imported <= installed


def test_the_image_files_are_found_from_the_package_and_from_deploy() -> None:
    packaged = resources.files("supervisor.sandbox")
    for link, name in (("Dockerfile", "image/Dockerfile"), ("seccomp.json", "seccomp.json")):
        assert (ROOT / "deploy" / link).read_bytes() == (packaged / name).read_bytes()
        assert (ROOT / "deploy" / link).is_symlink(), "one copy only"


def third_party(folder: Path) -> set[str]:
    """Top-level names that the modules of a folder import and neither we nor Python have."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - OURS - sys.stdlib_module_names
