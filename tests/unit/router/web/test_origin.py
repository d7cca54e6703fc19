"""Whether a request was meant for us: Host against DNS rebinding, Origin against foreign pages."""

from __future__ import annotations

import pytest

from router.web.origin import is_our_host, is_our_page


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:18789", "localhost:18789", "localhost", "LOCALHOST:1", "[::1]:18789", "127.0.0.5", "localhost:9000"],
)
def test_loopback_names_are_ours_on_any_port(host: str) -> None:
    """A tunnel may bring the page to another port."""
    assert is_our_host([host], "127.0.0.1")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.168.1.7",
        "user@localhost",
        "localhost/x",
        "localhost:99999",
        "[::1",
        "",
        "localhost:x",
    ],
)
def test_any_other_name_is_not_ours_on_loopback(host: str) -> None:
    assert not is_our_host([host], "127.0.0.1")


def test_exactly_one_host_header_is_needed() -> None:
    assert not is_our_host([], "127.0.0.1")
    assert not is_our_host(["localhost", "evil.example"], "127.0.0.1")


def test_the_bound_host_and_further_names_are_ours() -> None:
    assert is_our_host(["192.168.1.7:80"], "192.168.1.7")
    assert is_our_host(["Box.lan:80"], "192.168.1.7", {"box.lan"})


def test_on_every_interface_any_address_is_ours_but_no_name() -> None:
    """An attacker can point a name at us, never an address."""
    assert is_our_host(["192.168.1.7:18789"], "0.0.0.0")
    assert is_our_host(["[2001:db8::1]:18789"], "::")
    assert not is_our_host(["evil.example:18789"], "0.0.0.0")


@pytest.mark.parametrize(
    ("origins", "fetch_site", "ours"),
    [
        ([], None, True),
        ([], "none", True),
        ([], "same-origin", True),
        (["http://localhost:18789"], "same-origin", True),
        (["https://localhost:18789"], None, True),
        (["http://localhost:3000"], None, False),
        (["http://localhost:3000"], "same-site", False),
        (["http://evil.example"], None, False),
        (["null"], None, False),
        (["http://localhost:18789", "http://evil.example"], None, False),
        ([], "cross-site", False),
        ([], "same-site", False),
    ],
)
def test_only_our_own_page_or_no_page_may_ask(origins: list[str], fetch_site: str | None, ours: bool) -> None:
    """A page on another port of localhost is foreign too."""
    assert is_our_page(origins, "localhost:18789", fetch_site) is ours
