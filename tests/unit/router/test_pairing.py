"""Pairing codes, and the files that hold them."""

from __future__ import annotations

import itertools
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.errors import UserError
from router.pairing import ALPHABET, MAX_META, TTL, alive, approve, knock, offer_text
from router.pairing_store import PairingStore

NOW = 1_760_000_000.0


def counter() -> Callable[[int], int]:
    """A dice that throws 0, 1, 2 …, so that codes differ and are known."""
    throws = itertools.count()
    return lambda limit: next(throws) // 8 % limit


@pytest.fixture
def store(tmp_path: Path) -> PairingStore:
    return PairingStore(tmp_path / "credentials")


def test_a_code_has_eight_letters_that_cannot_be_mistaken() -> None:
    """Read aloud and typed."""
    offer = knock((), "irc", "default", " ann ", {"username": "x" * 999}, NOW, counter())
    assert offer.created and offer.request is not None
    assert offer.request.code == "AAAAAAAA" and offer.request.id == "ann"
    assert not set("IO01") & set(ALPHABET) and len(ALPHABET) == 32
    assert len(offer.request.meta["username"]) == MAX_META


def test_a_fourth_stranger_gets_no_code_until_one_has_waited_an_hour() -> None:
    """Per account: another account has places of its own."""
    draw, requests = counter(), ()
    for name in ("a", "b", "c"):
        requests = knock(requests, "irc", "one", name, {}, NOW, draw).requests  # type: ignore[assignment]
    assert knock(requests, "irc", "one", "d", {}, NOW, draw).request is None
    assert knock(requests, "irc", "two", "d", {}, NOW, draw).created
    assert knock(requests, "irc", "one", "d", {}, NOW + TTL, draw).created
    assert alive(requests, NOW + TTL) == ()


def test_two_strangers_never_have_the_same_code() -> None:
    """Even if the dice say so."""
    throws = iter([0] * 16 + [1] * 8)
    first = knock((), "irc", "one", "a", {}, NOW, lambda limit: next(throws))
    second = knock(first.requests, "irc", "one", "b", {}, NOW, lambda limit: next(throws))
    assert [request.code for request in second.requests] == ["AAAAAAAA", "BBBBBBBB"]


@pytest.mark.parametrize(
    ("code", "account", "found"), [(" aaaa AAAA", "", True), ("AAAAAAAA", "two", False), ("", "", False)]
)
def test_a_code_is_found_in_any_case_and_for_its_account_only(code: str, account: str, found: bool) -> None:
    """An empty code is no code."""
    requests = knock((), "irc", "one", "a", {}, NOW, counter()).requests
    assert (approve(requests, code, account, NOW)[1] is not None) is found
    assert approve(requests, code, account, NOW + TTL)[1] is None


def test_the_stranger_reads_what_to_ask_for() -> None:
    """SPEC 4.6, with the code in a block of its own."""
    request = knock((), "telegram", "default", "555", {}, NOW, counter()).requests[0]
    assert offer_text("Telegram", request) == (
        "OpenClaw: access not configured.\n\nYour Telegram user id: 555\nPairing code:\n\n```\nAAAAAAAA\n```\n\n"
        "Ask the bot owner to approve with:\n`openclaw pairing approve telegram AAAAAAAA`"
    )


def test_an_approval_holds_for_its_account_and_for_the_next_store(store: PairingStore, tmp_path: Path) -> None:
    """On disk, in the files of the original, for their owner only."""
    request = store.knock("telegram", "Work", "555", {"username": "ann"}, NOW)
    assert request is not None and store.knock("telegram", "work", "555", {}, NOW) is None
    assert store.approve("telegram", request.code.lower(), "", NOW) is not None
    again = PairingStore(tmp_path / "credentials")
    assert again.approved("telegram", "WORK") == {"555"} and again.approved("telegram", "default") == frozenset()
    assert again.pending("telegram", "", NOW) == []
    file = tmp_path / "credentials" / "telegram-work-allowFrom.json"
    assert json.loads(file.read_text()) == {"version": 1, "allowFrom": ["555"]}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_requests_are_written_as_the_original_writes_them(store: PairingStore, tmp_path: Path) -> None:
    """So an installation can go back and forth."""
    request = store.knock("irc", "default", "ann", {"firstName": "Ann"}, NOW)
    assert request is not None
    written = json.loads((tmp_path / "credentials" / "irc-pairing.json").read_text())
    at = "2025-10-09T08:53:20.000Z"
    row = {"id": "ann", "code": request.code, "createdAt": at, "lastSeenAt": at}
    assert written == {"version": 1, "requests": [{**row, "meta": {"firstName": "Ann", "accountId": "default"}}]}
    assert store.pending("", "", NOW) == [request]


def test_an_edit_by_hand_is_seen_with_the_next_message(store: PairingStore, tmp_path: Path) -> None:
    """Also the file of older versions, which is for the default account; order is kept."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    assert store.approved("irc", "default") == frozenset()
    (folder / "irc-allowFrom.json").write_text('{"version": 1, "allowFrom": ["old", 7]}')
    (folder / "irc-default-allowFrom.json").write_text('{"version": 1, "allowFrom": ["new"]}')
    assert store.listed("irc", "default") == ("new", "old", "7")
    os.unlink(folder / "irc-default-allowFrom.json")
    assert store.listed("irc", "default") == ("old", "7")


@pytest.mark.parametrize("damage", ["", "{", "[]", "\ufeffx"])
def test_a_damaged_list_lets_nobody_in_and_is_not_overwritten(store: PairingStore, tmp_path: Path, damage: str) -> None:
    """An approval would replace all earlier ones by itself."""
    request = store.knock("irc", "default", "ann", {}, NOW)
    assert request is not None
    file = tmp_path / "credentials" / "irc-default-allowFrom.json"
    file.write_text(damage)
    assert store.approved("irc", "default") == frozenset()
    with pytest.raises(UserError, match="damaged") as caught:
        store.approve("irc", request.code, "", NOW)
    assert caught.value.where == str(file) and file.read_text() == damage
    file.unlink()
    assert store.approve("irc", request.code, "", NOW) is not None


def test_damaged_requests_are_as_good_as_none(store: PairingStore, tmp_path: Path) -> None:
    """Strangers only have to write again."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "irc-pairing.json").write_text(
        '{"requests": [1, {"id": "x"}, {"id": 1, "code": 2, "createdAt": "never"}]}'
    )
    assert store.pending("irc", "", NOW) == []
    (folder / "irc-pairing.json").write_text("{")
    assert store.knock("irc", "default", "ann", {}, NOW) is not None


@pytest.mark.parametrize("channel", ["../x", "", "a/b", "A", "x" * 40])
def test_a_channel_name_never_leaves_the_folder(store: PairingStore, channel: str) -> None:
    """It becomes part of a file name."""
    with pytest.raises(ValueError, match="not a channel id"):
        store.approved(channel, "default")
