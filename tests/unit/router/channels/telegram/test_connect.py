"""The decisions of the Telegram connection that need no server."""

from __future__ import annotations

import msgspec
import pytest

from protocol.errors import UserError
from router.channels.base import SendDelayed, SendRefused
from router.channels.telegram import create
from router.channels.telegram.connect import LONGEST_PAUSE, decode_updates, html_fits, pause_after, send_error
from router.channels.telegram.search import same_text
from router.channels.telegram.wire import ApiError


def test_pauses_grow_and_are_spread_by_chance() -> None:
    """Doubling from half a second, never beyond the longest, at least half of it."""
    assert [pause_after(n, 1.0) for n in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert pause_after(500, 1.0) == LONGEST_PAUSE
    assert pause_after(500, 0.0) == LONGEST_PAUSE / 2


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (400, "Bad Request: message is too long", SendRefused),
        (400, "Bad Request: chat not found", SendRefused),
        (403, "Forbidden: bot was blocked by the user", SendRefused),
        (401, "Unauthorized", SendDelayed),
        (429, "Too Many Requests: retry after 3", SendDelayed),
    ],
)
def test_what_a_refusal_means_for_the_message(code: int, text: str, kind: type[Exception]) -> None:
    """The message is at fault, or the account is."""
    assert type(send_error(ApiError(code, text, 3.0, None))) is kind


def test_one_unreadable_update_does_not_hide_the_others() -> None:
    """It stays as an empty update, so that its id is confirmed."""
    body = b'[{"update_id":1,"message":{"message_id":"x"}},{"update_id":2,"message":null}]'
    assert [(u.update_id, u.message) for u in decode_updates(msgspec.Raw(body))] == [(1, None), (2, None)]


def test_html_that_shows_nothing_or_too_much_does_not_fit() -> None:
    """The limit is in UTF-16 units of what people see."""
    assert html_fits("<b>" + "x" * 4096 + "</b>")
    assert not html_fits("x" * 4097) and not html_fits("😀" * 2049) and not html_fits("<pre></pre> ")


def test_the_same_text_is_known_rendered_or_plain() -> None:
    """White space is not compared, since Telegram trims it."""
    assert same_text("bold & co", " **bold** &\nco ") and same_text("**bold**", "**bold**")
    assert not same_text("bold", "other")


@pytest.mark.parametrize("token", [None, "", 12345678, "SECRET/b", "SECRET y", "SECRET" * 99])
def test_an_account_without_a_usable_token_is_the_operator_s_mistake(token: object) -> None:
    """The error names the path and shows nothing of the value."""
    with pytest.raises(UserError) as error:
        create("telegram", "work", {"botToken": token})
    assert error.value.where == "$.channels.telegram.accounts.work.botToken"
    assert "SECRET" not in str(error.value) and "12345678" not in str(error.value)


async def test_settings_reach_the_capabilities() -> None:
    """`textChunkLimit` counts up to what Telegram can take; the repr shows state and no token."""
    assert create("telegram", "work", {"botToken": "1:SECRET"}).capabilities.text_limit == 4000
    channel = create("telegram", "work", {"botToken": "1:SECRET", "textChunkLimit": 9000})
    assert channel.capabilities.text_limit == 4096 and channel.capabilities.can_confirm
    assert repr(channel) == "<TelegramChannel work ? not receiving>"
