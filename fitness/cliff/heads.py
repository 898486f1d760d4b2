"""Which attention heads suppress a refusal, and which promote it (arXiv 2510.06036, section on heads). Pure.

The contribution of head i of layer l is the signed length of its own output along the refusal direction w:

    c_{l,i} = w . (W_o^{l,i} a_{l,i}) / |w|         at the last token before the answer

Of several prompts it is the mean, each prompt weighing the same whatever batch it came in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Head:
    """One head, with its mean contribution: below 0 it suppresses refusal."""

    layer: int
    head: int
    contribution: float


@dataclass(frozen=True, slots=True, eq=False)
class HeadMap:
    """Mean contributions (layers, heads) over `n` prompts."""

    contributions: NDArray[np.float64]
    n: int

    @property
    def ranked(self) -> list[Head]:
        """Every head, the most suppressing first; equal ones by layer and head."""
        flat = self.contributions.ravel()
        _, heads = self.contributions.shape
        return [
            Head(int(i) // heads, int(i) % heads, float(flat[i]))
            for i in np.argsort(flat, kind="stable")
        ]

    def suppressing(self, k: int) -> list[Head]:
        """At most k heads with a contribution below 0, the strongest first."""
        return [head for head in self.ranked[:k] if head.contribution < 0]

    def promoting(self, k: int) -> list[Head]:
        """At most k heads with a contribution above 0, the strongest first."""
        return [head for head in self.ranked[::-1][:k] if head.contribution > 0]

    def count_of(self, share: float) -> int:
        """How many heads are at most this share of them, at least one.

        >>> HeadMap(np.zeros((30, 9)), 1).count_of(0.03)
        8
        """
        return max(1, math.floor(share * self.contributions.size + 1e-9))


def head_map(prompts: Iterable[ArrayLike]) -> HeadMap:
    """The mean of contributions (layers, heads) of one prompt each; does not depend on their order.

    Raises:
        ValueError: there is none, their shapes differ, or one is not finite.
    """
    rows: Sequence[NDArray[np.float64]] = [np.asarray(p, dtype=np.float64) for p in prompts]
    if not rows:
        raise ValueError("a head map needs at least one prompt")
    shapes = {row.shape for row in rows}
    if len(shapes) != 1 or rows[0].ndim != 2:
        raise ValueError(f"contributions must be (layers, heads), alike, got {sorted(shapes)}")
    stacked = np.stack(rows)
    if not np.isfinite(stacked).all():
        raise ValueError("a contribution is not finite")
    # Summed exactly, so that the mean is the same whatever the order.
    flat = stacked.reshape(len(rows), -1)
    mean = np.array([math.fsum(column) / len(rows) for column in flat.T.tolist()])
    return HeadMap(mean.reshape(rows[0].shape), len(rows))
