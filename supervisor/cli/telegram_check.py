"""Asks Telegram whose token this is, once, before it is stored. The token never shows in what is said."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from protocol.errors import UserError

API_ROOT = "https://api.telegram.org"
_TIMEOUT = 10.0
_MAX_ANSWER = 64 * 1024


def login_name(settings: Mapping[str, Any], token: str) -> str:
    """`@name_bot`. Raises UserError when Telegram refuses the token or cannot be asked."""
    root = str(settings.get("apiRoot") or API_ROOT).rstrip("/")
    answer = _ask(f"{root}/bot{token}/getMe", root, settings.get("proxy"))
    result = answer.get("result")
    if answer.get("ok") is True and isinstance(result, dict) and result.get("is_bot"):
        return f"@{result.get('username', '')}"
    reason = str(answer.get("description") or "an answer that is not Telegram's")[:200].replace(token, "…")
    hint = "get a new token from @BotFather: /token" if answer.get("error_code") in (401, 404) else None
    raise UserError(f"Channel login failed: Telegram says: {reason}", where=root, hint=hint)


def _ask(url: str, root: str, proxy: Any) -> dict[str, Any]:
    try:
        with _opener(root, proxy).open(url, timeout=_TIMEOUT) as response:
            data = response.read(_MAX_ANSWER)
    except urllib.error.HTTPError as error:
        with error:
            data = error.read(_MAX_ANSWER)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        hint = "the same command with --no-verify stores it untried"
        raise UserError(f"Channel login failed: Telegram cannot be asked: {reason}", where=root, hint=hint) from None
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token must not follow a redirect to somebody else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _opener(root: str, proxy: Any) -> urllib.request.OpenerDirector:
    host = urllib.parse.urlsplit(root).hostname or ""
    proxies = {"http": proxy, "https": proxy} if isinstance(proxy, str) and proxy else None
    if proxies is None and host in ("127.0.0.1", "::1", "localhost"):
        proxies = {}
    return urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _NoRedirect())
