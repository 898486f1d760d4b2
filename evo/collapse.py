"""Does the search still find different things? Counts clusters among what it found last.

Pure: numbers of clusters in, numbers out. What is done about a collapse is the algorithm's business.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping

NEWS = 0.75  # cosine to an earlier over-refusal from which another is in its cluster, and no news
WINDOW = 200  # over-refusals that are looked at
FEWEST = 50  # before anything is called a collapse
_FALLEN = 0.5  # of the best so far
_RECOVERED = 0.6
_PATIENCE = 2 * WINDOW  # over-refusals, then the present is the new measure


def effective_clusters(sizes: Iterable[int]) -> float:
    """exp of the entropy of the cluster sizes: n for n equal ones, near 1 where one has nearly all;
    0 of nothing.

    >>> round(effective_clusters([5, 5, 5]), 6)
    3.0
    """
    return _effective(Counter(size for size in sizes if size > 0))


def _effective(alike: Mapping[int, int]) -> float:
    """`effective_clusters` by how many clusters have each size, none of them 0."""
    total = sum(size * n for size, n in alike.items())
    if not total:
        return 0.0
    shares = ((size / total, n) for size, n in sorted(alike.items()))
    return math.exp(-sum(n * share * math.log(share) for share, n in shares))


class CollapseWatch:
    """Effective clusters of the last `WINDOW` over-refusals, and whether they have collapsed.

    A collapse begins when they fall under half of their best so far and ends at six tenths of it. One
    that lasts `_PATIENCE` over-refusals ends too: what is left is then all that there is to find, and
    the best is counted anew.
    """

    def __init__(self) -> None:
        self.effective = 0.0
        self.best = 0.0
        self.collapsed = False
        self.collapses = 0
        self._last: deque[int] = deque()
        self._sizes: Counter[int] = Counter()  # by cluster
        self._alike: Counter[int] = Counter()  # clusters by size: few sizes, however many clusters
        self._lasted = 0

    def note(self, cluster: int) -> None:
        """One more over-refusal, in the cluster of this number."""
        self._last.append(cluster)
        self._resize(cluster, 1)
        if len(self._last) > WINDOW:
            self._resize(self._last.popleft(), -1)
        self.effective = _effective(self._alike)
        self.best = max(self.best, self.effective)
        if self.collapsed:
            self._lasted += 1
            if self._lasted >= _PATIENCE:
                self.best = self.effective
            self.collapsed = self.effective < _RECOVERED * self.best
        elif len(self._last) >= FEWEST and self.effective < _FALLEN * self.best:
            self.collapsed = True
            self.collapses += 1
            self._lasted = 0

    def _resize(self, cluster: int, change: int) -> None:
        before = self._sizes.pop(cluster, 0)
        after = before + change
        if after:
            self._sizes[cluster] = after
        for size, n in ((before, -1), (after, 1)):
            if size:
                self._alike[size] += n
                if not self._alike[size]:
                    del self._alike[size]
