"""Live text comes in order, without holes and without what was never to be said."""

from __future__ import annotations

import asyncio

from worker.live import MAX_PIECE, LiveText


async def test_the_first_piece_comes_at_once_and_later_ones_together() -> None:
    sent: list[tuple[int, str]] = []
    arrived = asyncio.Event()

    def send(offset: int, text: str) -> None:
        sent.append((offset, text))
        if len(sent) == 2:
            arrived.set()

    live = LiveText(send)
    for piece in ("  Hello", " wor", "ld"):
        live.add(piece)
    assert sent == [(0, "Hello")]
    await asyncio.wait_for(arrived.wait(), 5)
    assert sent == [(0, "Hello"), (5, " world")]
    live.close()


async def test_a_silent_answer_is_never_shown() -> None:
    sent: list[str] = []
    live = LiveText(lambda _, text: sent.append(text))
    for piece in ("NO", "_REP", "LY"):
        live.add(piece)
    live.close()
    assert sent == []


async def test_a_word_that_only_began_like_silence_is_shown_whole() -> None:
    sent: list[str] = []
    live = LiveText(lambda _, text: sent.append(text))
    live.add("NO")
    live.add(", never")
    assert sent == ["NO, never"]
    live.close()


async def test_a_huge_piece_is_sent_in_parts_that_follow_each_other() -> None:
    sent: list[tuple[int, str]] = []
    live = LiveText(lambda offset, text: sent.append((offset, text)))
    live.add("x" * (MAX_PIECE + 5))
    assert [(offset, len(text)) for offset, text in sent] == [(0, MAX_PIECE), (MAX_PIECE, 5)]
    live.close()
