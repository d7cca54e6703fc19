"""What is in its normal form stays as it is: normalising twice is normalising once, wherever ids come together."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol import ids, sandbox, session_key, skills, tool_policy
from protocol.accounts import account_ids, default_account_id
from protocol.config import Binding, Match, PeerMatch
from router import routing
from router.access.entries import normalize, texts

TEXTS = st.text(max_size=20) | st.sampled_from(
    [" Main ", "__proto__", "İstanbul", "ẞ", "agent:", "agent:A:Main", "MAIN"]
)
#: Parts of keys. Empty ones, and blanks around one, are read in one way and stored in another, as in the original.
PARTS = st.sampled_from(["agent", "A", "main", "Home", "thread", "Grüße", "İ", "#room", "+1 5"]) | st.text(
    st.characters(exclude_characters=":", exclude_categories=["Cs", "Z", "C"]), min_size=1, max_size=8
)
KEYS = st.builds(
    lambda before, parts, after: before + ":".join(parts) + after,
    st.sampled_from(["", " "]),
    st.lists(PARTS, max_size=6),
    st.sampled_from(["", " "]),
)
CHANNELS = st.sampled_from(["telegram", "whatsapp", "discord", "signal", "irc", "slack"])
PREFIXES = st.sampled_from(["", "tg:", "TELEGRAM:", "whatsapp:", "discord:", "user:", "signal:", "uuid:", "irc:", " "])
ENTRIES = st.sampled_from(
    ["123", "+1 (555) 123", "5@g.us", "Nick!u@h", "6F1F7C52-0000-4000-8000-00000000ABCD", "x", ""]
)


@settings(deadline=None)
@given(TEXTS)
def test_ids_accounts_channels_main_keys_and_tools(text: str) -> None:
    for normal in (
        ids.normalize_agent_id,
        ids.normalize_account_id,
        ids.normalize_channel,
        ids.normalize_main_key,
        tool_policy.normalize,
    ):
        assert normal(normal(text)) == normal(text), normal.__name__
    optional = ids.normalize_optional_account_id(text)
    assert ids.normalize_optional_account_id(optional) == optional


@settings(deadline=None)
@given(TEXTS, KEYS, st.none() | PARTS)
def test_session_keys(agent: str, key: str, main_key: str | None) -> None:
    """A stored key, a main session by any name, a key without its thread."""
    stored = session_key.store_key(agent, key, main_key)
    assert session_key.store_key(agent, stored, main_key) == stored
    canonical = session_key.canonical_main_key(agent, key, main_key=main_key)
    assert session_key.canonical_main_key(agent, canonical, main_key=main_key) == canonical
    if parsed := session_key.parse_key(stored):
        assert session_key.parse_key(f"agent:{parsed.agent}:{parsed.rest}") == parsed
    assert session_key.owner_of(f"agent:{session_key.owner_of(key)}:x") == session_key.owner_of(key)
    base, thread = session_key.split_thread(key)
    assert thread is None or session_key.split_thread(f"{base}:thread:{thread}") == (base, thread)


@settings(deadline=None)
@given(TEXTS | KEYS, st.sampled_from(["session", "agent", "shared"]))
def test_scopes_of_sandboxes(key: str, scope: sandbox.Scope) -> None:
    """A container is found again by the name of what it belongs to."""
    scoped = sandbox.scope_key(scope, key)
    assert sandbox.scope_key("session", scoped) == scoped
    assert sandbox.slug(f" {scoped} ") == sandbox.slug(scoped)


@settings(deadline=None)
@given(CHANNELS, st.builds("{}{}".format, PREFIXES, ENTRIES) | st.just("<@!5>"))
def test_allow_entries(channel: str, entry: str) -> None:
    """As people write them: plain, with a prefix, or as a mention. With two of these an entry is nobody's."""
    once = normalize(channel, entry)
    assert normalize(channel, once) == once


@settings(deadline=None)
@given(st.lists(TEXTS | st.integers() | st.none(), max_size=5))
def test_lists_of_entries_and_of_names(entries: list[str | int | None]) -> None:
    assert texts(texts(entries)) == texts(entries)
    allowed = skills.allowlist(texts(entries), None)
    assert skills.allowlist(allowed, None) == allowed
    expanded = tool_policy.expand(texts(entries))
    assert tool_policy.expand(expanded) == expanded


@settings(deadline=None)
@given(st.dictionaries(TEXTS, st.just({}), max_size=4), TEXTS)
@example({"E": {}, "À": {}}, "")
def test_accounts_of_a_channel(accounts: dict[str, dict[str, str]], default: str) -> None:
    section = {"accounts": accounts, "defaultAccount": default}
    again = {"accounts": {name: {} for name in account_ids(section)}, "defaultAccount": default_account_id(section)}
    assert (account_ids(again), default_account_id(again)) == (account_ids(section), default_account_id(section))


SPELT = st.builds(
    lambda before, word, after: before + word + after,
    st.sampled_from(["", " ", "\t"]),
    st.sampled_from(["direct", "DM", "Group", "channel", "x", "*", "A1", "-100"]),
    st.sampled_from(["", " "]),
)


@settings(deadline=None)
@given(SPELT, SPELT, SPELT, SPELT, SPELT)
def test_peers_of_bindings_and_of_messages(channel: str, kind: str, id: str, account: str, other: str) -> None:
    """A binding and a message written in their normal form meet exactly where they met as written."""
    bound = Binding(agent_id="b", match=Match(channel=channel, peer=PeerMatch(kind=kind, id=id), account_id=account))
    clean = Binding(
        agent_id="b",
        match=Match(
            channel=ids.normalize_channel(channel),
            peer=PeerMatch(kind=kind.strip().lower(), id=id.strip()),
            account_id="*" if account.strip() == "*" else ids.normalize_account_id(account),
        ),
    )
    for peer in ((kind, id), (kind.strip().lower(), id.strip()), (kind, other)):
        asked = routing.RouteInput(channel=channel, account=account, peer=peer)
        found = [
            routing.resolve(routing.build([one], agents=("a", "b"), default_agent="a", default_accounts={}), asked)
            for one in (bound, clean)
        ]
        assert found[0] == found[1]
