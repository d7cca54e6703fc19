"""Message ids as evidence: what an anchor is worth and where a lost send is looked for."""

from __future__ import annotations

from router.channels.telegram.marks import BEYOND, COUNTERS, PROBES, RECENT, Marks, Note

ANN, BOB, BASIC, BIG = 42, 43, -5, -1001234567890


def test_private_chats_and_basic_groups_share_a_counter() -> None:
    """A supergroup counts for itself."""
    marks = Marks()
    marks.acknowledge(ANN, 10)
    assert marks.note(BOB, 0.0) == Note(BOB, anchor=10, sure=True)
    assert marks.note(BASIC, 0.0).anchor == 10
    assert marks.note(BIG, 5.0) == Note(BIG, anchor=0, sure=False, at=5.0)


def test_a_backlog_makes_nothing_sure() -> None:
    """Messages from before the start may be older than answers of an earlier life."""
    marks = Marks()
    marks.begin(1000.0)
    marks.receive(ANN, 10, 1000)
    assert not marks.note(ANN, 0.0).sure
    marks.receive(BOB, 11, 1001)
    assert marks.note(ANN, 1002.5) == Note(ANN, anchor=11, sure=True, born=1000.0, at=1002.5)


def test_without_the_server_s_time_only_receipts_make_sure() -> None:
    """No Date header, no judgement by dates; and a later start changes nothing."""
    marks = Marks()
    marks.begin(None)
    marks.receive(ANN, 10, 9e9)
    assert not marks.note(ANN, 0.0).sure
    marks.begin(5.0)
    marks.begin(9e9)
    marks.receive(ANN, 11, 6)
    assert marks.note(ANN, 0.0).sure


def test_a_recovered_message_raises_the_anchor_but_is_not_proof() -> None:
    """It may be of an earlier life."""
    marks = Marks()
    marks.recover(ANN, 10)
    assert marks.note(ANN, 0.0) == Note(ANN, anchor=10, sure=False)


def test_a_sure_search_goes_up_from_the_anchor() -> None:
    """Ids known to this process are left out; the range ends well beyond the newest one."""
    marks = Marks()
    for number in (12, 13, 15):
        marks.receive(BOB, number, 0)
    assert list(marks.suspects(Note(ANN, anchor=10, sure=True))) == [11, 14, *range(16, 15 + BEYOND + 1)]


def test_an_unsure_search_goes_down_from_the_top() -> None:
    """The newest message of ours is the only candidate."""
    marks = Marks()
    marks.receive(BOB, 12, 0)
    assert list(marks.suspects(Note(ANN, anchor=10, sure=False))) == [*range(12 + BEYOND, 12, -1), 11]


def test_a_search_is_bounded() -> None:
    """However far the counter went on."""
    marks = Marks()
    marks.receive(ANN, 1_000_000, 0)
    for sure in (True, False):
        assert len(list(marks.suspects(Note(ANN, anchor=10, sure=sure)))) == PROBES


def test_nothing_seen_is_blind() -> None:
    """Then there is no place to begin."""
    marks = Marks()
    assert marks.blind(Note(ANN, anchor=0, sure=False)) and not list(marks.suspects(Note(ANN, anchor=0, sure=False)))
    assert not marks.blind(Note(ANN, anchor=1, sure=False))
    marks.receive(BOB, 5, 0)
    assert not marks.blind(Note(ANN, anchor=0, sure=False))


def test_memory_is_bounded() -> None:
    """Neither many messages nor many groups make it grow for ever."""
    marks = Marks()
    for number in range(1, RECENT + 2):
        marks.receive(ANN, number, 0)
    assert next(marks.suspects(Note(ANN, anchor=0, sure=True))) == 1
    for group in range(COUNTERS + 10):
        marks.receive(BIG - group, 1, 0)
    assert marks.blind(Note(ANN, anchor=0, sure=False))
    assert not marks.blind(Note(BIG - COUNTERS, anchor=0, sure=False))
