"""What the search remembers of its evaluated prompts: the fit and the unlike, as parents to be.

Novelty with local competition (Lehman and Stanley 2011) over the embedding: a newcomer beside a
similar member has to be fitter than that one; elsewhere, once the archive is full, fitter than the
least of all. Beside it named cells, strategy x topic, each with the fittest that was ever seen in it
(MAP-Elites, arXiv 1504.04909). Knows vectors, scores and candidates' labels; never reads a text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from evo.crowding import CROWD, Crowding
from evo.neighbours import Neighbours
from evo.types import Candidate, Strategy
from fitness.types import Score

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Members nearer than this (cosine) compete with each other alone: the cluster width of the reports.
NICHE = 0.85

CellName = tuple[Strategy, str | None]


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


@dataclass(frozen=True, slots=True)
class Cell:
    """One strategy in one topic: its elite with its unit vector (dim,), and how many it has seen."""

    elite: Member
    vector: NDArray[np.float32]
    seen: int


class Archive:
    """At most `capacity` members, unlike each other and fit.

    `members[i]` has the vector `vectors.rows[i]`, the fitness `fitness[i]`, and its place i is that of
    its topic in `places(topic)`. Costs one question to `Neighbours` for each item, no loop over members.
    """

    def __init__(self, capacity: int, niche: float = NICHE) -> None:
        self._capacity = capacity
        self._niche = niche
        self._felt = min(niche, CROWD)
        self.members: list[Member] = []
        self.vectors = Neighbours()
        self.cells: dict[CellName, Cell] = {}
        self._fitness = np.zeros(64)
        self._crowding = Crowding()
        self._place_of: dict[str, int] = {}  # prompt id -> place
        self._topics: dict[str | None, list[int]] = {}  # topic -> places
        self._rank_in_topic: list[int] = []  # place -> where it stands in its topic's list
        self._weakest: int | None = None  # until the archive changes

    def __len__(self) -> int:
        return len(self.members)

    @property
    def fitness(self) -> NDArray[np.float64]:
        """(n,), a view."""
        return self._fitness[: len(self.members)]

    @property
    def topics(self) -> list[str | None]:
        """Topics in the order in which they came up; each may be without members by now."""
        return list(self._topics)

    def places(self, topic: str | None) -> list[int]:
        """Where the members of a topic are, in no promised order. Not a copy."""
        return self._topics.get(topic, [])

    def novelty(self, places: NDArray[np.intp]) -> NDArray[np.float64]:
        """How unlike their neighbours the members at these places are, (k,) in [0, 1 - CROWD]."""
        return self._crowding.novelty(places)

    def bar(self) -> float:
        """The fitness that a newcomer without neighbours needs to exceed; -inf while there is room."""
        if len(self.members) < self._capacity:
            return -math.inf
        return float(self._fitness[self._find_weakest()])

    def add(self, member: Member, vector: NDArray[np.float32]) -> Added:
        """Offer a member with its unit vector (dim,); says what became of it."""
        self._see(member, vector)
        beside, cosines = self.vectors.within(vector, self._felt)
        nearest = int(cosines.argmax()) if len(cosines) else -1
        if nearest >= 0 and cosines[nearest] >= self._niche:
            place, won = int(beside[nearest]), Added.REPLACED
        elif len(self.members) < self._capacity:
            self._enter(len(self.members), member, vector, beside, cosines)
            return Added.NEW
        else:
            place, won = self._find_weakest(), Added.NEW
        if member.score.fitness <= self._fitness[place]:
            return Added.REJECTED
        self._leave(place)
        others = beside != place
        self._enter(place, member, vector, beside[others], cosines[others])
        return won

    def rescore(self, prompt_id: str, score: Score) -> bool:
        """Give a member, and the elite that it may be, a better founded score. False: no such member.

        It keeps its place until a newcomer takes it.
        """
        for name, cell in self.cells.items():
            if cell.elite.candidate.prompt_id == prompt_id:
                self.cells[name] = Cell(Member(cell.elite.candidate, score), cell.vector, cell.seen)
        place = self._place_of.get(prompt_id)
        if place is None:
            return False
        self.members[place] = Member(self.members[place].candidate, score)
        self._fitness[place] = score.fitness
        self._weakest = None
        return True

    def _see(self, member: Member, vector: NDArray[np.float32]) -> None:
        name = member.candidate.strategy, member.candidate.topic
        cell = self.cells.get(name)
        if cell is None:
            self.cells[name] = Cell(member, vector, 1)
        elif member.score.fitness > cell.elite.score.fitness:
            self.cells[name] = Cell(member, vector, cell.seen + 1)
        else:
            self.cells[name] = Cell(cell.elite, cell.vector, cell.seen + 1)

    def _find_weakest(self) -> int:
        if self._weakest is None:
            self._weakest = int(self.fitness.argmin())
        return self._weakest

    def _enter(
        self,
        place: int,
        member: Member,
        vector: NDArray[np.float32],
        beside: NDArray[np.intp],
        cosines: NDArray[np.float32],
    ) -> None:
        """Take a place, the next or one that was left."""
        topic = self._topics.setdefault(member.candidate.topic, [])
        if place == len(self.members):
            self.members.append(member)
            self._rank_in_topic.append(len(topic))
            self.vectors.add(vector)
            if place == len(self._fitness):
                self._fitness = np.concatenate([self._fitness, np.zeros_like(self._fitness)])
        else:
            self.members[place] = member
            self._rank_in_topic[place] = len(topic)
            self.vectors.replace(place, vector)
        topic.append(place)
        self._fitness[place] = member.score.fitness
        self._place_of[member.candidate.prompt_id] = place
        felt = cosines >= CROWD
        self._crowding.joined(place, beside[felt], cosines[felt])
        self._weakest = None

    def _leave(self, place: int) -> None:
        candidate = self.members[place].candidate
        if self._place_of.get(candidate.prompt_id) == place:
            del self._place_of[candidate.prompt_id]
        topic = self._topics[candidate.topic]
        last = topic.pop()
        if last != place:
            rank = self._rank_in_topic[place]
            topic[rank], self._rank_in_topic[last] = last, rank
        self._crowding.left(place)
