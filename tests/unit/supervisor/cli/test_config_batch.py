"""A batch of changes is read whole or refused with the place of its mistake."""

from __future__ import annotations

import pytest

from protocol.errors import UserError
from supervisor.cli.config_batch import Change, parse, reference


def test_a_batch_holds_values_and_references() -> None:
    """JSON5, in order."""
    ref = {"source": "env", "provider": "default", "id": "A_TOKEN"}
    text = "[{path: 'gateway.port', value: 1}, {path: 'a.b', ref: {source: 'env', provider: 'default', id: 'A_TOKEN'}}]"
    assert parse(text) == [Change("gateway.port", 1), Change("a.b", ref)]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("jx", None),
        ("{}", None),
        ("[]", None),
        ("[{path: 'a', value: 1}, {path: 1, value: 1}]", "$[1]"),
        ("[{path: 'a'}]", "$[0]"),
        ("[{path: 'a', value: 1, ref: {}}]", "$[0]"),
        ("[{path: 'a', ref: {source: 'nowhere', id: 'x'}}]", "$[0]"),
        ("[{path: 'a', value: 1, more: 1}]", "$[0]"),
    ],
)
def test_a_bad_batch_is_refused(text: str, where: str | None) -> None:
    with pytest.raises(UserError) as error:
        parse(text)
    assert error.value.where == where and error.value.hint


def test_a_reference_is_checked_before_it_is_stored() -> None:
    assert reference("a", "env", "default", "A").value == {"source": "env", "provider": "default", "id": "A"}
    for source, name in (("env", "lower"), ("", "A"), ("env", ""), ("exec", "../x")):
        with pytest.raises(UserError):
            reference("a", source, "default", name)
