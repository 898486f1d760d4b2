"""How crowded it is around each member of the archive, kept as members come and go.

Knows places and cosines, no vectors. What is farther than `CROWD` is not crowding: the cosine there
is counted as `CROWD`, so nothing has to be measured against everybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CROWD = 0.8  # cosine from which a neighbour is felt
_NEIGHBOURS = 5


class Crowding:
    """The `_NEIGHBOURS` nearest of every place, among those that `joined` was told of.

    A place whose neighbour leaves is not asked for its sixth: that stays unknown until it meets
    another. So novelty is exact while nobody leaves, and never too small.
    """

    def __init__(self) -> None:
        self._n = 0
        self._cosines = np.full((64, _NEIGHBOURS), CROWD, dtype=np.float32)
        self._places = np.full((64, _NEIGHBOURS), -1, dtype=np.int32)

    def __len__(self) -> int:
        return self._n

    def novelty(self, places: NDArray[np.intp]) -> NDArray[np.float64]:
        """Mean cosine distance of each place to its nearest neighbours, (k,) in [0, 1 - CROWD]."""
        means: NDArray[np.float64] = 1.0 - self._cosines[places].astype(np.float64).mean(axis=1)
        return means

    def joined(self, place: int, beside: NDArray[np.intp], cosines: NDArray[np.float32]) -> None:
        """A vector came to a place, the next one or one that was `left`.

        Args:
            place: where it is.
            beside: the places within `CROWD` of it, without its own, (k,).
            cosines: theirs, (k,).
        """
        self._n = max(self._n, place + 1)
        while self._n > len(self._cosines):
            self._cosines = np.concatenate([self._cosines, np.full_like(self._cosines, CROWD)])
            self._places = np.concatenate([self._places, np.full_like(self._places, -1)])
        nearest = np.argsort(-cosines, kind="stable")[:_NEIGHBOURS]
        self._cosines[place], self._places[place] = CROWD, -1
        self._cosines[place, : len(nearest)] = cosines[nearest]
        self._places[place, : len(nearest)] = beside[nearest]
        farthest = self._cosines[beside].argmin(axis=1)  # (k,)
        nearer = cosines > self._cosines[beside, farthest]
        self._cosines[beside[nearer], farthest[nearer]] = cosines[nearer]
        self._places[beside[nearer], farthest[nearer]] = place

    def left(self, place: int) -> None:
        """The vector at a place is gone."""
        # Flat: np.nonzero of two dimensions is 25 times slower.
        found = np.flatnonzero(self._places.reshape(-1)[: self._n * _NEIGHBOURS] == place)
        rows, columns = np.divmod(found, _NEIGHBOURS)
        self._cosines[rows, columns] = CROWD
        self._places[rows, columns] = -1
        self._cosines[place], self._places[place] = CROWD, -1
