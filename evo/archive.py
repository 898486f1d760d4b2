"""What the search remembers: every evaluated prompt with its vector, and the best of them as parents.

Novelty with local competition: a newcomer beside a similar member has to be fitter than that one;
elsewhere it has to be fitter than the least of all. Knows vectors and scores, no text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from evo.types import Candidate
from fitness.types import Score

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Members nearer than this (cosine) compete with each other alone: the cluster width of the reports.
NICHE = 0.85


class Added(StrEnum):
    """What the archive did with an item."""

    NEW = "new"  # it took a free place or that of the weakest
    REPLACED = "replaced"  # it beat its neighbour
    REJECTED = "rejected"  # its neighbour, or everybody, was fitter


@dataclass(frozen=True, slots=True)
class Member:
    """A parent to be."""

    candidate: Candidate
    score: Score


class Vectors:
    """Unit vectors that grow in place. `nearest(v)` is one matrix product."""

    def __init__(self) -> None:
        self._rows: NDArray[np.float32] | None = None
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @property
    def rows(self) -> NDArray[np.float32]:
        """(n, dim), a view."""
        if self._rows is None:
            return np.zeros((0, 0), dtype=np.float32)
        return self._rows[: self._n]

    def add(self, vector: NDArray[np.float32]) -> None:
        if self._rows is None:
            self._rows = np.empty((64, len(vector)), dtype=np.float32)
        if self._n == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._n] = vector
        self._n += 1

    def replace(self, place: int, vector: NDArray[np.float32]) -> None:
        self.rows[place] = vector

    def similarities(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cosine to every row, (n,)."""
        if self._n == 0:
            return np.zeros(0, dtype=np.float32)
        found: NDArray[np.float32] = self.rows @ vector
        return found


class Archive:
    """At most `capacity` members, unlike each other and fit.

    `members[i]` has the vector `vectors.rows[i]`.
    """

    def __init__(self, capacity: int, niche: float = NICHE) -> None:
        self._capacity = capacity
        self._niche = niche
        self.members: list[Member] = []
        self.vectors = Vectors()
        self._fitness = np.empty(capacity)  # (capacity,), of the members

    def add(self, member: Member, vector: NDArray[np.float32]) -> Added:
        """Offer a member; says what became of it."""
        similarity = self.vectors.similarities(vector)
        if len(similarity):
            nearest = int(similarity.argmax())
            if similarity[nearest] >= self._niche:
                return self._compete(nearest, member, vector, Added.REPLACED)
        if len(self.members) < self._capacity:
            self._fitness[len(self.members)] = member.score.fitness
            self.members.append(member)
            self.vectors.add(vector)
            return Added.NEW
        weakest = int(self._fitness.argmin())
        return self._compete(weakest, member, vector, Added.NEW)

    def _compete(
        self, place: int, member: Member, vector: NDArray[np.float32], won: Added
    ) -> Added:
        if member.score.fitness <= self.members[place].score.fitness:
            return Added.REJECTED
        self.members[place] = member
        self._fitness[place] = member.score.fitness
        self.vectors.replace(place, vector)
        return won
