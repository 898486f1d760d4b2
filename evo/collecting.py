"""Python's garbage collector, so that it does not hold up a long run.

A search keeps what it has met, and a full collection looks at all of it, with every thread at a
standstill: a tenth of a second early in a run, most of one later. What a collection has looked at is
therefore never looked at again. What that costs: rings of references that form among old objects stay
until the run has ended.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping
from typing import Any

_OLDEST = 2
# Collections of the middle generation, 7,000 new objects each at most, before a full one.
_FULL_AFTER = 4


@contextlib.contextmanager
def in_small_steps() -> Iterator[None]:
    """Set aside what is there, and what outlives a full collection from now on. Of the whole process;
    may be entered again inside itself."""
    if _set_aside in gc.callbacks:
        yield
        return
    gc.collect()
    gc.freeze()
    # Python waits with the next full one for a quarter of what the last one left: now of nothing.
    gc.collect()
    thresholds = gc.get_threshold()
    young, middle, _ = thresholds
    gc.set_threshold(young, middle, _FULL_AFTER)
    gc.callbacks.append(_set_aside)
    try:
        yield
    finally:
        gc.callbacks.remove(_set_aside)
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _set_aside(phase: str, info: Mapping[str, Any]) -> None:
    if phase == "stop" and info["generation"] == _OLDEST:
        gc.freeze()
