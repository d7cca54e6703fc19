"""Which skills an agent may have (SPEC 5.4.4)."""

from __future__ import annotations

import pytest

from protocol.skills import allowlist


@pytest.mark.parametrize(
    ("defaults", "own", "allowed"),
    [
        (None, None, None),
        (("mail",), None, ("mail",)),
        ((), None, ()),
        (None, ("crm",), ("crm",)),
        (("mail", "crm"), ("git", "crm"), ("git", "crm", "mail")),
        (("mail",), (), ()),
        (("mail",), (" ", ""), ()),
        ((" mail ", "mail", ""), None, ("mail",)),
    ],
)
def test_an_agent_adds_to_what_everybody_gets(
    defaults: tuple[str, ...] | None, own: tuple[str, ...] | None, allowed: tuple[str, ...] | None
) -> None:
    """No list anywhere is no restriction; an empty list of its own is none at all."""
    assert allowlist(defaults, own) == allowed


def test_an_agent_may_ask_for_its_own_list_alone() -> None:
    assert allowlist(("mail",), ("crm",), "replace") == ("crm",)
    assert allowlist(("mail",), None, "replace") == ("mail",)
