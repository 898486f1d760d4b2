"""Choosing parents by fitness and diversity. Pure: numbers and a generator in, places out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEIGHBOURS = 5
_TOURNAMENT = 4
# How much being unlike the others counts beside being fit; both are ranks in [0, 1].
_DIVERSITY = 0.5


def novelty(vectors: NDArray[np.float32], neighbours: int = _NEIGHBOURS) -> NDArray[np.float64]:
    """Mean cosine distance of each row to its nearest neighbours. vectors (n, dim), unit rows;
    returns (n,) in [0, 2]; a row without neighbours has 1."""
    n = len(vectors)
    if n < 2:
        return np.ones(n)
    distance = 1.0 - (vectors @ vectors.T).astype(np.float64)  # (n, n)
    np.fill_diagonal(distance, np.inf)
    k = min(neighbours, n - 1)
    nearest = np.partition(distance, k - 1, axis=1)[:, :k]
    means: NDArray[np.float64] = nearest.mean(axis=1)
    return means


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks in [0, 1], the largest value 1; equal values share the mean of their ranks."""
    n = len(values)
    if n < 2:
        return np.ones(n)
    ordered = np.sort(values)
    first, last = np.searchsorted(ordered, values), np.searchsorted(ordered, values, "right") - 1
    spread: NDArray[np.float64] = (first + last) / 2 / (n - 1)
    return spread


def quality(fitness: NDArray[np.float64], novelties: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a tournament goes by: the rank of fitness and, for less, that of novelty. All (n,)."""
    return ranks(fitness) + _DIVERSITY * ranks(novelties)


def tournament(
    fitness: NDArray[np.float64], novelties: NDArray[np.float64], rng: np.random.Generator
) -> int:
    """The place of the winner among a few drawn at random, by rank of fitness and of novelty."""
    return winner(quality(fitness, novelties), rng)


def winner(quality: NDArray[np.float64], rng: np.random.Generator) -> int:
    """`tournament` for those who keep the quality."""
    drawn = rng.integers(0, len(quality), size=min(_TOURNAMENT, len(quality)))
    return int(drawn[np.argmax(quality[drawn])])


def distinct(
    vectors: NDArray[np.float32], fitness: NDArray[np.float64], nearest: float
) -> list[int]:
    """Places of a subset in which no two have a cosine of `nearest` or more, picked greedily from
    the fittest on. Its size is the number of clusters that reports give."""
    chosen: list[int] = []
    for place in np.argsort(-fitness, kind="stable").tolist():
        if not chosen or float((vectors[chosen] @ vectors[place]).max()) < nearest:
            chosen.append(place)
    return chosen
