"""Overviews of runs, kept for a while: what takes long to reckon is not reckoned again at every reading."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from db.overview import Overview, overview
from db.store import Store

_KEPT = 8
# An overview serves for so many times what it took, so that reading takes a twentieth of a core at most.
_TIMES = 20.0


@dataclass(slots=True)
class Overviews:
    """Safe to ask from several threads."""

    _known: OrderedDict[tuple[str, int], tuple[float, Overview]] = field(
        default_factory=OrderedDict
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, store: Store, run: str, most: int) -> Overview:
        """As `db.overview.overview`, at most as old as twenty times what it took, and one second more."""
        with self._lock:
            until, known = self._known.get((run, most), (0.0, None))
            if known is not None and time.monotonic() < until:
                self._known.move_to_end((run, most))
                return known
        began = time.monotonic()
        made = overview(store, run, most)
        now = time.monotonic()
        with self._lock:
            self._known[run, most] = (now + 1.0 + _TIMES * (now - began), made)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return made
