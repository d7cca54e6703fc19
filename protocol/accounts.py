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


def has_root_login(section: Mapping[str, Any]) -> bool:
    """Whether a login stands at the channel's root."""
    return any(section.get(key) for key in _ROOT_LOGINS)


def spelled_account_ids(section: Mapping[str, Any], *, extra_default: bool = False) -> tuple[str, ...]:
    """The accounts of a channel as the configuration spells them, in locale order.

    `default` where none is named or a login stands at the channel's root (or `extra_default` says there is one).
    """
    named = section.get("accounts")
    ids = {str(key) for key in named if str(key).strip()} if isinstance(named, Mapping) else set()
    if extra_default or not ids or has_root_login(section):
        ids.add(DEFAULT_ACCOUNT_ID)
    return tuple(sorted(ids, key=_locale_order))


def account_ids(section: Mapping[str, Any]) -> tuple[str, ...]:
    """The normalised accounts of a channel, each once, in locale order."""
    return tuple(sorted({normalize_account_id(one) for one in spelled_account_ids(section)}, key=_locale_order))


def spelled_default_account_id(section: Mapping[str, Any]) -> str:
    """`defaultAccount` if there is such an account, else `default`, else the first in order (SPEC 4.2)."""
    ids = spelled_account_ids(section)
    wanted = section.get("defaultAccount")
    chosen = normalize_optional_account_id(wanted) if isinstance(wanted, str) else None
    if chosen is not None and chosen in {normalize_account_id(one) for one in ids}:
        return chosen
    return DEFAULT_ACCOUNT_ID if DEFAULT_ACCOUNT_ID in ids else ids[0]


def default_account_id(section: Mapping[str, Any]) -> str:
    """The account that a binding without accountId means, normalised."""
    return normalize_account_id(spelled_default_account_id(section))


def account_settings(section: Mapping[str, Any], account: str, channel: str = "") -> dict[str, Any]:
    """The channel's settings with the account's over them.

    Two platforms have a custom of their own, as in the original: on WhatsApp `accounts.default` stands between the
    channel and the other accounts; on Telegram with several bots the channel's `groups` only say which groups are
    listed, the settings of a group are each bot's own.
    """
    own = own_settings(section, account)
    root = {key: value for key, value in section.items() if key not in ("accounts", "defaultAccount")}
    if channel == "whatsapp":
        root |= own_settings(section, DEFAULT_ACCOUNT_ID)
    if account != DEFAULT_ACCOUNT_ID:
        root = {key: value for key, value in root.items() if key not in LOGIN_KEYS}
    if channel == "telegram" and isinstance(root.get("groups"), Mapping) and len(section.get("accounts") or ()) > 1:
        root["groups"] = {key: {} for key in root["groups"]}
    return {**root, **own}


def own_settings(section: Mapping[str, Any], account: str) -> Mapping[str, Any]:
    """What stands in `accounts.<account>` alone."""
    named = section.get("accounts")
    for key, value in named.items() if isinstance(named, Mapping) else ():
        if normalize_account_id(str(key)) == account and isinstance(value, Mapping):
            return value
    return {}


def _locale_order(text: str) -> tuple[list[tuple[int, str]], str]:
    """Punctuation, digits, letters; small letters before large ones only where all else is equal."""
    return [(char.isalpha() + char.isalnum(), char.lower()) for char in text], text.swapcase()
