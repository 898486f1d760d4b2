"""Calls that no replica has taken yet: by priority, then in the order in which they came.

Suspects, calls that were on board of a replica that died, wait apart: each needs a replica for itself.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import count

from workers.interface import EvocliffError
from workers.pool.seat import Seat


@dataclass(slots=True, order=True)
class Call:
    """One call that waits for its seat; `weight` as in `Seat`."""

    priority: int
    order: int
    weight: int = field(compare=False)
    suspect: bool = field(compare=False)
    seat: asyncio.Future[Seat] = field(compare=False)

    def take(self, seat: Seat) -> None:
        seat.take(self.weight, self.suspect)
        self.seat.set_result(seat)


class Waiting:
    """The line in front of the seats."""

    def __init__(self) -> None:
        self._order = count()
        self._line: list[Call] = []
        self._suspects: deque[Call] = deque()

    def __len__(self) -> int:
        return len(self._line) + len(self._suspects)

    def join(self, priority: int, weight: int, *, suspect: bool) -> Call:
        seat = asyncio.get_running_loop().create_future()
        call = Call(priority, next(self._order), weight, suspect, seat)
        if suspect:
            self._suspects.append(call)
        else:
            heapq.heappush(self._line, call)
        return call

    def leave(self, call: Call) -> None:
        """A call that was cancelled waits no longer."""
        if call in self._suspects:
            self._suspects.remove(call)
        elif call in self._line:
            self._line.remove(call)
            heapq.heapify(self._line)

    def seat(self, seats: list[Seat], in_flight: int | None) -> None:
        """Give every call that can be served the least loaded replica with room."""
        clearing = self._seat_suspects(seats)
        while self._line:
            open_seats = [
                s for s in seats if s.number not in clearing and s.has_room(in_flight, False)
            ]
            if not open_seats:
                return
            chosen = min(open_seats, key=lambda s: (s.load, s.finished, s.number))
            heapq.heappop(self._line).take(chosen)

    def fail(self, error: EvocliffError) -> None:
        """Nobody will ever serve them."""
        for call in [*self._line, *self._suspects]:
            if not call.seat.done():
                call.seat.set_exception(error)
        self._line.clear()
        self._suspects.clear()

    def _seat_suspects(self, seats: list[Seat]) -> set[int]:
        """Seat suspects on idle replicas; returns the numbers of those that have to become idle for
        the rest. One replica at least goes on with ordinary work."""
        while self._suspects:
            idle = [s for s in seats if s.has_room(None, True)]
            if not idle:
                break
            self._suspects.popleft().take(min(idle, key=lambda s: (s.finished, s.number)))
        if not self._suspects:
            return set()
        working = sorted((s for s in seats if s.is_open), key=lambda s: (s.load, s.number))
        most = len(working) - 1 if len(working) > 1 else 1
        return {s.number for s in working[: min(len(self._suspects), most)]}
