"""Which rows must stay on one side of a split, and which are known from a benchmark.

Pure: knows texts, unit vectors and lineage as a caller hands them in; reads no database. Two rows leak
into each other when they share a lineage or when the cosine of their vectors reaches a bound.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from evo.seeding import generator
from evo.types import normalise
from workers.interface import ConfigError

# Rows of a tile: 2048 x 2048 cosines are 16 MB, whatever the number of rows.
_TILE = 2048
# Edges that wait for the next union; a union looks at every row.
_WAITING = 1_000_000
# Rows whose cosine is as near to the bound as rounding can put it count as over it.
_SLACK = 1e-5


def components(
    vectors: NDArray[np.floating],
    lineage: Sequence[Collection[Hashable]],
    cosine: float,
) -> NDArray[np.intp]:
    """The group of each row: rows that leak into each other, directly or through others.

    >>> vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [1.0, 0.0]], dtype=np.float32)
    >>> components(vectors, [["a"], ["b"], ["a", "c"], ["d"]], 0.95).tolist()
    [0, 1, 0, 0]

    Args:
        vectors: (n, dim), unit vectors of one embedder; all zeros for a row that has none, which is
            then near to no other. Rows are read in tiles, so a memory-mapped array will do.
        lineage: for each row whatever names its descent, such as the prompt ids of its seeds; rows
            that share one are in one group.
        cosine: of near-duplicates, in (0, 1].

    Returns:
        (n,), for each row the place of the first row of its group.
    """
    n = len(vectors)
    if len(lineage) != n:
        raise ValueError(f"{n} vectors, but the lineage of {len(lineage)} rows")
    groups, bound = _united(np.arange(n), *_relations(lineage)), cosine - _SLACK
    for start in range(0, n, _TILE):
        tile = _float32(vectors[start : start + _TILE])
        ones: list[NDArray[np.intp]] = []
        others: list[NDArray[np.intp]] = []
        for other in range(start, n, _TILE):
            similarity = tile @ _float32(vectors[other : other + _TILE]).T  # (tile, tile)
            # Few rows have a near one, as a rule; only those are looked at in full.
            some = np.flatnonzero(similarity.max(axis=1) >= bound)
            near = similarity[some] >= bound
            near &= groups[some + start, None] != groups[other : other + _TILE]
            row, column = np.nonzero(near)
            ones.append(some[row] + start)
            others.append(column + other)
            if sum(map(len, ones)) > _WAITING:
                groups = _united(groups, np.concatenate(ones), np.concatenate(others))
                ones, others = [], []
        if ones:
            groups = _united(groups, np.concatenate(ones), np.concatenate(others))
    return groups


def split(groups: NDArray[np.intp], shares: Mapping[str, float], seed: int) -> NDArray[np.intp]:
    """The side of each row, whole groups on one side; the same for the same arguments.

    Large groups are placed first, each by chance on a side that still has room for it. No side stays
    empty; the shares come out as asked but for what one group weighs.

    >>> split(np.array([0, 0, 2, 3, 4, 5]), {"train": 0.5, "test": 0.5}, 0).tolist()
    [1, 1, 0, 1, 0, 0]

    Args:
        groups: (n,), as `components` gives them.
        shares: by name of the side, above 0; their sum is 1.

    Returns:
        (n,), the place of the side in `shares`.

    Raises:
        ConfigError: shares that are none; fewer groups than sides.
    """
    wanted = _wanted(shares)
    firsts, of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(firsts) < len(wanted):
        raise ConfigError(
            f"a split into {', '.join(shares)}: the {len(groups)} rows are {len(firsts)} groups that "
            "cannot be cut (one lineage, or near-duplicates); name fewer sides"
        )
    chance = generator(seed, "split")
    by_size = np.lexsort((chance.permutation(len(firsts)), -sizes))
    draws = chance.random(len(firsts))
    room = [share * len(groups) for share in wanted]
    empty = set(range(len(wanted)))
    side_of = np.empty(len(firsts), dtype=np.intp)
    for placed, group in enumerate(by_size):
        size = int(sizes[group])
        # The last groups are for the sides that have none.
        open_ = sorted(empty) if len(firsts) - placed == len(empty) else range(len(wanted))
        side = _drawn(open_, room, size, draws[placed])
        side_of[group] = side
        room[side] -= size
        empty.discard(side)
    return side_of[of_row]


@dataclass(frozen=True, slots=True)
class Prompts:
    """Texts, and their unit vectors (n, dim) where they have been embedded."""

    texts: Sequence[str]
    vectors: NDArray[np.floating] | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A row that a benchmark holds too. `is_exact`: the same text once both are normalised. `cosine`
    is that of the vectors, None where there are none."""

    row: int
    benchmark_row: int
    is_exact: bool
    cosine: float | None


def contaminated(rows: Prompts, benchmark: Prompts, cosine: float) -> list[Match]:
    """The rows that a benchmark knows, in order, each with what is nearest to it there.

    A row is known by its normalised text, or else by a cosine of at least `cosine` where both have
    vectors of one embedder.

    >>> contaminated(Prompts(["Kill  a process", "b"]), Prompts(["x", "kill a process"]), 0.95)
    [Match(row=0, benchmark_row=1, is_exact=True, cosine=None)]
    """
    places: dict[str, int] = {}
    for place, text in enumerate(benchmark.texts):
        places.setdefault(normalise(text), place)
    exact = {
        row: places[known]
        for row, text in enumerate(rows.texts)
        if (known := normalise(text)) in places
    }
    near: dict[int, tuple[int, float]] = {}
    if rows.vectors is not None and benchmark.vectors is not None:
        near = _nearest(rows.vectors, benchmark.vectors)
    found = []
    for row in range(len(rows.texts)):
        there, similar = near.get(row, (None, None))
        if row in exact:
            found.append(Match(row, exact[row], True, similar))
        elif there is not None and similar is not None and similar >= cosine - _SLACK:
            found.append(Match(row, there, False, similar))
    return found


# What the above are made of


def _relations(
    lineage: Sequence[Collection[Hashable]],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Edges between each row and the first one that shares a name with it."""
    first: dict[Hashable, int] = {}
    edges = [
        (first.setdefault(name, row), row) for row, names in enumerate(lineage) for name in names
    ]
    pairs = np.array(edges, dtype=np.intp).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _nearest(
    vectors: NDArray[np.floating], others: NDArray[np.floating]
) -> dict[int, tuple[int, float]]:
    """For each vector the place of the nearest other and its cosine."""
    if not len(others):
        return {}
    nearest: dict[int, tuple[int, float]] = {}
    for start in range(0, len(vectors), _TILE):
        tile = _float32(vectors[start : start + _TILE])
        best = np.full(len(tile), -np.inf, dtype=np.float32)
        where = np.zeros(len(tile), dtype=np.intp)
        for other in range(0, len(others), _TILE):
            similarity = tile @ _float32(others[other : other + _TILE]).T  # (tile, tile)
            place = similarity.argmax(axis=1)
            value = similarity[np.arange(len(tile)), place]
            better = value > best
            best[better], where[better] = value[better], place[better] + other
        nearest |= {
            start + row: (int(there), float(value))
            for row, (there, value) in enumerate(zip(where, best, strict=True))
        }
    return nearest


def _float32(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(vectors, dtype=np.float32)


def _united(
    groups: NDArray[np.intp], ones: NDArray[np.intp], others: NDArray[np.intp]
) -> NDArray[np.intp]:
    """The groups once the rows of each edge are in one; each is named by its first row."""
    if not len(ones):
        return groups
    n = len(groups)
    edges = (np.ones(len(ones), dtype=np.int8), (groups[ones], groups[others]))
    _, joined = connected_components(coo_array(edges, shape=(n, n)), directed=False)
    joined = joined[groups]
    _, first = np.unique(joined, return_index=True)
    named: NDArray[np.intp] = first[np.unique(joined, return_inverse=True)[1]]
    return named


def _wanted(shares: Mapping[str, float]) -> list[float]:
    wanted = list(shares.values())
    if not wanted or not all(share > 0 for share in wanted):
        raise ConfigError(f"a split into {_shown(shares)}: every share must be above 0")
    if not math.isclose(sum(wanted), 1.0, abs_tol=1e-6):
        raise ConfigError(
            f"a split into {_shown(shares)}: the shares add up to {sum(wanted):g}, not to 1"
        )
    return wanted


def _shown(shares: Mapping[str, float]) -> str:
    return ",".join(f"{name}={share:g}" for name, share in shares.items()) or "nothing"


def _drawn(sides: Sequence[int], room: Sequence[float], size: int, draw: float) -> int:
    """A side by the room that it has, among those that hold the group; else the roomiest."""
    fitting = [side for side in sides if room[side] >= size]
    if not fitting:
        return max(sides, key=lambda side: room[side])
    left = draw * sum(room[side] for side in fitting)
    for side in fitting:
        left -= room[side]
        if left < 0:
            return side
    return fitting[-1]
