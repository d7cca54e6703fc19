"""The table of attacks: complete, consistent, and honest about what each kind of place promises."""

from __future__ import annotations

import pytest

from protocol.isolation import ATTACKS, breaches, kind_of, must_hold, standard_targets
from protocol.messages import Finding
from protocol.sandbox import HOST


def test_every_attack_says_what_held_and_why_it_matters() -> None:
    for attack in ATTACKS.values():
        assert attack.held and attack.matters and attack.holds
        assert not attack.held.endswith(".") and not attack.matters.endswith(".")


def test_a_container_promises_every_wall() -> None:
    assert all(must_hold(name, "container", 0) for name in ATTACKS)


@pytest.mark.parametrize(
    ("place", "uid", "kind"), [(HOST, 2_000_000_001, "uid"), (HOST, 0, "landlock"), ("agent-main", 0, "container")]
)
def test_the_kind_of_a_place(place: str, uid: int, kind: str) -> None:
    assert kind_of(place, uid) == kind


def test_an_older_kernel_promises_less_where_landlock_is_the_wall() -> None:
    assert not must_hold("read_file", "landlock", 0)
    assert must_hold("read_file", "landlock", 1)
    assert not must_hold("signal_pid", "landlock", 5)
    assert must_hold("signal_pid", "landlock", 6)
    assert must_hold("signal_pid", "uid", 0)
    assert not must_hold("unknown", "container", 7)


def test_a_breach_is_a_promised_wall_that_did_not_stand() -> None:
    fallen = Finding(what="read_file", on="/x", held=False)
    told = Finding(what="connect_tcp", on="loopback", held=False)
    stood = Finding(what="mount", on="", held=True)
    assert breaches((fallen, told, stood), "uid", 7) == (fallen,)
    assert breaches((fallen, told, stood), "container", 7) == (fallen, told)


def test_standard_targets_need_no_argument() -> None:
    targets = standard_targets()
    assert len(set(targets)) == len(targets)
    for target in targets:
        assert target.on or not ATTACKS[target.what].wants
