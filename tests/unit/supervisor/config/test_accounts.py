"""Accounts move and go without taking anybody else's rights along."""

from __future__ import annotations

from supervisor.config.accounts import drop, forget_login, put


def test_the_first_account_stays_at_the_root() -> None:
    """One bot needs no `accounts`."""
    assert put("telegram", {}, "default", {"botToken": "1:a"}) == {"botToken": "1:a"}


def test_a_second_account_moves_the_first_into_its_own_entry() -> None:
    """Policies that were meant for one bot do not open the other."""
    before = {"botToken": "1:a", "dmPolicy": "open", "allowFrom": ["*"], "apiRoot": "http://x"}
    assert put("telegram", before, "work", {"enabled": True, "botToken": "2:b"}) == {
        "apiRoot": "http://x",
        "accounts": {
            "default": {"botToken": "1:a", "dmPolicy": "open", "allowFrom": ["*"]},
            "work": {"enabled": True, "botToken": "2:b"},
        },
    }


def test_a_new_token_wins_over_an_old_file() -> None:
    """And an account is found whatever its spelling."""
    before = {"accounts": {"Work": {"tokenFile": "~/old", "name": "W"}}}
    after = put("telegram", before, "work", {"botToken": "2:b"})
    assert after == {"accounts": {"Work": {"name": "W", "botToken": "2:b"}}}


def test_dropping_the_last_account_takes_the_section() -> None:
    """Unless something else stands there; a default account that is gone is not named any more."""
    assert drop({"accounts": {"a": {}}}, "a") is None
    assert drop({"accounts": {"a": {}, "b": {}}, "defaultAccount": "a"}, "a") == {"accounts": {"b": {}}}


def test_logging_out_keeps_the_policies() -> None:
    """Only credentials go."""
    before = {"accounts": {"a": {"botToken": "1:a", "dmPolicy": "pairing"}}}
    assert forget_login("telegram", before, "a") == {"accounts": {"a": {"dmPolicy": "pairing"}}}
    assert forget_login("telegram", {"botToken": "1:a", "allowFrom": [1]}, "default") == {"allowFrom": [1]}
