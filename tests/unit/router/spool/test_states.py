"""The table of steps: every pair of states is either a step or an error that names both."""

from __future__ import annotations

import itertools

import pytest

from router.spool.states import IN_STEPS, OUT_STEPS, IllegalStep, InState, OutState, move, settle


def test_every_state_has_its_row() -> None:
    """A state without a row would raise KeyError instead of an explanation."""
    assert set(IN_STEPS) == set(InState)
    assert set(OUT_STEPS) == set(OutState)


@pytest.mark.parametrize(("old", "new"), list(itertools.product(OutState, OutState)))
def test_an_outbox_row_moves_along_the_table_only(old: OutState, new: OutState) -> None:
    """All twenty-five pairs."""
    if new in OUT_STEPS[old]:
        assert move("k", old, new) is new
    else:
        with pytest.raises(IllegalStep, match=f"row k: {old.value} cannot become {new.value}"):
            move("k", old, new)


@pytest.mark.parametrize("end", [InState.DONE, InState.DEAD])
def test_a_message_that_has_ended_keeps_its_end(end: InState) -> None:
    """Done may be repeated, also for a message that was given up meanwhile."""
    assert settle("k", end, InState.DONE) is end


def test_nothing_leads_out_of_sent_and_dead() -> None:
    """What the platform has taken is never sent again."""
    assert not OUT_STEPS[OutState.SENT] and not OUT_STEPS[OutState.DEAD]


def test_uncertain_is_never_sent_again_directly() -> None:
    """It has to become QUEUED first, which needs proof that it did not arrive."""
    assert OutState.SENDING not in OUT_STEPS[OutState.UNCERTAIN]


def test_a_row_that_does_not_exist_is_named() -> None:
    """The message is for us: it is our bug."""
    with pytest.raises(IllegalStep, match="inbox row x: a row that does not exist cannot become dead"):
        settle("x", None, InState.DEAD)
