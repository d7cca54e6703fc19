"""A Done never overtakes a Say; both are said again until they are acknowledged."""

from __future__ import annotations

from protocol.messages import Done, Say
from worker.outbox import Outbox

DONE = Done(id="m", outcome="answered")


def test_done_waits_for_every_say() -> None:
    outbox = Outbox()
    assert outbox.say("m", 0, "a") == [Say(id="m", seq=0, text="a")]
    outbox.say("m", 1, "b")
    assert outbox.finish(DONE) == []
    assert outbox.unclosed == ("m",)
    assert outbox.say_acked("m", 1) == []
    assert outbox.say_acked("m", 0) == [DONE]
    assert outbox.closing == ("m",)
    outbox.done_acked("m")
    assert outbox.empty


def test_an_unacknowledged_say_is_due_again_and_its_done_is_not() -> None:
    outbox = Outbox()
    outbox.say("m", 0, "a")
    outbox.finish(DONE)
    assert outbox.due() == [Say(id="m", seq=0, text="a")]
    outbox.say_acked("m", 0)
    assert outbox.due("m") == [DONE]
    assert outbox.due("other") == []


def test_acknowledgements_of_unknown_things_change_nothing() -> None:
    outbox = Outbox()
    assert outbox.say_acked("x", 0) == []
    outbox.done_acked("x")
    outbox.say("m", 0, "a")
    outbox.done_acked("m")
    assert not outbox.empty
    assert not outbox.finished("m")
    assert repr(outbox) == "Outbox(1 messages owed)"


def test_a_turn_that_said_nothing_is_done_at_once() -> None:
    assert Outbox().finish(DONE) == [DONE]
