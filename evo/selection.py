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
_BLOCK = 256  # rows that one product compares


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


def determinantal(
    vectors: NDArray[np.float32], quality: NDArray[np.float64], k: int, ridge: float = 1e-3
) -> list[int]:
    """A subset that is good and unlike, by greedy determinantal selection.

    The greedy maximum of det L_Y over |Y| = k with L = diag(q) (V V^T + ridge I) diag(q), by the
    incremental Cholesky of Chen, Zhang and Zhou (arXiv 1709.05135, Algorithm 1): O(n k (k + dim)).

    Args:
        vectors: V, (n, dim), unit rows.
        quality: q, (n,), positive; only its ratios count.
        k: how many; all where there are fewer.
        ridge: what lets more than dim be chosen; equals follow each other last.

    Returns:
        min(k, n) places in the order in which they were chosen; the first has the highest quality.

    Raises:
        ValueError: a quality is not positive and finite.
    """
    n = len(vectors)
    if len(quality) != n:
        raise ValueError(f"{n} vectors and {len(quality)} qualities; give one for each")
    if not (np.isfinite(quality) & (quality > 0)).all():
        raise ValueError("qualities of a determinantal selection must be positive and finite")
    rows = vectors.astype(np.float64)
    q = np.asarray(quality, dtype=np.float64) / (quality.max() if n else 1.0)
    wanted = min(k, n)
    factors = np.zeros((max(wanted, 0), n))  # rows of the Cholesky factor
    gains = q**2 * (
        np.einsum("ij,ij->i", rows, rows) + ridge
    )  # what each would multiply det L_Y by
    chosen: list[int] = []
    for step in range(wanted):
        best = int(gains.argmax())
        chosen.append(best)
        row = q[best] * q * (rows @ rows[best])
        row[best] += q[best] ** 2 * ridge
        row -= factors[:step, best] @ factors[:step]
        factors[step] = row / np.sqrt(max(gains[best], np.finfo(float).tiny))
        gains = np.maximum(gains - factors[step] ** 2, 0.0)
        gains[chosen] = -1.0
    return chosen


def distinct(
    vectors: NDArray[np.float32], fitness: NDArray[np.float64], nearest: float
) -> list[int]:
    """Places of a subset in which no two have a cosine of `nearest` or more, picked greedily from
    the fittest on. Its size is the number of clusters that reports give."""
    order = np.argsort(-fitness, kind="stable")
    chosen: list[int] = []
    kept = np.empty_like(vectors)  # rows of `vectors`, in order of `chosen`
    for start in range(0, len(order), _BLOCK):
        places = order[start : start + _BLOCK]
        if chosen:
            known = (vectors[places] @ kept[: len(chosen)].T).max(axis=1)
            places = places[known < nearest]
        among = vectors[places] @ vectors[places].T
        taken: list[int] = []
        for row in range(len(places)):
            if not taken or float(among[row, taken].max()) < nearest:
                taken.append(row)
        kept[len(chosen) : len(chosen) + len(taken)] = vectors[places[taken]]
        chosen += places[taken].tolist()
    return chosen
