"""Which accounts a channel has, and what holds for each (SPEC 4.2)."""

from __future__ import annotations

from protocol.accounts import account_ids, account_settings, default_account_id, sections


def test_sections_that_are_no_channels_are_left_out() -> None:
    """Nor is anything that is no object."""
    assert dict(sections({"irc": {}, "defaults": {}, "modelByChannel": {}, "odd": 3})) == {"irc": {}}


def test_the_default_account_is_the_named_one_else_default_else_the_first() -> None:
    """A name that is no account does not count."""
    accounts = {"b": {}, "A1": {}}
    assert account_ids({"accounts": accounts}) == ("a1", "b")
    assert default_account_id({"accounts": accounts, "defaultAccount": " B "}) == "b"
    assert default_account_id({"accounts": accounts, "defaultAccount": "ghost"}) == "a1"
    assert default_account_id({"accounts": {**accounts, "default": {}}}) == "default"
    assert default_account_id({}) == "default"


def test_an_account_overrides_key_by_key_and_the_roots_login_is_of_default_alone() -> None:
    """Otherwise two accounts would poll with one token."""
    section = {
        "botToken": "t",
        "dmPolicy": "open",
        "accounts": {"Work": {"dmPolicy": "disabled"}},
        "defaultAccount": "x",
    }
    assert account_settings(section, "work") == {"dmPolicy": "disabled"}
    assert account_settings(section, "default") == {"botToken": "t", "dmPolicy": "open"}


def test_whatsapp_shares_the_settings_of_its_default_account() -> None:
    """D16: between the channel and the others, on this platform only."""
    section = {
        "dmPolicy": "open",
        "accounts": {"default": {"dmPolicy": "disabled", "name": "d"}, "work": {"name": "w"}},
    }
    assert account_settings(section, "work", "whatsapp") == {"dmPolicy": "disabled", "name": "w"}
    assert account_settings(section, "work", "irc") == {"dmPolicy": "open", "name": "w"}


def test_several_telegram_bots_share_which_groups_are_listed_but_not_their_settings() -> None:
    """A bot alone has them."""
    groups = {"-1": {"requireMention": False}}
    one: dict[str, object] = {"groups": groups, "accounts": {"a": {}}}
    two: dict[str, object] = {"groups": groups, "accounts": {"a": {}, "b": {"groups": {"-2": {"enabled": False}}}}}
    assert account_settings(one, "a", "telegram")["groups"] == groups
    assert account_settings(two, "a", "telegram")["groups"] == {"-1": {}}
    assert account_settings(two, "b", "telegram")["groups"] == {"-2": {"enabled": False}}
