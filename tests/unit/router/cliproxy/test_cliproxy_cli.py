"""The cliproxy command of this build: it says plainly what is not there and changes nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from router.cliproxy.cli import main; sys.exit(main())", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_help_and_version_work() -> None:
    assert "add-account" in run("--help").stdout
    shown = run("--version")
    assert shown.returncode == 0 and shown.stdout.startswith("cliproxy ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add-account", "--name", "seat1", "--api-key", "sk-x"), "no account store"),
        (("add-pool", "--name", "a", "--endpoint", "http://localhost:3001", "--api-key", "sk-x"), "no account pools"),
        (("add-pool", "--name", "a", "--endpoint", "localhost", "--api-key", "sk-x"), "not an http address"),
        (("add-account", "--name", "seat1", "--api-key", "sk-ant-oat01-x"), "subscription token"),
        (("start", "--port", "8080", "--strategy", "round-robin"), "no proxy that stands alone"),
        (("start", "--strategy", "best"), "unknown strategy"),
        (("status",), "no account pools"),
    ],
)
def test_each_command_fails_with_one_clear_line_and_a_hint(words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.returncode == 1 and done.stdout == ""
    assert said in done.stderr and "hint: " in done.stderr and "Traceback" not in done.stderr
    assert "sk-x" not in done.stderr


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("bogus", "bogus"),
        ("add-account --nam x", "--nam"),
        ("start --port 99999999", "--port"),
        ("add-account", "--name"),
    ],
)
def test_a_mistyped_command_is_a_plain_error_with_a_hint(typed: str, word: str) -> None:
    ran = run(*typed.split())
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("error: ") and word in ran.stderr and "hint: cliproxy --help" in ran.stderr


def test_without_a_command_the_help_is_shown() -> None:
    ran = run()
    assert ran.returncode == 0 and "add-account" in ran.stdout
