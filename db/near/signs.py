"""Vectors by the signs of their numbers: 384 floats become 48 bytes, and XOR tells who is near.

Of unit vectors the number of differing signs grows with the angle between them, so the fewest
differing signs name those that are worth an exact cosine. Pure; knows no database.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]

_WORD = 64
# So many codes at a time: the working arrays stay in the processor's cache.
_BLOCK = 65_536


def n_words(dim: int) -> int:
    """Words of 64 signs that a vector takes.

    >>> n_words(384), n_words(65)
    (6, 2)
    """
    return -(-dim // _WORD)


def signs(vectors: NDArray[np.float32]) -> Codes:
    """Which numbers of these vectors, (n, dim), are above 0: shape (words, n).

    >>> signs(np.array([[1.0, -1.0, 2.0]], dtype=np.float32))
    array([[5]], dtype=uint64)
    """
    n, dim = vectors.shape
    packed = np.zeros((n, n_words(dim) * 8), dtype=np.uint8)
    bits = np.packbits(vectors > 0, axis=1, bitorder="little")
    packed[:, : bits.shape[1]] = bits
    return np.ascontiguousarray(packed.view("<u8").astype(np.uint64, copy=False).T)


def distances(codes: Codes, code: Codes) -> NDArray[np.uint16]:
    """How many signs of each code, (words, n), differ from this one, (words,): shape (n,)."""
    n = codes.shape[1]
    differing = np.empty(n, dtype=np.uint16)
    for start in range(0, n, _BLOCK):
        block = codes[:, start : start + _BLOCK] ^ code[:, None]
        differing[start : start + _BLOCK] = np.bitwise_count(block).sum(axis=0, dtype=np.uint16)
    return differing


def shortlist(differing: NDArray[np.uint16], size: int) -> NDArray[np.intp]:
    """Places of the `size` smallest, and of all that are as small as the last of them; in order of
    place."""
    if size >= len(differing):
        return np.arange(len(differing))
    below = np.cumsum(np.bincount(differing))  # [d]: how many differ by d or less
    bound = int(np.searchsorted(below, size))
    return np.flatnonzero(differing <= bound)
