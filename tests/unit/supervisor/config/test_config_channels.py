"""Which accounts a channel has, and what each is set to."""

from __future__ import annotations

from supervisor.config.channels import account_settings, account_state, configured_accounts, default_account_id


def test_a_login_at_the_root_is_the_default_account() -> None:
    """So is one of the environment; names stand in locale order, on Telegram as they are compared (RULES 2, D5)."""
    section = {"botToken": "1:a", "accounts": {"work": {}, "B2": {}}}
    assert configured_accounts("mattermost", section, {}) == ("B2", "default", "work")
    assert configured_accounts("telegram", section, {}) == ("b2", "default", "work")
    assert configured_accounts("telegram", {"accounts": {"a": {}}}, {"TELEGRAM_BOT_TOKEN": "x"}) == ("a", "default")


def test_the_default_account_is_the_named_one_or_default_or_the_first() -> None:
    """SPEC 4.2."""
    accounts = {"accounts": {"work": {}, "alerts": {}}}
    assert default_account_id({**accounts, "defaultAccount": "work"}) == "work"
    assert default_account_id({**accounts, "defaultAccount": "ghost"}) == "alerts"
    assert default_account_id({"accounts": {"a": {}, "default": {}}}) == "default"


def test_an_account_inherits_policies_but_no_login() -> None:
    """The root's token belongs to `default` alone."""
    section = {"botToken": "1:a", "dmPolicy": "open", "accounts": {"Work": {"name": "W"}}}
    assert account_settings("telegram", section, "work") == {"dmPolicy": "open", "name": "W"}
    assert account_settings("telegram", section, "default")["botToken"] == "1:a"


def test_the_source_of_a_token_is_told_and_not_the_token() -> None:
    """A variable without a value is no token."""
    assert account_state("telegram", {"botToken": "1:a"}, "default", {}).source == "config"
    assert account_state("telegram", {"botToken": "${X}"}, "default", {}).word == "not configured"
    assert account_state("telegram", {}, "default", {"TELEGRAM_BOT_TOKEN": "x"}).source == "env"
    assert account_state("telegram", {"enabled": False, "botToken": "1:a"}, "default", {}).word == "disabled"
    assert account_state("irc", {"host": "h", "nick": "n"}, "default", {}).configured
