"""The niches of what was found: which of them an over-refusal falls into, and whether it is the first.

Knows unit vectors and numbers, no text and no score. Its memory is bounded: a niche that was opened so
long ago that `MOST` came after it is forgotten, and may be opened again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evo.collapse import NEWS
from evo.neighbours import Neighbours

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# 6 MiB at 384 dimensions. What people and models find in one run lies in hundreds of niches.
MOST = 4_096


class Niches:
    """The newest `most` niches, each with the vector of its first over-refusal."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._opened = 0
        self._first = Neighbours()  # place p has the newest niche whose number is p modulo `most`

    def __len__(self) -> int:
        return len(self._first)

    def enter(self, vector: NDArray[np.float32]) -> tuple[int, bool]:
        """The number of the niche of an over-refusal by its unit vector (dim,), counted from 0 in the
        order in which they were opened; True where it opened it."""
        place = int(self._first.nearest(vector[None], NEWS)[0][0])
        if place >= 0:
            return self._opened - 1 - (self._opened - 1 - place) % self._most, False
        self.open(vector)
        return self._opened - 1, True

    def open(self, vector: NDArray[np.float32]) -> None:
        """A niche around a vector, whatever lies beside it."""
        if self._opened < self._most:
            self._first.add(vector)
        else:
            self._first.replace(self._opened % self._most, vector)
        self._opened += 1
