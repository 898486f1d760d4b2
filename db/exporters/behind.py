"""Work that goes on behind: one thread that compresses, hashes and writes while the next rows are read.
It is given calls that leave the interpreter free, for reading needs it. Knows nothing of what it calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

# Calls that wait: what they hold is in memory.
_AHEAD = 2


class Behind:
    """Calls, done in the order in which they are given."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "export")
        self._waiting: deque[Future[Any]] = deque()

    def do(self, call: Callable[..., object], *arguments: object) -> None:
        """Do it soon; waits while too many wait. Raises what an earlier call raised."""
        while len(self._waiting) >= _AHEAD:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(call, *arguments))

    def finish(self) -> None:
        """Return when everything is done. Raises what a call raised."""
        while self._waiting:
            self._waiting.popleft().result()

    def stop(self) -> None:
        """Let go: what has not begun is not done, what has begun is waited for."""
        self._thread.shutdown(wait=True, cancel_futures=True)
