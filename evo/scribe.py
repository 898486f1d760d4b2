"""Writing the record without holding up the loop: one thread, one write after the other.

What comes while a write is under way is written together in the next one, in the order in which it
came: the busier the run, the larger its transactions. Knows the recorder's calls, not what they store.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from evo.types import Assignment, Candidate, Outcome

Proposal = tuple[Assignment, Candidate | None]


class Writer(Protocol):
    """The writing half of a recorder; durable when a call returns."""

    def propose(self, proposals: Sequence[Proposal]) -> None: ...

    def record(self, outcomes: Sequence[Outcome]) -> None: ...


@dataclass(slots=True)
class _Entry:
    kind: str  # "propose" or "record"
    items: Sequence[Any]
    written: asyncio.Future[None]


class Scribe:
    """`await propose(...)` and `await record(...)` return when the writer's calls have.

    Proposals keep their order, and so do outcomes. Between the two none is needed: whoever records
    the end of a proposal has waited for its beginning. After the first error nothing more is written:
    every later call raises the same one.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: deque[_Entry] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scribe")
        self._writing: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    async def propose(self, proposals: Sequence[Proposal]) -> None:
        await self._write("propose", proposals)

    async def record(self, outcomes: Sequence[Outcome]) -> None:
        await self._write("record", outcomes)

    async def close(self) -> None:
        """Finish what has been given to the writer; what still waits is let go."""
        for entry in self._waiting:
            entry.written.cancel()
        self._waiting.clear()
        if self._writing is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._writing
        self._thread.shutdown()

    async def _write(self, kind: str, items: Sequence[Any]) -> None:
        if not items:
            return
        if self._error is not None:
            raise self._error
        written = asyncio.get_running_loop().create_future()
        self._waiting.append(_Entry(kind, items, written))
        if self._writing is None:
            self._writing = asyncio.ensure_future(self._write_all())
        await written

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                group = self._next_group()
                items = [item for entry in group for item in entry.items]
                call = getattr(self._writer, group[0].kind)
                try:
                    await loop.run_in_executor(self._thread, call, items)
                except Exception as error:  # noqa: BLE001 - every caller gets it, whatever it is
                    self._error = error
                    group += self._waiting
                    self._waiting.clear()
                for entry in group:
                    if entry.written.done():
                        continue
                    if self._error is None:
                        entry.written.set_result(None)
                    else:
                        entry.written.set_exception(self._error)
        finally:
            self._writing = None

    def _next_group(self) -> list[_Entry]:
        """All that waits and is of the kind of the first."""
        kind = self._waiting[0].kind
        group = [entry for entry in self._waiting if entry.kind == kind]
        self._waiting = deque(entry for entry in self._waiting if entry.kind != kind)
        return group
