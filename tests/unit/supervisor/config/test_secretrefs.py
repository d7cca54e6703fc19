"""A secret kept elsewhere is had, or its absence is told without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocol.config import SecretRef
from protocol.paths import Paths
from supervisor.config.secretrefs import SecretMissing, Vault


def vault(folder: Path, **providers: Any) -> Vault:
    return Vault({"providers": providers}, Paths.from_environ({"HOME": str(folder)}), {"TOKEN": "t0p", "PATH": "/bin"})


def ref(source: str, id: str, provider: str = "default") -> dict[str, str]:
    return {"source": source, "id": id, "provider": provider}


def test_a_variable_is_a_secret(tmp_path: Path) -> None:
    """The provider `default` of env needs no declaration; structs work as well."""
    assert vault(tmp_path).value(ref("env", "TOKEN")) == "t0p"
    assert vault(tmp_path).value(SecretRef(source="env", id="TOKEN")) == "t0p"
    assert vault(tmp_path).value(" plain ") == "plain"


def test_a_file_gives_one_value_or_many(tmp_path: Path) -> None:
    """JSON by pointer, or the whole file."""
    (tmp_path / "all.json").write_text('{"telegram": {"a/b": "deep"}}')
    (tmp_path / "one").write_text("single\n")
    one = vault(
        tmp_path,
        box={"source": "file", "path": "~/all.json"},
        lone={"source": "file", "path": "~/one", "mode": "singleValue"},
    )
    assert one.value(ref("file", "/telegram/a~1b", "box")) == "deep"
    assert one.value(ref("file", "value", "lone")) == "single"


def test_a_command_answers_on_stdout(tmp_path: Path) -> None:
    """It is asked on stdin and sees no environment but what it may."""
    script = tmp_path / "ask"
    script.write_text('#!/bin/sh\nread line\necho "{\\"values\\": {\\"k\\": \\"v${TOKEN}\\"}}"\n')
    script.chmod(0o700)
    assert vault(tmp_path, cmd={"source": "exec", "command": str(script)}).value(ref("exec", "k", "cmd")) == "v"


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("${GONE}", "missing env var in ${GONE}"),
        (ref("env", "GONE"), 'missing env var "GONE"'),
        (ref("env", "lower"), "env id 'lower' must match"),
        (ref("file", "/x", "nobody"), 'secrets.providers.nobody is not a provider of source "file"'),
        (ref("file", "/x", "box"), "cannot read"),
        (ref("exec", "k", "slow"), "did not answer in time"),
        (ref("exec", "k", "bad"), "ended with 1"),
        (ref("exec", "../k", "bad"), "plain name"),
        ("", "is empty"),
    ],
)
def test_a_secret_that_cannot_be_had_says_why(tmp_path: Path, secret: Any, reason: str) -> None:
    """The reason is for the operator."""
    one = vault(
        tmp_path,
        box={"source": "file", "path": "~/none.json"},
        slow={"source": "exec", "command": "/bin/sleep", "args": ["5"], "timeoutMs": 50},
        bad={"source": "exec", "command": "/bin/false"},
    )
    with pytest.raises(SecretMissing, match=reason.replace("$", r"\$").replace("{", r"\{")):
        one.value(secret)
