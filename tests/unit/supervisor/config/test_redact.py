"""Secrets are not shown, and showing them does not lose them."""

from __future__ import annotations

from supervisor.config.redact import REDACTED, hide, keep_hidden


def test_every_kind_of_secret_is_hidden() -> None:
    """By the name of its key; numbers and file names are not secrets."""
    value = {
        "botToken": "1:a",
        "apiKey": {"source": "env", "id": "X"},
        "auth": {"password": "p", "mode": "token"},
        "headers": {"X-Key": "v"},
        "maxTokens": 5,
        "tokenFile": "~/t",
        "env": {"ANTHROPIC_API_KEY": "sk", "vars": {"A": "b"}},
    }
    assert hide(value) == {
        "botToken": REDACTED,
        "apiKey": REDACTED,
        "auth": {"password": REDACTED, "mode": "token"},
        "headers": {"X-Key": REDACTED},
        "maxTokens": 5,
        "tokenFile": "~/t",
        "env": {"ANTHROPIC_API_KEY": REDACTED, "vars": {"A": REDACTED}},
    }


def test_what_was_shown_can_be_written_back() -> None:
    """The sentinel stands for what is stored."""
    old = {"accounts": {"a": {"botToken": "1:a", "name": "x"}}}
    new = {"accounts": {"a": {"botToken": REDACTED, "name": "y"}}}
    assert keep_hidden(new, old) == {"accounts": {"a": {"botToken": "1:a", "name": "y"}}}
