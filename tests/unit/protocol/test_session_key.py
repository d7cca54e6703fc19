"""Session keys (RULES 3.3; the single cases are held by the vectors)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import session_key as keys

names = st.text(alphabet="abXY7+@._ -", max_size=12)
kinds = st.sampled_from(["direct", "group", "channel"])


@settings(deadline=None)
@given(names, names, names, kinds, names, st.sampled_from(["main", "per-peer", "per-channel-peer"]))
def test_every_key_made_can_be_read_and_belongs_to_its_agent(
    agent: str, channel: str, account: str, kind: str, peer: str, scope: keys.DmScope
) -> None:
    """And is lower case."""
    key = keys.conversation_key(agent, channel, account, (kind, peer), dm_scope=scope)
    assert key == key.lower()
    assert keys.key_shape(key) == "agent"
    assert keys.owner_of(key) == keys.owner_of(keys.main_session_key(agent))


@settings(deadline=None)
@given(names, names.filter(str.strip))
def test_a_thread_leads_back_to_its_conversation(peer: str, thread: str) -> None:
    """The parent is only named where there is a thread."""
    base = keys.peer_session_key("main", "slack", None, "channel", peer)
    made = keys.thread_session_keys(base, thread, parent="p")
    assert keys.split_thread(made.session) == (base, thread.strip().lower())
    assert made.parent == "p"
    assert keys.thread_session_keys(base, " ", parent="p") == (base, None)
    assert keys.thread_session_keys(base, thread, use_suffix=False).session == base


@pytest.mark.parametrize(
    ("text", "shape", "owner"),
    [
        (None, "missing", "main"),
        ("agent:Work:main", "agent", "work"),
        ("agent::x", "malformed_agent", "main"),
        ("main", "legacy_or_alias", "main"),
    ],
)
def test_a_text_from_outside_is_told_by_its_shape(text: str | None, shape: str, owner: str) -> None:
    """What is no key belongs to `main`."""
    assert (keys.key_shape(text), keys.owner_of(text)) == (shape, owner)


@pytest.mark.parametrize("alias", ["main", "home", "agent:work:home", "agent:work:main", "agent:main:main", " main "])
def test_every_spelling_of_the_main_session_is_one_key(alias: str) -> None:
    """Or the global session where all share one."""
    assert keys.canonical_main_key("work", alias, main_key="home") == "agent:work:home"
    assert keys.canonical_main_key("work", alias, main_key="home", scope="global") == "global"


def test_a_request_may_name_a_session_shortly_or_in_full() -> None:
    """And the short form is what the agent itself would say."""
    assert keys.store_key("work", "Direct:7") == "agent:work:direct:7"
    assert keys.store_key("work", "agent:Fam:Direct:7") == "agent:fam:direct:7"
    assert keys.store_key("work", None, "Home") == "agent:work:home"
    assert keys.request_key("agent:work:direct:7") == "direct:7"
    assert keys.request_key(" ") is None


def test_the_first_name_in_the_config_joins_identities() -> None:
    """Entries that are no text are skipped."""
    links = {" ": ["7"], "odd": 7, "Ann": [7, " Telegram:7 "], "bob": ["7"]}
    assert keys.canonical_peer("telegram", "7", links) == "ann"
    assert keys.canonical_peer("irc", "7", links) == "bob"
    assert keys.canonical_peer("irc", "8", links) == "8"


def test_the_history_of_a_group_belongs_to_an_account() -> None:
    """Two bots in one group hear different things."""
    assert keys.group_history_key(" IRC", "Work", "group", "#Room") == "irc:work:group:#room"


def test_a_thread_is_found_behind_letters_that_grow_in_lower_case() -> None:
    """The dotted capital I of Turkish is two characters in lower case."""
    assert keys.split_thread("İİ:THREAD:7") == ("İİ", "7")
    assert keys.split_thread("a:thread:thread:7") == ("a:thread", "7")
