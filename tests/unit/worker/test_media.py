"""A model's wish to send a file is granted for the agent's own outbox, and for nothing else by any spelling."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from worker.media import MAX_FILE, MAX_FILES, Outbox, replaced

ELSEWHERE = "[file not sent: only files in the outbox folder of the workspace can be]"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    (folder / "outbox/sub").mkdir(parents=True)
    (folder / "outbox/report.pdf").write_text("hello")
    (folder / "outbox/sub/b").write_text("hi")
    (folder / "notes").write_text("private")
    (tmp_path / "secret").write_text("secret")
    return folder


def said(workspace: Path, text: str) -> str:
    return replaced(text, Outbox(workspace).describe)


@pytest.mark.parametrize("path", ["outbox/report.pdf", "./outbox/report.pdf", "{ws}/outbox/report.pdf"])
@pytest.mark.parametrize("form", ["MEDIA:{}", "MEDIA: {} ", "media:`{}`", '  MEDIA:"{}"'])
def test_a_file_of_the_outbox_becomes_a_line_that_names_it(workspace: Path, path: str, form: str) -> None:
    text = said(workspace, "Here it is:\n" + form.format(path.format(ws=workspace)) + "\nBye")
    assert "[file: report.pdf, 5 bytes; this chat cannot take files yet]" in text
    assert text.startswith("Here it is:\n") and text.endswith("\nBye") and "MEDIA" not in text.upper()


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "~/.ssh/id_rsa", "../secret", "outbox/../notes", "outbox/../../secret", "outbox/./report.pdf",
        "outbox//report.pdf", "%2e%2e/secret", "outbox/%2e%2e/%2e%2e/secret", "outbox/%252e%252e/secret",
        "..%2fsecret", "notes", "outbox", "outbox/", "", "file:///etc/passwd", "https://example.org/x.png",
        "http://169.254.169.254/", "/proc/self/environ", "outbox/" + "a/" * 20 + "x", "outbox/" + "x" * 5000,
        "OUTBOX/report.pdf", "outbox\\..\\..\\secret", "outbox/a\0b", "{ws}/outbox/../notes", "{ws}/../secret",
        "data:text/plain,x", "outbox/\udcff/..", "-rf",
    ],
)  # fmt: skip
def test_every_other_place_is_taken_out_and_not_repeated(workspace: Path, path: str) -> None:
    text = said(workspace, f"a\nMEDIA:{path.format(ws=workspace)}\nb")
    assert text == f"a\n{ELSEWHERE}\nb" or "is not there]" in text
    assert "secret" not in text.replace("outbox/secret is not there", "")
    assert "passwd" not in text and "MEDIA" not in text


def test_links_pipes_sockets_and_second_names_are_refused(workspace: Path) -> None:
    box = workspace / "outbox"
    (box / "link").symlink_to(workspace.parent / "secret")
    (box / "inner").symlink_to("report.pdf")
    (box / "up").symlink_to("..")
    os.mkfifo(box / "pipe")
    os.link(workspace / "notes", box / "hard")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(box / "sock"))
    for name in ("link", "inner", "pipe", "hard", "sock", "sub"):
        assert said(workspace, f"MEDIA:outbox/{name}") == f"[file not sent: {name} is not an ordinary file of its own]"
    assert said(workspace, "MEDIA:outbox/up/notes") == "[file not sent: outbox/notes is not there]"


def test_an_outbox_that_is_a_link_is_none(workspace: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "outbox").symlink_to(workspace / "outbox")
    assert "is not there" in said(elsewhere, "MEDIA:outbox/report.pdf")


def test_a_huge_file_is_refused_by_its_size(workspace: Path) -> None:
    with (workspace / "outbox/huge").open("wb") as file:
        file.truncate(MAX_FILE + 1)
    assert said(workspace, "MEDIA:outbox/huge") == "[file not sent: huge is over 16 MiB]"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\u2028", "\x85", "\x0b"])
def test_no_kind_of_line_end_hides_a_wish(workspace: Path, end: str) -> None:
    assert said(workspace, f"x{end}MEDIA:/etc/passwd{end}y") == f"x{end}{ELSEWHERE}{end}y"


def test_a_reply_tag_stays_in_front(workspace: Path) -> None:
    assert said(workspace, "[[reply_to:12]] MEDIA:/etc/passwd") == f"[[reply_to:12]] {ELSEWHERE}"


def test_a_name_cannot_change_the_line_around_it(workspace: Path) -> None:
    (workspace / "outbox/a\u202ecod.exe]").write_text("x")
    assert said(workspace, "MEDIA:outbox/a\u202ecod.exe]").startswith("[file: a?cod.exe?, 1 bytes;")


def test_ordinary_words_are_left_alone(workspace: Path) -> None:
    for text in ("The MEDIA: a word", "multimedia:x", "", "MEDIA", "a\n\nb"):
        assert said(workspace, text) == text


def test_wishes_are_counted(workspace: Path) -> None:
    lines = said(workspace, "\n".join(["MEDIA:outbox/report.pdf"] * (MAX_FILES + 5))).split("\n")
    assert lines.count("[file not sent: more than 20 in one answer]") == 5


def test_no_descriptor_is_left_open(workspace: Path) -> None:
    before = os.listdir("/proc/self/fd")
    said(workspace, "MEDIA:outbox/report.pdf\nMEDIA:outbox/nope\nMEDIA:outbox/sub\nMEDIA:outbox/report.pdf/x")
    assert os.listdir("/proc/self/fd") == before
