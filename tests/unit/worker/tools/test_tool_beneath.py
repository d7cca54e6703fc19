"""Nothing outside a folder is found from within it: by the kernel, by the walk, and while somebody swaps links."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.tools.beneath import Finder, anywhere, beneath, by_kernel, by_walk, has_openat2, make_folder, place, reopen

FINDERS = [pytest.param(by_walk, id="walk")]
if has_openat2():
    FINDERS.append(pytest.param(by_kernel, id="openat2"))


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    inside = tmp_path / "in"
    (inside / "a/b").mkdir(parents=True)
    (inside / "a/b/file").write_text("inside")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/file").write_text("outside")
    fd = os.open(inside, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def read(find: Finder, root: int, path: str) -> str:
    found = find(root, path)
    try:
        with os.fdopen(reopen(found, os.O_RDONLY)) as file:
            return file.read()
    finally:
        os.close(found)


def error_of(find: Finder, root: int, path: str) -> str:
    with pytest.raises(OSError) as caught:
        os.close(find(root, path))
    return errno.errorcode[caught.value.errno or 0]


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize("path", ["a/b/file", "./a//b/./file", "a/../a/b/../b/file", "link", "a/up", "chain"])
def test_what_lies_inside_is_found(find: Finder, root: int, tmp_path: Path, path: str) -> None:
    (tmp_path / "in/link").symlink_to("a/b/file")
    (tmp_path / "in/a/up").symlink_to("../a/b/file")
    (tmp_path / "in/folder").symlink_to("a/b")
    (tmp_path / "in/chain").symlink_to("folder/../b/file")
    assert read(find, root, path) == "inside"


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../out/file",
        "a/../../out/file",
        "/etc/passwd",
        "absolute",
        "relative",
        "folder/file",
        "deep/../../out/file",
    ],
)
def test_every_way_out_is_refused(find: Finder, root: int, tmp_path: Path, path: str) -> None:
    (tmp_path / "in/absolute").symlink_to("/etc/passwd")
    (tmp_path / "in/relative").symlink_to("../out/file")
    (tmp_path / "in/folder").symlink_to("../out")
    (tmp_path / "in/deep").symlink_to("a/b/..")
    (tmp_path / "in/own").symlink_to(tmp_path / "in/a")
    assert error_of(find, root, path) == "EXDEV"
    assert error_of(find, root, "own/b/file") == "EXDEV"


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("missing", "ENOENT"),
        ("missing/../a", "ENOENT"),
        ("a/b/file/x", "ENOTDIR"),
        ("a/b/file/", "ENOTDIR"),
        ("a/b/file/..", "ENOTDIR"),
        ("loop", "ELOOP"),
        ("n" * 300, "ENAMETOOLONG"),
        ("a/" * 3000, "ENAMETOOLONG"),
    ],
)
def test_errors_are_those_of_the_kernel(find: Finder, root: int, tmp_path: Path, path: str, problem: str) -> None:
    (tmp_path / "in/loop").symlink_to("loop")
    assert error_of(find, root, path) == problem


@pytest.mark.parametrize("find", FINDERS)
def test_a_pipe_is_found_and_not_waited_for(find: Finder, root: int, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "in/pipe")
    found = find(root, "pipe")
    assert stat.S_ISFIFO(os.fstat(found).st_mode)
    os.close(found)


@pytest.mark.parametrize("find", FINDERS)
def test_links_swapped_during_the_lookup_never_lead_outside(find: Finder, root: int, tmp_path: Path) -> None:
    """A thread exchanges a folder and a link to the outside as fast as it can while we look up through them."""
    box = tmp_path / "in"
    (box / "real").mkdir()
    (box / "real/file").write_text("inside")
    (box / "evil").symlink_to(tmp_path / "out")
    (box / "sly").symlink_to("../out")
    over, outcomes = threading.Event(), set()

    def swap() -> None:
        while not over.is_set():
            for other in ("evil", "sly"):
                os.rename(box / "real", box / "kept")
                os.rename(box / other, box / "real")
                os.rename(box / "real", box / other)
                os.rename(box / "kept", box / "real")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(3000):
            try:
                outcomes.add(read(find, root, "a/../real/file"))
            except OSError as error:
                outcomes.add(errno.errorcode[error.errno or 0])
    finally:
        over.set()
        thread.join()
    assert "outside" not in outcomes
    assert "inside" in outcomes


def test_the_walk_leaves_no_descriptor_behind(root: int, tmp_path: Path) -> None:
    (tmp_path / "in/loop").symlink_to("loop")
    (tmp_path / "in/out").symlink_to("../out")
    before = len(os.listdir("/proc/self/fd"))
    for path in ("loop", "out", "missing", "a/b/file/x", "a/../.."):
        error_of(by_walk, root, path)
    os.close(by_walk(root, "a/b/file"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_walls_a_link_leads_anywhere_but_not_through_a_descriptor(root: int, tmp_path: Path) -> None:
    (tmp_path / "in/link").symlink_to("../out/file")
    (tmp_path / "in/magic").symlink_to(f"/proc/self/fd/{root}")
    assert read(anywhere, root, "link") == "outside"
    if has_openat2():
        assert error_of(anywhere, root, "magic") == "ELOOP"


def test_a_folder_is_made_where_it_is_missing_and_never_behind_a_link(root: int, tmp_path: Path) -> None:
    made = make_folder(root, "new")
    assert place(made) == str(tmp_path / "in/new")
    assert os.fstat(made).st_mode & 0o777 == 0o700
    os.close(made)
    os.close(make_folder(root, "new"))
    (tmp_path / "in/link").symlink_to("../out")
    with pytest.raises(NotADirectoryError):
        make_folder(root, "link")


def test_one_of_both_ways_is_chosen(root: int) -> None:
    assert read(beneath, root, "a/b/file") == "inside"
