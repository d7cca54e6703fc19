"""One token in one header, and a limit on guessing it."""

from __future__ import annotations

import pytest

from router.web.auth import LOCKOUT, MAX_ADDRESSES, MAX_FAILURES, WINDOW, Failures, Token, neighbourhood, read_bearer


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        (["Bearer abc"], "abc"),
        (["bearer abc"], "abc"),
        (["Bearer  abc "], "abc"),
        (["Basic abc"], None),
        (["Bearer"], None),
        (["Bearer "], None),
        (["abc"], None),
        ([], None),
        (["Bearer abc", "Bearer def"], None),
    ],
)
def test_a_token_is_read_from_the_only_bearer_header(headers: list[str], token: str | None) -> None:
    """Several headers are no header: two servers in a row would each believe another one (FIELD S04)."""
    assert read_bearer(headers) == token


@pytest.mark.parametrize("presented", ["", None, "secre", "secret ", "secretx", "SECRET", "\udcff", "é"])
def test_anything_but_the_token_is_wrong(presented: str | None) -> None:
    """Present but wrong is as wrong as absent (FIELD S05)."""
    assert not Token("secret").matches(presented)


def test_the_token_itself_matches() -> None:
    assert Token("secret").matches("secret")


def test_an_empty_token_is_refused() -> None:
    """It would let everybody in."""
    with pytest.raises(ValueError):
        Token("")


def test_a_token_does_not_show_itself() -> None:
    assert "secret" not in repr(Token("secret")) + repr(vars(Token("secret")))


def _guess(failures: Failures, address: str, count: int, now: float) -> bool:
    return [failures.add(address, now) for _ in range(count)][-1]


def test_ten_failures_within_a_minute_lock_the_address() -> None:
    failures = Failures()
    assert not _guess(failures, "192.0.2.1", MAX_FAILURES - 1, 0.0)
    assert failures.locked_for("192.0.2.1", 0.0) == 0
    assert failures.add("192.0.2.1", 1.0)
    assert failures.locked_for("192.0.2.1", 1.0) == LOCKOUT


def test_slow_failures_never_lock() -> None:
    """A person who mistypes now and then is no guesser."""
    failures = Failures()
    assert not any(failures.add("192.0.2.1", at * WINDOW / 5) for at in range(50))


def test_a_lock_ends_by_itself_and_starts_a_new_count() -> None:
    failures = Failures()
    _guess(failures, "192.0.2.1", MAX_FAILURES, 0.0)
    assert failures.locked_for("192.0.2.1", LOCKOUT) == 0
    assert not failures.add("192.0.2.1", LOCKOUT)


def test_one_address_does_not_lock_another() -> None:
    failures = Failures()
    _guess(failures, "192.0.2.1", MAX_FAILURES, 0.0)
    assert failures.locked_for("192.0.2.2", 0.0) == 0


def test_loopback_is_limited_too() -> None:
    """A web page can make the browser guess on localhost (FIELD S02), by any of its addresses."""
    failures = Failures()
    _guess(failures, "127.0.0.1", MAX_FAILURES - 1, 0.0)
    assert failures.add("::1", 0.0)
    assert failures.locked_for("127.0.0.2", 0.0) == LOCKOUT


def test_the_memory_of_addresses_is_bounded() -> None:
    failures = Failures()
    for number in range(MAX_ADDRESSES + 10):
        failures.add(f"host-{number}", 0.0)
    assert len(failures._seen) == MAX_ADDRESSES


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.9", "loopback"),
        ("::1", "loopback"),
        ("", ""),
    ],
)
def test_addresses_one_guesser_has_many_of_count_as_one(address: str, name: str) -> None:
    assert neighbourhood(address) == name
