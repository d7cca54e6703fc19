"""Channel accounts in the configuration: which there are, which one is the default, and what its settings are.

Rules: SPEC 4.2, RULES 3.4 and 3.9. Account values override channel values key by key; maps are replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from protocol.ids import DEFAULT_ACCOUNT_ID, normalize_account_id, normalize_optional_account_id

#: Sections of `channels` that are no channel.
SPECIAL = frozenset({"defaults", "modelByChannel"})
#: Keys of a login at the channel's root: they belong to the account `default` alone.
LOGIN_KEYS = frozenset({"botToken", "token", "tokenFile", "appToken"})
#: A channel section with one of these at its root has an account `default`.
_ROOT_LOGINS = (*LOGIN_KEYS, "host", "account", "httpUrl", "cliPath")


def sections(channels: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The configured channels."""
    for name, section in channels.items():
        if name not in SPECIAL and isinstance(section, Mapping):
            yield name, section


def account_ids(section: Mapping[str, Any]) -> tuple[str, ...]:
    """The normalised accounts of a channel, sorted; `default` where none is named or a login stands at the root."""
    named = section.get("accounts")
    ids = {normalize_account_id(str(key)) for key in named if str(key).strip()} if isinstance(named, Mapping) else set()
    if not ids or any(section.get(key) for key in _ROOT_LOGINS):
        ids.add(DEFAULT_ACCOUNT_ID)
    return tuple(sorted(ids))


def default_account_id(section: Mapping[str, Any]) -> str:
    """`defaultAccount` if there is such an account, else `default`, else the first sorted one."""
    ids = account_ids(section)
    wanted = section.get("defaultAccount")
    chosen = normalize_optional_account_id(wanted) if isinstance(wanted, str) else None
    if chosen in ids:
        return str(chosen)
    return DEFAULT_ACCOUNT_ID if DEFAULT_ACCOUNT_ID in ids else ids[0]


def account_settings(section: Mapping[str, Any], account: str, channel: str = "") -> dict[str, Any]:
    """The channel's settings with the account's over them.

    Two platforms have a custom of their own, as in the original: on WhatsApp `accounts.default` stands between the
    channel and the other accounts; on Telegram with several bots the channel's `groups` only say which groups are
    listed, the settings of a group are each bot's own.
    """
    own = _own_settings(section, account)
    root = {key: value for key, value in section.items() if key not in ("accounts", "defaultAccount")}
    if channel == "whatsapp":
        root |= _own_settings(section, DEFAULT_ACCOUNT_ID)
    if account != DEFAULT_ACCOUNT_ID:
        root = {key: value for key, value in root.items() if key not in LOGIN_KEYS}
    if channel == "telegram" and isinstance(root.get("groups"), Mapping) and len(section.get("accounts") or ()) > 1:
        root["groups"] = {key: {} for key in root["groups"]}
    return {**root, **own}


def _own_settings(section: Mapping[str, Any], account: str) -> Mapping[str, Any]:
    named = section.get("accounts")
    for key, value in named.items() if isinstance(named, Mapping) else ():
        if normalize_account_id(str(key)) == account and isinstance(value, Mapping):
            return value
    return {}
