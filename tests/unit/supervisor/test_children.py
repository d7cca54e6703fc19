"""Command lines and environments of the programs."""

from __future__ import annotations

import sys

from supervisor.children import PROGRAMS, command_line, default_commands, environment, settings

ENVIRON = {
    "PATH": "/bin", "HOME": "/h", "LANG": "C", "ANTHROPIC_API_KEY": "sk-x", "TELEGRAM_BOT_TOKEN": "1:x",
    "OPENCLAW_GATEWAY_TOKEN": "t", "HTTPS_PROXY": "http://proxy", "LD_PRELOAD": "/evil.so", "PYTHONSTARTUP": "/x",
}  # fmt: skip


def test_the_programs_are_the_modules_of_this_interpreter() -> None:
    commands = default_commands()
    assert command_line(commands, "router", 7) == (sys.executable, "-P", "-m", "router", "--pipe", "7")
    assert command_line(commands, "cliproxy", 8)[3] == "router.cliproxy"
    assert command_line(commands, "zygote", 9)[3] == "worker.zygote"


def test_no_program_sees_a_key_a_token_or_what_changes_its_code() -> None:
    for program in PROGRAMS:
        seen = environment(program, ENVIRON)
        assert set(seen) - {"PYTHONPATH", "PYTHONUNBUFFERED"} <= {"PATH", "HOME", "LANG", "HTTPS_PROXY"}
        assert ("HTTPS_PROXY" in seen) == (program.kind != "zygote")


def test_a_worker_may_rest_and_gets_the_whole_grace_the_others_a_little_more_than_they_are_told() -> None:
    assert settings("worker", 30).rests and settings("worker", 30).drain_for == 30
    assert not settings("router", 30).rests and settings("router", 30).drain_for > 30
    assert settings("zygote", 30).drain_for < 5
