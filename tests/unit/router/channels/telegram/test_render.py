"""Markdown to Telegram's HTML: what people see, and that the server always takes it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.channels.telegram.render import render, strip
from tests.support.telegram_html import parse

CASES = [
    ("# Title **x** #", "Title <b>x</b>"),
    ("**b** _i_ *k* `c<d`", "<b>b</b> <i>i</i> <i>k</i> <code>c&lt;d</code>"),
    ("~~s~~ ||sp||", "<s>s</s> <tg-spoiler>sp</tg-spoiler>"),
    ("***both***", "<b><i>both</i></b>"),
    ("**a _b_ c**", "<b>a <i>b</i> c</b>"),
    ("snake_case_name, 2*3*4, 2 * 3 * 4", "snake_case_name, 2*3*4, 2 * 3 * 4"),
    ("- x\n  * y\n1. z", "• x\n  • y\n1. z"),
    ("> q1\n> **q2**\nafter", "<blockquote>q1\n<b>q2</b></blockquote>\nafter"),
    ("```py\na < b\n```\nend", '<pre><code class="language-py">a &lt; b</code></pre>\nend'),
    ("```\nnever closed **x**", "<pre><code>never closed **x**</code></pre>"),
    ("| a | b |\n|---|:-:|\n| 1 | 22 |\nx", "<pre>a | b\n--+---\n1 | 22</pre>\nx"),
    (
        '[l **b**](https://e.com/a_(b)?x=1&y="2")',
        '<a href="https://e.com/a_(b)?x=1&amp;y=&quot;2&quot;">l <b>b</b></a>',
    ),
    ("[m](mailto:a@b.c) [t](tg://user?id=1)", '<a href="mailto:a@b.c">m</a> <a href="tg://user?id=1">t</a>'),
    ("[bad](javascript:alert(1)) [f](file:///etc)", "[bad](javascript:alert(1)) [f](file:///etc)"),
    ("<https://a.b/c?d&e>", "https://a.b/c?d&amp;e"),
    ("**open and _never closed", "**open and _never closed"),
    ("**crossed _over** here_", "<b>crossed _over</b> here_"),
    ("a & b < c > d", "a &amp; b &lt; c &gt; d"),
    ("\\*not\\* \\_this\\_", "*not* _this_"),
    ("* * *\n---\n****", "* * *\n---\n****"),
    ("<b>raw</b> <script>", "&lt;b&gt;raw&lt;/b&gt; &lt;script&gt;"),
    ("", ""),
]


@pytest.mark.parametrize(("markdown", "html"), CASES)
def test_markdown_becomes_this_html(markdown: str, html: str) -> None:
    """Each construct has exactly one rendering."""
    assert render(markdown) == html


MARKDOWN = st.text(alphabet=st.sampled_from("ab 1\n\t*_~|`[]()<>&\"'#->+\\:/.!é😀"), max_size=200)
BLOCKS = ["```", "[x](https://a.b)", "[", "](", "> ", "- ", "# ", "|", "|-|", "\n", " ", "a", "<", "&amp;"]
WORDS = st.sampled_from(["**", "_", "`", "~~", "||", *BLOCKS])


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=300), MARKDOWN, st.lists(WORDS, max_size=60).map("".join)))
def test_any_text_becomes_html_that_the_server_takes(text: str) -> None:
    """Nothing a model writes can be refused for its markup, and what the server shows is what `strip` says."""
    html = render(text)
    shown, _ = parse(html)
    assert "".join(shown.split()) == "".join("".join(c if c >= " " else " " for c in strip(html)).split())


PLAIN = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="*_~|`[]()<>#-+\\", exclude_categories=["Cc", "Cs"])
)


@settings(max_examples=200, deadline=None)
@given(PLAIN)
def test_plain_text_keeps_every_character(text: str) -> None:
    """Where there is no markup, people see exactly what was written."""
    assert strip(render(text)) == text
    assert parse(render(text))[0] == text.strip()


@settings(max_examples=200, deadline=None)
@given(MARKDOWN)
def test_letters_are_never_lost(text: str) -> None:
    """Rendering may take marks away, never letters or digits outside a link's target or a fence's language."""
    if "```" in text or "~~~" in text or "](" in text:
        return
    kept = [c for c in strip(render(text)) if c.isalnum()]
    assert kept == [c for c in text if c.isalnum()]


def test_a_surrogate_alone_does_not_break_it() -> None:
    """Half a character, as broken JSON can bring it, becomes a replacement character."""
    assert render("a\ud800b") == "a\ufffdb"


SEEDS = ["*", "`a ", "[a](", "_a ", "**a __b ", "|", "> ", "# \t ", "~~a||b", "[a]((", "`` ` "]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_text_takes_long(seed: str) -> None:
    """Work grows with the length of the text, whatever is in it."""
    text = (seed * 32_000)[:32_000]
    started = time.process_time()
    render(text)
    render(text + "\n|-|\n" + text)
    assert time.process_time() - started < 2.0


def test_a_wide_table_is_left_as_it_came() -> None:
    """Lining up columns may not blow a message up beyond what can be sent."""
    table = "| a | b |\n|---|---|\n" + "| x | " + "y" * 300 + " |\n" + "| x | y |\n" * 40
    assert strip(render(table)).startswith("| a | b |\n|---|---|")
