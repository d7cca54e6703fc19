"""The webchat page in real Chromium, against the real listener and a desk that echoes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from protocol.control import AccountStatus
from protocol.errors import Temporary, UserError
from protocol.messages import HistoryEntry
from router.web.events import AgentView, Doing, Growing, Said
from router.web.server import WebServer
from tests.support.chromium import open_browser
from tests.support.fake_desk import FakeDesk

TOKEN = "the-right-token-of-this-test"
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}

expect.set_options(timeout=10_000)


class Place:
    """A browser beside a running server, which can be stopped and started again on its port."""

    def __init__(self, browser: Browser, desk: FakeDesk) -> None:
        self.browser = browser
        self.desk = desk
        self.port = 0
        self.server: WebServer | None = None
        self.complaints: list[str] = []

    async def start(self, token: str = TOKEN) -> None:
        self.server = WebServer("127.0.0.1", self.port, token, self.desk)
        _, self.port = await self.server.start()

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop()
            self.server = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def context(self, **options: Any) -> BrowserContext:
        return await self.browser.new_context(**options)

    async def open(self, fragment: str = f"#token={TOKEN}", **options: Any) -> Page:
        """The page, with every script error and every blocked script noted."""
        page = await (await self.context(**options)).new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda line: self._note(line.text))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        await page.goto(self.url + fragment)
        return page

    def _note(self, line: str) -> None:
        if "Content Security Policy" in line or "Uncaught" in line:
            self.complaints.append(line)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    desk = FakeDesk()
    async with open_browser() as browser:
        place = Place(browser, desk)
        await place.start()
        yield place
        await place.stop()
    await desk.close()
    assert place.complaints == []


async def _say(page: Page, text: str) -> None:
    await page.get_by_label("Message").fill(text)
    await page.keyboard.press("Enter")


def _answer(page: Page, number: int = -1) -> Any:
    return page.locator(".turn").nth(number).locator(".text")


# --- talking -----------------------------------------------------------------------------------------------------


async def test_an_answer_is_seen_to_grow(place: Place) -> None:
    """Text shows while it comes, then whole; nothing is asked twice."""
    page = await place.open()
    await expect(page.locator("#status")).to_have_text("Connected")
    place.desk.open_gate.clear()
    await _say(page, "hello out there")
    await expect(page.locator(".bubble")).to_have_text("hello out there")
    await expect(_answer(page)).to_have_text("You")
    await expect(page.locator(".text.growing")).to_be_visible()
    place.desk.open_gate.set()
    await expect(_answer(page)).to_have_text("You said: hello out there")
    await expect(page.locator(".growing")).to_have_count(0)
    await expect(page.locator(".turn")).to_have_count(1)
    assert len(place.desk.submitted) == 1


async def test_a_running_tool_is_shown(place: Place) -> None:
    page = await place.open()
    await _say(page, "/run ls")
    await expect(page.locator(".tool")).to_have_text("exec ls")
    await expect(_answer(page)).to_have_text("You said: /run ls")


async def test_shift_enter_makes_a_line_and_enter_sends(place: Place) -> None:
    page = await place.open()
    box = page.get_by_label("Message")
    await box.fill("one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("two")
    await page.keyboard.press("Enter")
    await expect(page.locator(".bubble")).to_have_text("one\ntwo")
    await expect(box).to_have_value("")


async def test_enter_belongs_to_the_input_method_while_it_composes(place: Place) -> None:
    """Korean and Japanese writers press Enter to take a syllable."""
    page = await place.open()
    await page.get_by_label("Message").fill("한")
    await page.evaluate(
        "document.getElementById('text').dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))"
    )
    await expect(page.get_by_label("Message")).to_have_value("한")
    assert place.desk.submitted == {}


async def test_several_messages_keep_their_answers(place: Place) -> None:
    page = await place.open()
    for text in ("first", "second", "third"):
        await _say(page, text)
    for number, text in enumerate(("first", "second", "third")):
        await expect(page.locator(".bubble").nth(number)).to_have_text(text)
        await expect(_answer(page, number)).to_have_text(f"You said: {text}")


async def test_each_agent_has_its_own_conversation(place: Place) -> None:
    page = await place.open()
    await _say(page, "for main")
    await expect(_answer(page)).to_have_text("You said: for main")
    await page.get_by_role("button", name="Family Bot").click()
    await expect(page.get_by_role("heading", name="Say hello to Family Bot")).to_be_visible()
    await expect(page.locator(".turn")).to_have_count(0)
    await _say(page, "for family")
    await expect(_answer(page)).to_have_text("You said: for family")
    await page.get_by_role("button", name="Main").click()
    await expect(page.locator(".bubble")).to_have_text("for main")


async def test_a_message_from_another_channel_shows_who_and_where(place: Place) -> None:
    page = await place.open()
    await expect(page.locator("#status")).to_have_text("Connected")
    place.desk.hear("main", "tg-1", "from my phone", sender="Anna", channel="telegram")
    await expect(page.locator(".from")).to_contain_text("Anna · telegram")
    await expect(_answer(page)).to_have_text("You said: from my phone")


async def test_a_turn_that_failed_says_why(place: Place) -> None:
    place.desk.open_gate.clear()
    page = await place.open()
    await _say(page, "try")
    await expect(_answer(page)).to_have_text("You")
    place.desk.end("main", "web-1", "failed", "the model refused the key")
    await expect(page.locator(".note")).to_have_text("This turn failed: the model refused the key")


# --- coming back -------------------------------------------------------------------------------------------------


async def test_a_reload_shows_the_history(place: Place) -> None:
    """Once, in order, without asking for the token again."""
    page = await place.open()
    await _say(page, "remember me")
    await expect(_answer(page)).to_have_text("You said: remember me")
    await page.reload()
    await expect(page.locator(".bubble")).to_have_text("remember me")
    await expect(_answer(page)).to_have_text("You said: remember me")
    await expect(page.locator(".turn")).to_have_count(1)


async def test_a_reload_in_the_middle_of_an_answer_goes_on_with_it(place: Place) -> None:
    page = await place.open()
    place.desk.open_gate.clear()
    await _say(page, "wait for it")
    await expect(_answer(page)).to_have_text("You")
    await page.reload()
    await expect(_answer(page)).to_have_text("You")
    place.desk.open_gate.set()
    await expect(_answer(page)).to_have_text("You said: wait for it")
    await expect(page.locator(".turn")).to_have_count(1)


async def test_the_page_reconnects_after_a_restart_and_shows_what_it_missed(place: Place) -> None:
    page = await place.open()
    await _say(page, "before")
    await expect(_answer(page)).to_have_text("You said: before")
    await place.stop()
    await expect(page.locator("#status")).to_contain_text("Reconnecting in")
    place.desk.hear("main", "tg-1", "meanwhile", sender="Anna", channel="telegram")
    await place.start()
    await expect(page.locator("#status")).to_have_text("Connected", timeout=20_000)
    await expect(page.locator(".bubble")).to_have_text(["before", "meanwhile"])
    await expect(_answer(page)).to_have_text("You said: meanwhile")


async def test_a_message_typed_while_the_gateway_is_away_goes_out_later(place: Place) -> None:
    """By itself, once, and a reload in between does not lose it."""
    page = await place.open()
    await expect(page.locator("#status")).to_have_text("Connected")
    await place.stop()
    await _say(page, "are you there?")
    await expect(page.locator(".state")).to_contain_text("Not sent yet")
    await expect(page.get_by_role("button", name="Send again")).to_be_visible()
    await place.start()
    await page.reload()
    await expect(_answer(page)).to_have_text("You said: are you there?", timeout=20_000)
    await expect(page.locator(".bubble")).to_have_count(1)
    assert len(place.desk.submitted) == 1


async def test_sending_again_uses_the_same_key(place: Place) -> None:
    """So that a message whose first answer was lost is not there twice."""
    keys: list[str] = []
    page = await place.open()
    page.on("request", lambda request: keys.append(request.post_data_json["key"]) if request.method == "POST" else None)
    place.desk.refuse = Temporary("the disk is full")
    await _say(page, "once only")
    await expect(page.locator(".state")).to_contain_text("Not sent yet")
    place.desk.refuse = None
    await page.get_by_role("button", name="Send again").click()
    await expect(_answer(page)).to_have_text("You said: once only")
    assert len(keys) == 2 and keys[0] == keys[1]


async def test_a_message_refused_for_now_goes_out_by_itself(place: Place) -> None:
    """Also while the event stream stays connected, after the time that the gateway named."""
    page = await place.open()
    place.desk.refuse = Temporary("the disk is full", retry_after=1)
    await _say(page, "patience")
    await expect(page.locator(".state")).to_contain_text("Not sent yet")
    place.desk.refuse = None
    await expect(_answer(page)).to_have_text("You said: patience")
    assert len(place.desk.submitted) == 1


async def test_a_refused_message_says_why_and_can_be_removed(place: Place) -> None:
    page = await place.open()
    place.desk.refuse = UserError("this agent takes no messages", hint="openclaw agents list")
    await _say(page, "hello")
    told = "Not sent: this agent takes no messages (openclaw agents list)"
    await expect(page.locator(".state")).to_contain_text(told)
    await page.get_by_role("button", name="Remove").click()
    await expect(page.locator(".bubble")).to_have_count(0)
    await page.reload()
    await expect(page.get_by_role("heading", name="Say hello to Main")).to_be_visible()


async def test_without_the_worker_waiting_messages_are_still_shown(place: Place) -> None:
    place.desk.open_gate.clear()
    page = await place.open()
    await _say(page, "anybody?")
    await expect(_answer(page)).to_have_text("You")
    place.desk.silent = True
    await page.reload()
    await expect(page.locator("#banner")).to_contain_text("the worker did not answer in time")
    await expect(page.locator(".bubble")).to_have_text("anybody?")


async def test_a_gap_in_live_text_is_mended_by_the_whole_answer(place: Place) -> None:
    """Live text is lossy; offsets count characters, not UTF-16 units."""
    page = await place.open()
    await expect(page.locator("#status")).to_have_text("Connected")
    publish = place.desk.feed.publish
    publish("main", Doing(id="x", doing="model"))
    publish("main", Growing(id="x", seq=0, offset=0, text="🦞🦞 one"))
    publish("main", Growing(id="x", seq=0, offset=6, text=" two"))
    await expect(_answer(page)).to_have_text("🦞🦞 one two")
    publish("main", Growing(id="x", seq=0, offset=30, text="four"))
    await expect(_answer(page)).to_have_text("🦞🦞 one two … four")
    publish("main", Said(id="x", seq=0, text="🦞🦞 one two three four", at=time.time()))
    await expect(_answer(page)).to_have_text("🦞🦞 one two three four")


# --- the token ---------------------------------------------------------------------------------------------------


async def test_the_token_leaves_the_address_bar_at_once(place: Place) -> None:
    """FIELD S11: it stays in this tab's session storage only."""
    page = await place.open()
    await expect(page.locator("#status")).to_have_text("Connected")
    assert TOKEN not in page.url
    assert await page.evaluate("localStorage.length") == 0
    assert await page.evaluate("document.cookie") == ""
    await page.go_back()
    assert TOKEN not in page.url


async def test_a_wrong_token_is_told_and_the_right_one_opens(place: Place) -> None:
    page = await place.open(fragment="")
    await page.get_by_label("Access token").fill("wrong")
    await page.get_by_role("button", name="Open").click()
    await expect(page.get_by_role("alert")).to_have_text("That token was not accepted.")
    await page.get_by_label("Access token").fill(TOKEN)
    await page.keyboard.press("Enter")
    await expect(page.locator("#status")).to_have_text("Connected")
    assert "token" not in page.url


async def test_too_many_wrong_tokens_are_told(place: Place) -> None:
    page = await place.open(fragment="")
    for _ in range(11):
        await page.get_by_label("Access token").fill("wrong")
        await page.get_by_role("button", name="Open").click()
        await expect(page.get_by_role("alert")).not_to_have_text("")
    await expect(page.get_by_role("alert")).to_contain_text("Too many failed attempts. Try again in")


async def test_a_replaced_token_asks_for_the_new_one_at_once(place: Place) -> None:
    """FIELD S09."""
    page = await place.open()
    await expect(page.locator("#status")).to_have_text("Connected")
    assert place.server is not None
    place.server.rotate("the-new-token-of-this-test")
    await expect(page.get_by_role("alert")).to_have_text("The token has changed. Enter the new one.")


async def test_no_parameter_of_the_address_moves_the_page_elsewhere(place: Place) -> None:
    """FIELD S01: the token goes to the server that served the page and nowhere else."""
    asked: list[str] = []
    page = await (await place.context()).new_page()
    page.on("request", lambda request: asked.append(request.url))
    evil = "?gatewayUrl=http://evil.example&url=ws://evil.example"
    await page.goto(f"{place.url}{evil}#token={TOKEN}&gatewayUrl=http://evil.example")
    await expect(page.locator("#status")).to_have_text("Connected")
    assert asked and all(url.startswith(place.url) for url in asked)


# --- hostile text ------------------------------------------------------------------------------------------------

ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "[click](  JaVaScRiPt:alert(1))",
    "[click](data:text/html,<script>alert(1)</script>)",
    "![image](http://evil.example/pixel.png)",
    '[a](http://x" onmouseover="alert(1))',
    "`<svg onload=alert(1)>`",
    "```html\n</code></pre><script>alert(1)</script>\n```",
    "| a | b |\n|---|---|\n| <iframe src=javascript:alert(1)> | <b>x</b> |",
    "<style>body{display:none}</style><form action=http://evil.example><input></form>",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;b&#62;",
)


async def test_hostile_text_stays_text(place: Place) -> None:
    """As a message, as an answer, as a name: no element, no script, no request to elsewhere."""
    nasty = "<img src=x onerror=alert(1)>"
    place.desk.change(AgentView(id="main", name=nasty, emoji="<b>", is_default=True, state="trouble", detail=nasty))
    down = AccountStatus(channel=nasty, account=nasty, enabled=True, configured=True, running=True, connected=False)
    place.desk.account_list = [down]
    now = time.time()
    for number, attack in enumerate(ATTACKS):
        user = HistoryEntry(role="user", text=attack, at=now, id=str(number), sender=nasty, channel=nasty)
        tool = HistoryEntry(role="tool", text=f"{attack}\n{attack}", at=now, id=str(number))
        place.desk.entries["main"] += [user, tool, HistoryEntry(role="assistant", text=attack, at=now, id=str(number))]
    page = await place.open()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.reload()
    await expect(page.locator(".turn")).to_have_count(len(ATTACKS))
    await expect(page.locator(".bubble")).to_have_text(list(ATTACKS))
    foreign = "#log :is(script, img, svg, iframe, style, form, input, b), #side :is(script, b), #name *"
    assert await page.locator(foreign).count() == 0
    hrefs = await page.locator("#log a").evaluate_all("links => links.map(link => link.href)")
    assert all(href.startswith(("http://", "https://")) for href in hrefs)
    assert all(url.startswith(place.url) for url in asked)
    await expect(page.locator("#name")).to_have_text(nasty)


async def test_links_tell_nobody_where_they_were_clicked(place: Place) -> None:
    """FIELD S24: a link is never followed by itself, and carries no opener and no referrer."""
    place.desk.answers["links"] = "[docs](https://example.com/a?b=1&c=2) and https://example.org/x_y_z."
    page = await place.open()
    await _say(page, "links")
    links = page.locator(".text a")
    await expect(links).to_have_count(2)
    assert await links.evaluate_all("all => all.map(link => [link.href, link.rel, link.target, link.textContent])") == [
        ["https://example.com/a?b=1&c=2", "noopener noreferrer nofollow", "_blank", "docs"],
        ["https://example.org/x_y_z", "noopener noreferrer nofollow", "_blank", "https://example.org/x_y_z"],
    ]


MARKDOWN = """# Title
**bold** *it* _em_ ~~gone~~ `a*b*c` snake_case_name 2 * 3 * 4 \\*no\\*

1. one
2. two
   - inner

> quote

```python
x = "<b>"

y = 1
```

| h1 | h2 |
|----|----|
| a  | b  |

---
end"""

HTML = (
    '<h3 dir="auto">Title</h3>'
    '<p dir="auto"><strong>bold</strong> <em>it</em> <em>em</em> <s>gone</s> <code>a*b*c</code>'
    " snake_case_name 2 * 3 * 4 *no*</p>"
    '<ol start="1"><li dir="auto">one</li><li dir="auto">two<ul><li dir="auto">inner</li></ul></li></ol>'
    '<blockquote><p dir="auto">quote</p></blockquote>'
    '<div class="code"><div class="code-bar"><span>python</span><button type="button" class="copy">Copy</button></div>'
    '<pre tabindex="0"><code dir="ltr">x = "&lt;b&gt;"\n\ny = 1</code></pre></div>'
    '<div class="table" tabindex="0"><table><thead><tr><th dir="auto">h1</th><th dir="auto">h2</th></tr></thead>'
    '<tbody><tr><td dir="auto">a</td><td dir="auto">b</td></tr></tbody></table></div>'
    '<hr><p dir="auto">end</p>'
)
#: Shows `text` piece by piece as a stream does, `step` characters at a time.
RENDER = """async ([text, step]) => {
  const { update } = await import('/markdown.js');
  const box = document.createElement('div');
  for (let end = step; end < text.length; end += step) update(box, text.slice(0, end));
  update(box, text);
  return box.innerHTML;
}"""


@pytest.mark.parametrize("step", [1, 7, 10_000])
async def test_markdown_is_shown_the_same_at_once_or_growing(place: Place, step: int) -> None:
    page = await place.open()
    assert await page.evaluate(RENDER, [MARKDOWN, step]) == HTML


@pytest.mark.parametrize(
    "piece", ["*", "_", "**a ", "`", "[", "[a](", "> ", "- ", "|", "h", "https://", "~~~\n", "\\", "![](", "1. "]
)
async def test_no_text_makes_the_page_hang(place: Place, piece: str) -> None:
    """The worst a model can repeat is shown within two seconds."""
    page = await place.open()
    async with asyncio.timeout(4):
        took = await page.evaluate(
            """async (text) => {
              const { update } = await import('/markdown.js');
              const start = performance.now();
              update(document.createElement('div'), text);
              return performance.now() - start;
            }""",
            piece * (60_000 // len(piece)),
        )
    assert took < 2000


async def test_code_can_be_copied(place: Place) -> None:
    place.desk.answers["code"] = "```\nline 1\nline 2\n```"
    page = await place.open(permissions=["clipboard-read", "clipboard-write"])
    await _say(page, "code")
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == "line 1\nline 2"


# --- looking at it -----------------------------------------------------------------------------------------------


async def test_a_phone_never_scrolls_sideways(place: Place) -> None:
    """Not with long words, wide code or tables, nor with the menu open."""
    wide = "x" * 300
    place.desk.answers["wide"] = f"{wide}\n\n```\n{wide}\n```\n\n| {wide} | b |\n|---|---|\n| c | {wide} |\n\n- {wide}"
    page = await place.open(**PHONE)
    await _say(page, "wide")
    await expect(page.locator(".code")).to_be_visible()
    await _say(page, wide)
    await expect(page.locator(".bubble")).to_have_count(2)
    fits = "[document.documentElement, document.getElementById('scroll')].every(box => box.scrollWidth <= innerWidth)"
    assert await page.evaluate(fits)
    await page.get_by_role("button", name="Agents and channels").click()
    await expect(page.get_by_role("button", name="Family Bot")).to_be_visible()
    assert await page.evaluate(fits)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Family Bot")).to_be_hidden()


async def test_a_reader_who_scrolled_up_is_left_in_peace(place: Place) -> None:
    page = await place.open(viewport={"width": 900, "height": 500})
    place.desk.answers["long"] = "\n\n".join(f"paragraph {number}" for number in range(60))
    await _say(page, "long")
    await expect(_answer(page)).to_contain_text("paragraph 59")
    where = "(() => { const box = document.getElementById('scroll');"
    assert await page.evaluate(f"{where} return box.scrollHeight - box.scrollTop - box.clientHeight < 5 }})()")
    await page.evaluate(f"{where} box.scrollTop = 100 }})()")
    place.desk.hear("main", "tg-1", "news", channel="telegram")
    await expect(page.get_by_role("button", name="New messages")).to_be_visible()
    assert await page.evaluate(f"{where} return box.scrollTop }})()") == 100
    await page.get_by_role("button", name="New messages").click()
    await expect(page.get_by_text("You said: news")).to_be_in_viewport()


async def test_channels_and_troubles_are_told_in_words(place: Place) -> None:
    """Colour never carries the meaning alone."""
    up = AccountStatus(channel="telegram", account="ops", enabled=True, configured=True, running=True, connected=True)
    down = AccountStatus(channel="irc", account="default", enabled=True, configured=True, running=True, connected=False)
    place.desk.account_list = [up, msgspec.structs.replace(down, error="nick in use")]
    place.desk.change(AgentView(id="main", name="Main", is_default=True, state="trouble", detail="crashed 5 times"))
    page = await place.open()
    await expect(page.locator(".account")).to_contain_text(["telegram · ops connected", "irc disconnectednick in use"])
    await expect(page.locator("#banner")).to_have_text("Main is in trouble: crashed 5 times")
    place.desk.change(AgentView(id="main", name="Main", is_default=True))
    await expect(page.locator("#banner")).to_be_hidden()


async def test_an_empty_conversation_teaches(place: Place) -> None:
    page = await place.open()
    await expect(page.locator(".empty")).to_contain_text("offline model")
    await page.get_by_role("button", name="/tools").click()
    await expect(page.get_by_label("Message")).to_have_value("/tools")


async def test_the_page_can_be_used_from_the_keyboard(place: Place) -> None:
    """From the token to an answer without touching a mouse; what is read aloud is marked."""
    page = await place.open(fragment="")
    await page.keyboard.type(TOKEN)
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Message")).to_be_focused()
    await page.keyboard.type("hello")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("log")).to_contain_text("You said: hello")
    await expect(page.locator(".turn")).to_have_attribute("aria-busy", "false")
    unnamed = "all => all.filter(one => !one.textContent.trim()).length"
    assert await page.locator("button:not([aria-label])").evaluate_all(unnamed) == 0
