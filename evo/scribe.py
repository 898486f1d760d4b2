"""Writing the record without holding up the loop: one thread, one write after the other.

What comes while a write is under way is written together in the next one, in the order in which it
came: the busier the run, the larger its transactions. Knows the recorder's call, not what it stores.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from evo.types import Assignment, Candidate, Outcome

Proposal = tuple[Assignment, Candidate | None]


class Writer(Protocol):
    """The writing half of a recorder."""

    def write(self, proposals: Sequence[Proposal], outcomes: Sequence[Outcome]) -> None:
        """All of it or, with an exception, nothing; durable when the call returns."""


@dataclass(slots=True)
class _Entry:
    proposals: Sequence[Proposal]
    outcomes: Sequence[Outcome]
    written: asyncio.Future[None]


class Scribe:
    """`await propose(...)` and `await record(...)` return when the writer's call has.

    Proposals keep their order, and so do outcomes. Between the two none is needed: whoever records
    the end of a proposal has waited for its beginning. After the first error nothing more is written:
    every later call raises the same one.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: list[_Entry] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scribe")
        self._writing: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    async def propose(self, proposals: Sequence[Proposal]) -> None:
        await self._write(proposals, ())

    async def record(self, outcomes: Sequence[Outcome]) -> None:
        await self._write((), outcomes)

    async def close(self) -> None:
        """Finish what has been given to the writer; what still waits is let go."""
        for entry in self._waiting:
            entry.written.cancel()
        self._waiting.clear()
        if self._writing is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._writing
        self._thread.shutdown()

    async def _write(self, proposals: Sequence[Proposal], outcomes: Sequence[Outcome]) -> None:
        if not proposals and not outcomes:
            return
        if self._error is not None:
            raise self._error
        written = asyncio.get_running_loop().create_future()
        self._waiting.append(_Entry(proposals, outcomes, written))
        if self._writing is None:
            self._writing = asyncio.ensure_future(self._write_all())
        await written

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                proposals = [p for entry in group for p in entry.proposals]
                outcomes = [o for entry in group for o in entry.outcomes]
                try:
                    await loop.run_in_executor(
                        self._thread, self._writer.write, proposals, outcomes
                    )
                except Exception as error:  # noqa: BLE001 - every caller gets it, whatever it is
                    self._error = error
                    group += self._waiting
                    self._waiting = []
                for entry in group:
                    if entry.written.done():
                        continue
                    if self._error is None:
                        entry.written.set_result(None)
                    else:
                        entry.written.set_exception(self._error)
        finally:
            self._writing = None
