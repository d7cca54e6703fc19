"""A vendor's error becomes busy, refused or too long, with a short reason that holds no key."""

from __future__ import annotations

import msgspec
import pytest

from worker.llm.base import ContextOverflow, ModelBusy, ModelRefused
from worker.llm.failures import from_status, seconds

NOW = 1_700_000_000.0


def body(message: str, kind: str = "", code: str = "") -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": kind, "code": code}})


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (429, body("slow down"), ModelBusy),
        (529, body("Overloaded", "overloaded_error"), ModelBusy),
        (500, b"<html>", ModelBusy),
        (503, b"", ModelBusy),
        (408, b"{}", ModelBusy),
        (429, body("You exceeded your current quota", "insufficient_quota"), ModelRefused),
        (402, body("pay"), ModelRefused),
        (401, body("invalid x-api-key"), ModelRefused),
        (404, body("model not found"), ModelRefused),
        (400, body("prompt is too long: 208000 tokens > 200000 maximum"), ContextOverflow),
        (400, body("input length and `max_tokens` exceed context limit: 174167 + 64000 > 200000"), ContextOverflow),
        (400, body("x", code="context_length_exceeded"), ContextOverflow),
        (400, body("This model's maximum context length is 4097 tokens."), ContextOverflow),
        (400, body("request exceeds the available context size", "exceed_context_size_error"), ContextOverflow),
        (413, body("Request exceeds the maximum size", "request_too_large"), ContextOverflow),
        (400, body("tools.0: bad"), ModelRefused),
        (422, b'{"message": "extra_forbidden"}', ModelRefused),
        (400, b'[{"error": {"message": "Google wraps it in a list"}}]', ModelRefused),
    ],
)
def test_status_and_text_decide(status: int, said: bytes, expected: type) -> None:
    assert type(from_status(status, said, None, NOW)) is expected


def test_the_reason_says_what_the_vendor_said_and_where() -> None:
    assert from_status(404, body("model:  x\nnot found"), None, NOW).reason == "model: x not found (HTTP 404)"
    assert from_status(500, b"\xff", None, NOW).reason == "HTTP 500"


def test_the_reason_is_short_and_hides_what_looks_like_a_key() -> None:
    reason = from_status(401, body("Incorrect API key provided: sk-proj-abc***xyz1. " + "x" * 999), None, NOW).reason
    assert "abc" not in reason and "[key]" in reason and len(reason) < 330


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        ("2", 2.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("999999", 3600.0),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2020 22:13:30 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, pause: float | None) -> None:
    assert seconds(header, NOW) == pause
    busy = from_status(429, b"", header, NOW)
    assert isinstance(busy, ModelBusy) and busy.retry_after == pause
