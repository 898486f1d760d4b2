"""Who may be a parent for the next few choices: a small pool, fit and unlike.

Knows the archive. Winners of tournaments and the elites of the cells come up; a determinantal selection
takes the pool from them. So a choice costs next to nothing, and a refresh does not depend on the size
of the archive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evo.selection import determinantal, quality, ranks, winner
from evo.types import Candidate, Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from evo.archive import Archive, Member

POOL = 16
_WINNERS = 48  # of tournaments, that come up
_TOURNAMENT = 4
_SHARING = 1.0  # how much descending from another request counts beside being fit; ranks in [0, 1]


@dataclass(frozen=True, slots=True)
class Pool:
    """Parents in waiting and what a tournament among them goes by: quality (n,)."""

    parents: tuple[Candidate, ...]
    quality: NDArray[np.float64]

    def draw(self, rng: np.random.Generator, without: str | None = None) -> Candidate | None:
        """The winner of a tournament; None if there is nobody but the prompt id `without`."""
        if not self.parents:
            return None
        drawn = self.parents[winner(self.quality, rng)]
        if drawn.prompt_id != without:
            return drawn
        others = [i for i, parent in enumerate(self.parents) if parent.prompt_id != without]
        return self.parents[others[winner(self.quality[others], rng)]] if others else None


def pool(
    archive: Archive,
    topics: list[str | None],
    given: Mapping[str, int],
    rng: np.random.Generator,
) -> Pool:
    """A pool from the members and the cell elites of some topics. `given`: over-refusals by the seed
    that they descend from; descendants of one that has given much count for less."""
    places = _winners(archive, topics, rng)
    found: dict[str, tuple[Member, NDArray[np.float32], float]] = {}
    for place, novelty in zip(places.tolist(), archive.novelty(places), strict=True):
        member = archive.members[place]
        found[member.candidate.prompt_id] = member, archive.vectors.rows[place], float(novelty)
    usual = float(np.mean([novelty for _, _, novelty in found.values()])) if found else 0.0
    for topic in topics:
        for strategy in Strategy:
            cell = archive.cells.get((strategy, topic))
            if cell is not None:
                found.setdefault(cell.elite.candidate.prompt_id, (cell.elite, cell.vector, usual))
    if not found:
        return Pool((), np.zeros(0))
    members = [member for member, _, _ in found.values()]
    vectors = np.stack([vector for _, vector, _ in found.values()])
    good = quality(
        np.array([member.score.fitness for member in members]),
        np.array([novelty for _, _, novelty in found.values()]),
    )
    yields = np.array([given.get(m.candidate.seed_id, 0) for m in members], dtype=np.float64)
    good = good + _SHARING * ranks(-yields)
    chosen = determinantal(vectors, np.exp(good), POOL)
    return Pool(tuple(members[i].candidate for i in chosen), good[chosen])


def _winners(
    archive: Archive, topics: list[str | None], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Places of tournament winners among the members of some topics, each once; all if they are few."""
    lists = [archive.places(topic) for topic in topics]
    ends = np.cumsum([len(places) for places in lists])
    n = int(ends[-1]) if len(ends) else 0
    if n <= _WINNERS:
        return np.array(sorted(p for places in lists for p in places), dtype=np.intp)
    drawn = rng.integers(n, size=_WINNERS * _TOURNAMENT)
    which = np.searchsorted(ends, drawn, side="right")
    starts = ends - [len(places) for places in lists]
    places = np.array(
        [lists[i][j] for i, j in zip(which, drawn - starts[which], strict=True)], dtype=np.intp
    )
    good = quality(archive.fitness[places], archive.novelty(places)).reshape(_WINNERS, -1)
    winners = places.reshape(_WINNERS, -1)[np.arange(_WINNERS), good.argmax(axis=1)]
    return np.unique(winners)
