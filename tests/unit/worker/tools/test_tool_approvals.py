"""The allowlist of commands: a table of what passes and of the ways around it that must not."""

from __future__ import annotations

import pytest

from protocol.approvals import Ask, ExecPolicy, Security
from worker.tools.approvals import after_silence, decide, miss

PROGRAMS = {
    **{name: f"/usr/bin/{name}" for name in ("git", "ls", "cat", "find", "env", "xargs", "tar", "sort", "awk")},
    **{name: f"/usr/bin/{name}" for name in ("head", "wc", "tr", "cut", "grep", "jq", "tail", "uniq", "python3.11")},
    "sh": "/bin/sh",
    "tool": "/usr/local/bin/tool",
}


def find(program: str) -> str:
    return program if program.startswith("/") else PROGRAMS.get(program, "")


def missed(command: str, *allowlist: str, bins: tuple[str, ...] = ()) -> bool:
    return bool(miss(ExecPolicy(security="allowlist", allowlist=allowlist, safe_bins=bins), command, find))


@pytest.mark.parametrize(
    ("command", "allowlist"),
    [
        ("git status", ["git"]),
        ("/usr/bin/git status", ["git"]),
        ("git status", ["/usr/bin/git"]),
        ("git log | cat && ls -l; ls", ["/usr/bin/*"]),
        ("/opt/a/b/tool x", ["/opt/**"]),
        ("tool", ["/usr/*/bin/tool"]),
        ("ls *.py", ["ls"]),
        ("find . -name '*.py'", ["find"]),
        ("python3.11 x.py", ["python3.11"]),
        ("env", ["/usr/bin/env"]),
    ],
)
def test_what_the_operator_listed_passes(command: str, allowlist: list[str]) -> None:
    assert not missed(command, *allowlist)


@pytest.mark.parametrize(
    ("command", "allowlist"),
    [
        ("rm x", ["git", "ls"]),
        ("ls; rm x", ["ls"]),
        ("ls\nrm x", ["ls"]),
        ("ls || rm x", ["ls"]),
        ("ls | sh", ["ls", "/bin/*"]),
        ("ls $(rm x)", ["ls"]),
        ("ls `rm x`", ["ls"]),
        ("ls${IFS}x", ["ls"]),
        ("ls > x", ["ls"]),
        ("ls <<E\nE", ["ls"]),
        ("ls &", ["ls"]),
        ("A=b ls", ["ls"]),
        ("LD_PRELOAD=./x.so ls", ["ls"]),
        ("env A=b rm x", ["ls", "/usr/bin/*", "/bin/*"]),
        ("sh -c 'rm x'", ["ls", "/usr/bin/*", "/bin/*", "/**"]),
        ("/bin/sh -c 'rm x'", ["/bin/*"]),
        ("xargs rm", ["/usr/bin/*"]),
        ("awk 'BEGIN{system(1)}'", ["/usr/bin/*"]),
        ("python3.11 -c 'x'", ["/usr/bin/*", "/usr/bin/python*"]),
        ("find . -exec rm {} +", ["find"]),
        ("find . -exec rm x +", ["find"]),
        ("find . '-exec' rm x", ["find"]),
        ("find . -e'xe'c rm x", ["find"]),
        ("find . -ex* rm x", ["find"]),
        ("find . -delete", ["find"]),
        ("tar --to-command=sh -xf x", ["tar"]),
        ("tar -xf x *", ["tar"]),
        ("git -c core.pager=sh log", ["git"]),
        ("sort -o /etc/passwd", ["sort"]),
        ("/usr/bin/../../tmp/x", ["/usr/bin/*", "/usr/bin/**"]),
        ("/usr/bin//ls", ["/usr/bin/**"]),
        ("/usr/bin/./ls", ["/usr/bin/**"]),
        ("/usr/bin/sub/x", ["/usr/bin/*"]),
        ("./ls", ["ls"]),
        ("/tmp/ls", ["ls"]),
        ("LS", ["ls"]),
        ("ｌs", ["ls"]),
        ("lѕ", ["ls"]),
        ("missing", ["missing"]),
        ("eval ls", ["eval", "ls"]),
        ("ls", []),
        ("ls", ["l*"]),
    ],
)
def test_no_way_around_the_list(command: str, allowlist: list[str]) -> None:
    assert missed(command, *allowlist)


@pytest.mark.parametrize(
    "command",
    ["git log | head -n 5", "git log | head -5 | tr a-z A-Z", "git log | cut -d , -f1 | wc -l", "git log | head -qn5"],
)
def test_safe_programs_may_read_what_is_piped_to_them(command: str) -> None:
    assert not missed(command, "git", bins=("head", "tr", "cut", "wc"))


@pytest.mark.parametrize(
    "command",
    [
        "head /etc/passwd",
        "head -n 5 /etc/passwd",
        "head -n5 -- /etc/passwd",
        "wc --files0-from=/etc/passwd",
        "wc --files0-f /etc/passwd",
        "cut -d: -f1 /etc/passwd",
        "tr a b c",
        "tr * b",
        "head -n",
        "tail -f",
        "tail -F",
        "uniq a b",
        "grep x /etc/passwd",
        "grep -f /etc/passwd",
        "grep -r x",
        "grep -e x /etc/passwd",
        "grep x *",
        "jq . /etc/passwd",
        "jq -f x",
        "jq --rawfile a /etc/passwd .",
        "sort -o x",
        "sort --output=x",
        "sort /etc/passwd",
        "cat /etc/passwd",
        "ls .",
        "/tmp/head",
        "tool x",
    ],
)
def test_safe_programs_get_no_files(command: str) -> None:
    names = ("head", "wc", "cut", "tr", "tail", "uniq", "grep", "jq", "sort", "cat", "ls", "tool")
    assert missed(command, bins=names)


def test_a_safe_program_must_be_the_systems_own() -> None:
    policy = ExecPolicy(security="allowlist", safe_bins=("head",))
    assert miss(policy, "head -5", lambda _: "/workspace/bin/head")
    assert not miss(policy, "head -5", lambda _: "/usr/bin/head")


@pytest.mark.parametrize(
    ("security", "ask", "command", "action"),
    [
        ("full", "off", "rm x > y", "run"),
        ("full", "on-miss", "rm x > y", "run"),
        ("full", "always", "ls", "ask"),
        ("allowlist", "off", "ls", "run"),
        ("allowlist", "off", "rm x", "refuse"),
        ("allowlist", "on-miss", "ls", "run"),
        ("allowlist", "on-miss", "rm x", "ask"),
        ("allowlist", "always", "ls", "ask"),
        ("deny", "off", "ls", "refuse"),
        ("deny", "always", "ls", "refuse"),
    ],
)
def test_security_and_ask_decide_together(security: Security, ask: Ask, command: str, action: str) -> None:
    policy = ExecPolicy(security=security, ask=ask, allowlist=("ls",))
    assert decide(policy, command, with_env=False, find=find).action == action


def test_a_command_with_variables_of_its_own_is_never_on_the_list() -> None:
    policy = ExecPolicy(security="allowlist", allowlist=("ls",))
    assert decide(policy, "ls", with_env=True, find=find).action == "refuse"


@pytest.mark.parametrize(
    ("fallback", "command", "runs"),
    [("deny", "ls", False), ("allowlist", "ls", True), ("allowlist", "rm", False), ("full", "rm", True)],
)
def test_silence_means_what_the_fallback_says(fallback: Security, command: str, runs: bool) -> None:
    policy = ExecPolicy(ask="always", ask_fallback=fallback, allowlist=("ls",))
    assert after_silence(policy, command, with_env=False, find=find) is runs
