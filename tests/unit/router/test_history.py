"""What a group wrote since the last answer: in order, once, and bounded whatever strangers write."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from protocol.envelope import Address, Earlier, Inbound, Media, Peer, Sender
from router import history


def one(id: str, text: str = "hi") -> Earlier:
    return Earlier(message_id=id, sender=Sender("u"), text=text, at=1.0)


def ids(kept: history.History, key: str = "k", limit: int = 50) -> list[str]:
    return [found.message_id for found in kept.waiting(key, limit)]


def test_the_newest_are_kept_oldest_first_and_a_repeat_changes_nothing() -> None:
    kept = history.History()
    for id in ("1", "2", "2", "3", "1"):
        kept.keep("k", one(id), 2)
    assert ids(kept) == ["3", "1"]
    assert ids(kept, limit=1) == ["1"]
    assert kept.waiting("other", 50) == ()


def test_what_was_handed_on_does_not_come_back_when_the_platform_repeats_it() -> None:
    kept = history.History()
    for id in ("1", "2", "3"):
        kept.keep("k", one(id), 50)
    assert [found.message_id for found in kept.waiting("k", 50, {"3"})] == ["1", "2"]
    kept.forget("k", ["2"])
    kept.keep("k", one("2"), 50)
    assert ids(kept) == ["3"]


def test_a_limit_of_none_keeps_nothing() -> None:
    kept = history.History()
    kept.keep("k", one("1"), 50)
    kept.keep("k", one("2"), 0)
    assert ids(kept) == [] and kept.waiting("k", 0) == ()
    assert kept.size == 0


def test_limits_come_from_the_first_that_is_set() -> None:
    assert history.limit_of("telegram", None, None) == 50
    assert history.limit_of("discord") == 20
    assert history.limit_of("discord", None, 7, 9) == 7
    assert history.limit_of("telegram", 0, 9) == 0


def test_a_message_without_text_says_what_it_carried_and_a_long_one_is_cut() -> None:
    inbound = Inbound(
        channel="telegram", account="a", message_id="1", peer=Peer("group", "-1"), sender=Sender("u", "n" * 999),
        text="", at=1.0, reply=Address("telegram", "a", "-1"), media=(Media("image"),),
    )  # fmt: skip
    assert history.earlier(inbound).text == "<media:image>"
    assert len(history.earlier(inbound).sender.name) == 200
    long = history.earlier(msgspec.structs.replace(inbound, text="x" * 9999))
    assert len(long.text) == history.MAX_TEXT and long.text.endswith(history.CUT)
    assert history.key_of(inbound) == "telegram:a:group:-1"


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5000), st.booleans()), max_size=150))
def test_memory_is_bounded_and_counted_right(steps: list[tuple[int, int, bool]]) -> None:
    kept = history.History(total=30_000)
    for number, (talk, size, forget) in enumerate(steps):
        key = f"k{talk}"
        kept.keep(key, one(str(number), "x" * min(size, history.MAX_TEXT)), 50)
        if forget:
            kept.forget(key, [found.message_id for found in kept.waiting(key, 3)])
        real = sum(
            len(found.text) + history.OVERHEAD for talk in range(21) for found in kept.waiting(f"k{talk}", 10_000)
        )
        assert kept.size == real <= 30_000
