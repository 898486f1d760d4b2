"""The scribe: order kept, what waits written together, nothing after an error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from evo.scribe import Scribe
from workers.interface import StoreError


class Book:
    """A writer that can be held up and can fail."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.calls: list[tuple[list[Any], list[Any]]] = []  # proposals, outcomes
        self.go_on = threading.Event()
        self.go_on.set()
        self._fails_at = fails_at

    def write(self, proposals: Sequence[Any], outcomes: Sequence[Any]) -> None:
        self.go_on.wait(5)
        if self._fails_at == len(self.calls):
            raise StoreError("the disk is full")
        self.calls.append((list(proposals), list(outcomes)))


def test_what_waits_is_written_together_and_in_order() -> None:
    async def scenario() -> None:
        book = Book()
        book.go_on.clear()
        scribe = Scribe(book)
        writes: list[Any] = [
            scribe.propose([1]),
            scribe.record([2]),
            scribe.propose([3, 4]),
            scribe.record([5, 6]),
        ]
        tasks = [asyncio.ensure_future(write) for write in writes[:1]]
        await asyncio.sleep(0.01)  # the first is under way
        tasks += [asyncio.ensure_future(write) for write in writes[1:]]
        await asyncio.sleep(0.01)
        book.go_on.set()
        await asyncio.gather(*tasks)
        await scribe.close()
        assert book.calls == [([1], []), ([3, 4], [2, 5, 6])]

    asyncio.run(scenario())


def test_a_write_is_done_when_it_returns_and_nothing_asked_is_nothing_written() -> None:
    async def scenario() -> None:
        book = Book()
        scribe = Scribe(book)
        await scribe.record(["a"])
        assert book.calls == [([], ["a"])]
        await scribe.record([])
        assert len(book.calls) == 1
        await scribe.close()

    asyncio.run(scenario())


def test_after_an_error_nothing_more_is_written_and_everybody_hears_of_it() -> None:
    async def scenario() -> None:
        book = Book(fails_at=1)
        scribe = Scribe(book)
        await scribe.record([1])
        results = await asyncio.gather(
            scribe.record([2]), scribe.propose([3]), return_exceptions=True
        )
        assert all(isinstance(result, StoreError) for result in results)
        with pytest.raises(StoreError, match="full"):
            await scribe.record([4])
        await scribe.close()
        assert book.calls == [([], [1])]

    asyncio.run(scenario())
