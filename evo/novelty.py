"""What the novelty gate remembers: the newest prompts' vectors, and how near a new one is to them.

Knows unit vectors, no text. Its memory is bounded; the looking is done by `evo.neighbours`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evo.neighbours import Neighbours

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# 26 MiB at 384 dimensions.
MOST = 16_384


class NoveltyMemory:
    """The newest `most` vectors."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._added = 0
        self._neighbours = Neighbours()

    def __len__(self) -> int:
        return len(self._neighbours)

    def add(self, vector: NDArray[np.float32]) -> None:
        """Remember a unit vector (dim,); the oldest goes when there is no room."""
        if self._added < self._most:
            self._neighbours.add(vector)
        else:
            self._neighbours.replace(self._added % self._most, vector)
        self._added += 1

    def nearest(self, vectors: NDArray[np.float32], least: float) -> NDArray[np.float32]:
        """The largest cosine of each vector to any that is remembered: (m, dim) -> (m,), -1 where
        none reaches `least`."""
        return self._neighbours.nearest(vectors, least)[1]
