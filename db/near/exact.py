"""Exact cosines, and the best of many. Pure; knows no database."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Near = tuple[str, float]  # prompt id, cosine


@dataclass(frozen=True, slots=True)
class Question:
    """A unit vector, float32 of shape (dim,), and the embedder that it and its answers are of."""

    vector: NDArray[np.float32]
    embedder: str


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """This vector at length 1, float32; a zero vector stays as it is."""
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length else vector, dtype=np.float32)


def stacked(blobs: Sequence[bytes], dim: int) -> NDArray[np.float32]:
    """Stored vectors as a matrix, (n, dim); the others' rows are left out by the caller."""
    return np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(blobs), dim)


def cosines(blobs: Sequence[bytes], vector: NDArray[np.float32]) -> list[float]:
    """Of stored unit vectors with this one, -1 to 1."""
    if not blobs:
        return []
    products = stacked(blobs, len(vector)) @ vector  # (n,)
    return [float(c) for c in np.clip(products, -1.0, 1.0)]


def best(found: Iterable[Near], k: int) -> list[Near]:
    """The k nearest, the nearest first; of equals the lesser id first."""
    return heapq.nsmallest(k, found, key=lambda near: (-near[1], near[0]))
