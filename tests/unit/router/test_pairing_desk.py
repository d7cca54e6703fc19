"""What operators may do with pairing, and the child that does it while no router runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from protocol import control as c
from protocol.codec import encode
from protocol.errors import UserError
from router.pairing_desk import answer
from router.pairing_store import PairingStore

NOW = 1_800_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> PairingStore:
    return PairingStore(tmp_path)


def knock(store: PairingStore, id: str, account: str = "work") -> str:
    request = store.knock("telegram", account, id, {}, NOW)
    assert request is not None
    return request.code


def test_a_rejected_code_is_worth_nothing(store: PairingStore) -> None:
    code = knock(store, "5")
    assert answer(store, c.RejectPairing(channel="telegram", code=code.lower()), NOW) == c.Rejected(
        channel="telegram", account="work", id="5"
    )
    with pytest.raises(UserError, match="No pending pairing request found"):
        answer(store, c.ApprovePairing(channel="telegram", code=code), NOW)


def test_a_revoked_person_is_a_stranger_again(store: PairingStore) -> None:
    """At every account, or at the one that is named."""
    for account in ("work", "home", "default"):
        answer(store, c.ApprovePairing(channel="telegram", code=knock(store, "5", account)), NOW)
    revoke = c.RevokePairing(channel="telegram", id="5", account="home")
    assert answer(store, revoke, NOW) == c.Revoked(channel="telegram", accounts=("home",), id="5")
    assert store.approved("telegram", "work") == {"5"} and not store.approved("telegram", "home")
    everywhere = answer(store, c.RevokePairing(channel="telegram", id="5"), NOW)
    assert everywhere == c.Revoked(channel="telegram", accounts=("default", "work"), id="5")
    with pytest.raises(UserError, match="not approved"):
        answer(store, c.RevokePairing(channel="telegram", id="5"), NOW)


def test_an_approval_of_an_older_version_can_be_revoked(store: PairingStore, tmp_path: Path) -> None:
    (tmp_path / "telegram-allowFrom.json").write_text('{"version": 1, "allowFrom": ["7", "8"]}')
    assert store.approved("telegram", "default") == {"7", "8"}
    answer(store, c.RevokePairing(channel="telegram", id="7"), NOW)
    assert store.approved("telegram", "default") == {"8"}


def child(folder: Path, data: bytes) -> c.PairingReply:
    done = subprocess.run(
        [sys.executable, "-m", "router.pairing_desk", str(folder)],
        input=data,
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert not done.stderr
    return c.pairing_reply.decode(done.stdout)


def test_the_child_answers_as_the_router_would(store: PairingStore, tmp_path: Path) -> None:
    """Also nonsense gets an answer."""
    (tmp_path / "telegram-work-allowFrom.json").write_text('{"version": 1, "allowFrom": ["5"]}')
    assert child(tmp_path, encode(c.ListPairing())) == c.Pairings(requests=())
    revoked = child(tmp_path, encode(c.RevokePairing(channel="telegram", id="5")))
    assert revoked == c.Revoked(channel="telegram", accounts=("work",), id="5")
    for bad in (b"", b"[]", b'{"type":"GetQueue"}', encode(c.RevokePairing(channel="../x", id="5"))):
        assert isinstance(child(tmp_path, bad), c.Failure)
