"""Errors are told in the caller's format and hold no key."""

from __future__ import annotations

import msgspec

from router.cliproxy.faults import Fault, body, event, is_json_object, without


def test_each_format_gets_its_own_shape() -> None:
    fault = Fault(429, "slow down")
    assert msgspec.json.decode(body(fault, "anthropic-messages")) == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "slow down"},
    }
    told = msgspec.json.decode(body(Fault(502, "gone"), "openai-completions"))
    assert told["error"]["type"] == "server_error" and told["error"]["message"] == "gone"


def test_the_last_event_starts_on_its_own_line() -> None:
    assert event(Fault(504, "x"), "anthropic-messages").startswith(b"\n\nevent: error\ndata: {")
    assert event(Fault(504, "x"), "openai-completions").startswith(b"\n\ndata: {")


def test_the_key_is_taken_out_wherever_it_is_quoted() -> None:
    assert without("sk-secret", b"key sk-secret and sk-secret!") == b"key [key] and [key]!"
    assert without("abc", b"abcd") == b"abcd"


def test_only_json_is_passed_on() -> None:
    assert is_json_object(b'{"a": 1}') and is_json_object(b"[]")
    assert not is_json_object(b"<html>") and not is_json_object(b'"x"') and not is_json_object(b"[" * 9999)
