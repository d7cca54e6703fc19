"""Channels and their accounts: known ids, which accounts there are, and their settings with secrets filled in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from protocol import accounts
from protocol.ids import DEFAULT_ACCOUNT_ID, normalize_account_id
from protocol.paths import Paths
from supervisor.config.parse import has_variable, read_bytes
from supervisor.config.secretrefs import SecretMissing, Vault, is_ref

#: Channel id and what people call it (SPEC 2.4).
LABELS = {
    "telegram": "Telegram",
    "discord": "Discord",
    "whatsapp": "WhatsApp",
    "slack": "Slack",
    "signal": "Signal",
    "imessage": "iMessage",
    "bluebubbles": "BlueBubbles",
    "irc": "IRC",
    "line": "LINE",
    "googlechat": "Google Chat",
    "mattermost": "Mattermost",
    "matrix": "Matrix",
    "nextcloud-talk": "Nextcloud Talk",
    "nostr": "Nostr",
    "feishu": "Feishu",
    "zalo": "Zalo",
    "zalouser": "Zalo Personal",
    "msteams": "Microsoft Teams",
    "twitch": "Twitch",
    "qqbot": "QQ Bot",
    "synology-chat": "Synology Chat",
    "tlon": "Tlon",
}
#: The router's own rules, asked with the spelling of the file.
SPECIAL = accounts.SPECIAL
account_ids = accounts.spelled_account_ids
default_account_id = accounts.spelled_default_account_id
has_root_login = accounts.has_root_login
#: What a variable of the environment gives to the account `default`, when the config has none (SPEC 1.3).
ENVIRONMENT_TOKENS = {
    "telegram": {"botToken": "TELEGRAM_BOT_TOKEN"},
    "discord": {"token": "DISCORD_BOT_TOKEN"},
    "slack": {"botToken": "SLACK_BOT_TOKEN", "appToken": "SLACK_APP_TOKEN"},
}
#: The keys that hold a login, first the one that makes an account configured.
TOKEN_KEYS = {"telegram": ("botToken",), "discord": ("token",), "slack": ("botToken", "appToken")}
_TOKEN_FILES = {"tokenFile": "botToken"}
_SECRET_KEYS = frozenset(
    {"botToken", "token", "appToken", "userToken", "signingSecret", "password", "webhookSecret", "apiKey"}
)

Warn = Callable[[str], None]


def label(channel: str) -> str:
    return LABELS.get(channel, channel)


def sections(channels: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The channels that are configured."""
    for name, section in channels.items():
        if name not in SPECIAL and isinstance(section, dict):
            yield name, section


def account_settings(channel: str, section: Mapping[str, Any], account: str) -> dict[str, Any]:
    """The channel's settings with the account's over them."""
    return accounts.account_settings(section, normalize_account_id(account), channel)


def resolve_channels(
    channels: Mapping[str, Any], vault: Vault, environ: Mapping[str, str], paths: Paths, warn: Warn
) -> dict[str, Any]:
    """The channel sections with every secret as text. A secret that cannot be had is left out and told to `warn`."""
    found = {name: value for name, value in channels.items()}
    for channel, variables in ENVIRONMENT_TOKENS.items():
        if any(environ.get(variable) for variable in variables.values()):
            found[channel] = _with_environment(found.get(channel) or {}, variables, environ)
    return {name: _filled(value, f"channels.{name}", vault, paths, warn) for name, value in found.items()}


def _with_environment(section: Any, variables: Mapping[str, str], environ: Mapping[str, str]) -> Any:
    """The section with tokens of the environment for the account `default`, where it has none of its own."""
    if not isinstance(section, dict):
        return section
    own = accounts.own_settings(section, DEFAULT_ACCOUNT_ID)
    if section.get("tokenFile") or own.get("tokenFile"):
        return section
    given = {key: environ[name] for key, name in variables.items() if environ.get(name) and not own.get(key)}
    return {**given, **section}


def _filled(value: Any, at: str, vault: Vault, paths: Paths, warn: Warn) -> Any:
    if isinstance(value, list):
        return [_filled(inner, f"{at}.{index}", vault, paths, warn) for index, inner in enumerate(value)]
    if not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    for key, inner in value.items():
        try:
            if is_ref(inner) or (key in _SECRET_KEYS and isinstance(inner, str) and has_variable(inner)):
                result[key] = vault.value(inner)
            elif key in _TOKEN_FILES and isinstance(inner, str) and not value.get(_TOKEN_FILES[key]):
                result[_TOKEN_FILES[key]] = _read_token(inner, paths)
            else:
                result[key] = _filled(inner, f"{at}.{key}", vault, paths, warn)
        except SecretMissing as error:
            warn(f"{at}.{key}: {error}; this account is not configured")
    return result


def _read_token(name: str, paths: Paths) -> str:
    """A token kept in a file of its own: a regular file, not a link."""
    file = paths.expand(name)
    try:
        if file.is_symlink():
            raise SecretMissing(f"{file} is a symbolic link")
        text = read_bytes(file).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretMissing(f"cannot read {file}: {getattr(error, 'strerror', None) or 'not text'}") from None
    if not text:
        raise SecretMissing(f"{file} is empty")
    return text


class AccountState(NamedTuple):
    """What the configuration alone says of an account. `source` is where its token comes from."""

    account: str
    enabled: bool
    configured: bool
    source: str

    @property
    def word(self) -> str:
        if not self.enabled:
            return "disabled"
        return "configured" if self.configured else "not configured"


def configured_accounts(channel: str, section: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The accounts a channel has, one of the environment among them."""
    from_env = any(environ.get(name) for name in ENVIRONMENT_TOKENS.get(channel, {}).values())
    return listed_accounts(channel, section, extra_default=from_env)


def listed_accounts(channel: str, section: Mapping[str, Any], *, extra_default: bool = False) -> tuple[str, ...]:
    """The accounts of a channel as its platform's list has always shown them (RULES 2, D5).

    IRC and Telegram show normalised ids; LINE keeps the order of the file and shows nothing where nothing is named.
    """
    found = account_ids(section, extra_default=extra_default)
    if channel in ("irc", "telegram"):
        return accounts.account_ids({"accounts": dict.fromkeys(found)})
    if channel == "line":
        named = section.get("accounts")
        order = [str(key) for key in named] if isinstance(named, Mapping) else []
        return tuple(
            sorted((one for one in found if one in order or has_root_login(section)), key=[*order, *found].index)
        )
    return found


def account_state(channel: str, section: Mapping[str, Any], account: str, environ: Mapping[str, str]) -> AccountState:
    """Whether an account could run, without asking anybody."""
    settings = account_settings(channel, section, account)
    enabled = section.get("enabled") is not False and settings.get("enabled") is not False
    source = _token_source(channel, settings, account, environ)
    return AccountState(account, enabled, source != "none", source)


def _token_source(channel: str, settings: Mapping[str, Any], account: str, environ: Mapping[str, str]) -> str:
    if settings.get("bridge"):
        return "config"  # the login is the bridge's own
    if channel == "irc":
        return "config" if settings.get("host") and settings.get("nick") else "none"
    if settings.get("tokenFile"):
        return "tokenFile"
    for key in TOKEN_KEYS.get(channel, ("authDir", "account", "httpUrl", "cliPath", "token"))[:1]:
        value = settings.get(key)
        if value and not (isinstance(value, str) and has_variable(value)):
            return "config"
        name = ENVIRONMENT_TOKENS.get(channel, {}).get(key, "")
        if normalize_account_id(account) == DEFAULT_ACCOUNT_ID and environ.get(name):
            return "env"
    return "none"
