"""The nearest of many remembered unit vectors, exactly, without multiplying them all out.

Knows vectors and their places, no text and no score. A question reads a short head of every vector
and the whole of those few that the heads cannot rule out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HEADS = (31, 63, 127, 191)  # with the norm of the tail 32 columns: 12.8 MB for 100,000 vectors
_TRIED_AT = 0.8  # cosine at which the heads are tried out, shortest first
_MISLED = 0.01  # of the pairs below it, so many may look nearer by their heads
_TRIED = 256  # vectors that are asked for then
_FIRST = 512  # fewer vectors are multiplied out in less time than their heads
_REFIT = 4  # the axes are found anew when there are so many times more
_SAMPLE = 2048  # vectors that the axes are found from
_MANY = 0.25  # of all, from which on multiplying them all out costs less than fetching some
_SLACK = 1e-5  # of the bound, for rounding
_TAIL_SLACK = 1e-6  # of a squared norm that is a difference of two


class Neighbours:
    """Unit vectors that grow and are replaced in place.

    For unit vectors u and v, cut into a head and a tail by any orthonormal basis, Cauchy and Schwarz
    give u.v <= head(u).head(v) + |tail(u)| |tail(v)|. The head holds the principal axes of what is
    remembered, so that the tails are short and the bound is tight; its last column is the norm of the
    tail, so that the bound is one product. Vectors without favoured directions need a longer head.
    Answers do not depend on the axes, but for the last bit.
    """

    def __init__(self) -> None:
        self._n = 0
        self._rows: NDArray[np.float32] | None = None  # (capacity, dim)
        self._heads: NDArray[np.float32] | None = None  # (capacity, head + 1), once there are axes
        self._axes: NDArray[np.float32] | None = None  # (dim, head), orthonormal columns
        self._behind: list[int] = []  # places whose head is not that of their vector yet
        self._refit_at = _FIRST

    def __len__(self) -> int:
        return self._n

    @property
    def rows(self) -> NDArray[np.float32]:
        """(n, dim), a view: row i is the vector at place i."""
        if self._rows is None:
            return np.zeros((0, 0), dtype=np.float32)
        return self._rows[: self._n]

    def add(self, vector: NDArray[np.float32]) -> int:
        """Remember a unit vector (dim,); returns its place, 0, 1, 2 and so on."""
        if self._rows is None:
            self._rows = np.empty((64, len(vector)), dtype=np.float32)
        if self._n == len(self._rows):
            self._rows = _doubled(self._rows)
            if self._heads is not None:
                self._heads = _doubled(self._heads)
        place = self._n
        self._n += 1
        self._put(place, vector)
        if self._n >= self._refit_at:
            self._refit_at *= _REFIT
            self._find_axes()
        return place

    def replace(self, place: int, vector: NDArray[np.float32]) -> None:
        """Put another unit vector at a place.

        Raises:
            IndexError: nothing is at that place.
        """
        if not 0 <= place < self._n:
            raise IndexError(f"place {place} of {self._n} vectors")
        self._put(place, vector)

    def nearest(
        self, vectors: NDArray[np.float32], least: float
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """The nearest remembered vector of each, if its cosine is `least` or more.

        Args:
            vectors: (m, dim), unit rows.
            least: cosine below which nobody counts.

        Returns:
            places (m,), -1 for none, and cosines (m,), -1 for none. Of equals the first place.
        """
        places = np.full(len(vectors), -1, dtype=np.intp)
        cosines = np.full(len(vectors), -1.0, dtype=np.float32)
        for asked, (close, found) in enumerate(self._close(vectors, least)):
            if len(close):
                best = int(found.argmax())
                places[asked], cosines[asked] = close[best], found[best]
        return places, cosines

    def within(
        self, vector: NDArray[np.float32], least: float
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """All whose cosine to a unit vector (dim,) is `least` or more: places (k,) in their order,
        cosines (k,)."""
        ((places, cosines),) = self._close(vector[None], least)
        return places, cosines

    def _close(
        self, vectors: NDArray[np.float32], least: float
    ) -> list[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        """`within` of each row."""
        answers = []
        bounds = self._bounds(vectors)  # (m, n)
        for asked, vector in enumerate(vectors):
            places = None
            if bounds is not None:
                places = np.flatnonzero(bounds[asked] >= least - _SLACK)
            if places is None or len(places) > _MANY * self._n:
                cosines = self.rows @ vector if self._n else np.zeros(0, dtype=np.float32)
                near = np.flatnonzero(cosines >= least)
                answers.append((near, cosines[near]))
            else:
                cosines = self.rows[places] @ vector
                near = cosines >= least
                answers.append((places[near], cosines[near]))
        return answers

    def _bounds(self, vectors: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """What no cosine exceeds, (m, n); None while there are no axes."""
        if self._heads is None or self._axes is None:
            return None
        if self._behind:  # together: one by one they cost more than the question
            self._heads[self._behind] = _heads(self.rows[self._behind], self._axes)
            self._behind.clear()
        bounds: NDArray[np.float32] = _heads(vectors, self._axes) @ self._heads[: self._n].T
        return bounds

    def _put(self, place: int, vector: NDArray[np.float32]) -> None:
        assert self._rows is not None  # noqa: S101 - `add` makes them
        self._rows[place] = vector
        if self._heads is not None:
            self._behind.append(place)

    def _find_axes(self) -> None:
        assert self._rows is not None  # noqa: S101 - `add` makes them
        step = max(2, self._n // _SAMPLE)
        sample = self.rows[::step].astype(np.float64)
        _, axes = np.linalg.eigh(sample.T @ sample)  # smallest first
        falling = np.ascontiguousarray(axes[:, ::-1], dtype=np.float32)
        self._axes = _short(falling, self.rows[1::step])
        self._heads = np.empty((len(self._rows), self._axes.shape[1] + 1), dtype=np.float32)
        self._heads[: self._n] = _heads(self.rows, self._axes)
        self._behind.clear()


def _short(axes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """The fewest axes, (dim, head), that tell far from near among vectors that they were not found
    from, (k, dim)."""
    asked = others[:: max(1, len(others) // _TRIED)]  # (about _TRIED, dim)
    n_far = np.count_nonzero(asked @ others.T < _TRIED_AT)
    n_near = len(asked) * len(others) - n_far
    for head in _HEADS:
        short = np.ascontiguousarray(axes[:, :head])
        bounds = _heads(asked, short) @ _heads(others, short).T  # (asked, k)
        if np.count_nonzero(bounds >= _TRIED_AT) - n_near <= _MISLED * n_far:
            break
    return short


def _heads(vectors: NDArray[np.float32], axes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(m, dim) -> (m, head + 1): the head and the norm of the tail, never too small."""
    head = vectors @ axes
    tail = np.einsum("ij,ij->i", vectors, vectors) - np.einsum("ij,ij->i", head, head)
    norm = np.sqrt(np.maximum(tail, 0.0) + np.float32(_TAIL_SLACK))
    return np.concatenate([head, norm[:, None]], axis=1, dtype=np.float32)


def _doubled(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([rows, np.empty_like(rows)])
