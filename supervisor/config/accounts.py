"""Accounts of a channel in the authored configuration: put, drop, forget a login (SPEC 3.3.4 to 3.3.6). Pure."""

from __future__ import annotations

from typing import Any

from protocol.ids import DEFAULT_ACCOUNT_ID, normalize_account_id
from supervisor.config.channels import TOKEN_KEYS

Section = dict[str, Any]

#: What belongs to one account. It moves into `accounts.default` when a second account appears, so that nothing that
#: was meant for the one bot opens another.
_OF_ONE_ACCOUNT = (
    *("name", "botToken", "token", "tokenFile", "appToken", "userToken", "signingSecret", "authDir", "account"),
    *("host", "port", "tls", "nick", "username", "realname", "password", "passwordFile"),
    *("channels", "nickserv", "sasl"),
    *("dmPolicy", "allowFrom", "groupPolicy", "groupAllowFrom", "groups", "defaultTo"),
    *("webhookUrl", "webhookSecret", "webhookPath", "webhookHost", "webhookPort"),
)


def put(channel: str, section: Section, account: str, fields: dict[str, Any]) -> Section:
    """The section with an account's fields set. A lone default account stays at the channel's root."""
    if account == DEFAULT_ACCOUNT_ID and "accounts" not in section:
        return {**section, **fields}
    split = section if "accounts" in section else _split(section)
    accounts = dict(split.get("accounts") or {})
    key = _key(accounts, account)
    if account == DEFAULT_ACCOUNT_ID and key not in accounts:
        split = {name: value for name, value in split.items() if name not in _login_keys(channel)}
    accounts[key] = {**(accounts.get(key) or {}), **fields}
    for other in ("tokenFile",) if TOKEN_KEYS.get(channel, ("",))[0] in fields else ():
        accounts[key].pop(other, None)  # a new token must not lose against an old file
    return {**split, "accounts": accounts}


def _split(section: Section) -> Section:
    own = {key: section[key] for key in _OF_ONE_ACCOUNT if key in section}
    rest = {key: value for key, value in section.items() if key not in own}
    return {**rest, "accounts": {DEFAULT_ACCOUNT_ID: own} if own else {}}


def drop(section: Section, account: str) -> Section | None:
    """The section without an account; None when nothing is left of it."""
    if "accounts" not in section:
        return None
    accounts = dict(section["accounts"])
    accounts.pop(_key(accounts, account), None)
    rest = {key: value for key, value in section.items() if key != "accounts"}
    if normalize_account_id(str(rest.get("defaultAccount") or "")) == normalize_account_id(account):
        rest.pop("defaultAccount", None)
    return {**rest, "accounts": accounts} if accounts else ({**rest} if rest else None)


def forget_login(channel: str, section: Section, account: str) -> Section:
    """The section without the account's credentials; its policies stay."""
    keys = _login_keys(channel)
    accounts = section.get("accounts")
    key = _key(accounts, account) if isinstance(accounts, dict) else ""
    result = section
    if isinstance(accounts, dict) and isinstance(accounts.get(key), dict):
        bare = {name: value for name, value in accounts[key].items() if name not in keys}
        result = {**section, "accounts": {**accounts, key: bare}}
    if normalize_account_id(account) == DEFAULT_ACCOUNT_ID:
        result = {name: value for name, value in result.items() if name not in keys}
    return result


def _login_keys(channel: str) -> tuple[str, ...]:
    if channel == "irc":
        return ("password", "passwordFile", "nickserv", "sasl", "host", "nick")
    return (*TOKEN_KEYS.get(channel, ()), "tokenFile")


def _key(accounts: Section, account: str) -> str:
    """The key under which an account stands, whatever its spelling."""
    wanted = normalize_account_id(account)
    return next((key for key in accounts if normalize_account_id(key) == wanted), account)
