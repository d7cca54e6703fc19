"""Global options stand anywhere and are taken out."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from protocol.errors import UserError
from supervisor.cli.options import split
from supervisor.config.version import VERSION


def test_a_profile_has_a_state_folder_of_its_own() -> None:
    """Before or after the command; an explicit folder wins."""
    chosen, rest = split(["agents", "--profile", "work", "list"], {})
    assert rest == ["agents", "list"]
    assert chosen.environ == {"OPENCLAW_PROFILE": "work", "OPENCLAW_STATE_DIR": "~/.openclaw-work"}
    assert split(["--profile=work"], {"OPENCLAW_STATE_DIR": "/x"})[0].environ["OPENCLAW_STATE_DIR"] == "/x"


def test_dev_is_a_profile_with_a_port() -> None:
    """SPEC 1.2."""
    assert split(["--dev", "status"], {})[0].environ == {
        "OPENCLAW_PROFILE": "dev",
        "OPENCLAW_STATE_DIR": "~/.openclaw-dev",
        "OPENCLAW_GATEWAY_PORT": "19001",
    }


def test_a_message_may_look_like_an_option() -> None:
    """What follows -m is text, what follows -- is not ours."""
    assert split(["agent", "-m", "--dev"], {})[1] == ["agent", "-m", "--dev"]
    assert split(["config", "set", "--", "--dev"], {})[1] == ["config", "set", "--", "--dev"]


@pytest.mark.parametrize("arguments", [["--profile", "a/b"], ["--profile"], ["--log-level", "loud"]])
def test_a_bad_value_is_refused(arguments: list[str]) -> None:
    """With the values that are good."""
    with pytest.raises(UserError):
        split(arguments, {})


def test_the_version_is_that_of_the_distribution() -> None:
    """Written twice for speed, so compared here."""
    text = (Path(__file__).parents[4] / "pyproject.toml").read_text()
    assert tomllib.loads(text)["project"]["version"] == VERSION
