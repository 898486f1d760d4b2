"""The minimum of a smooth convex function by L-BFGS (Liu and Nocedal 1989), in numpy alone.

scipy has it too, but takes half a second to load, in the middle of a search, and brings a BLAS of its own
that knows nothing of the limits that a driver has set. Knows functions and points; no model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Point = NDArray[np.float64]

_REMEMBERED = 10  # steps that say how the gradient turns
_ENOUGH = 1e-4  # of the fall that the slope promises (Armijo)
_HALVINGS = 30


def minimum(
    slope_at: Callable[[Point], tuple[float, Point]], start: Point, tolerance: float, most: int
) -> Point:
    """Where a convex function is least.

    Args:
        slope_at: its value and its gradient (n,) at a point (n,).
        start: (n,).
        tolerance: it is there when no component of the gradient is larger.
        most: steps, then it is where it has come to.

    >>> minimum(lambda x: (float(x @ x), 2 * x), np.array([3.0, -1.0]), 1e-9, 50).round(6) + 0.0
    array([0., 0.])
    """
    point = start
    value, slope = slope_at(point)
    turns: deque[tuple[Point, Point]] = deque(maxlen=_REMEMBERED)  # steps, changes of the gradient
    for _ in range(most):
        if np.abs(slope).max() <= tolerance:
            break
        way = -_turned(slope, turns)
        # The first step has no scale: not farther than 1.
        length = 1.0 if turns else min(1.0, 1.0 / float(np.linalg.norm(way)))
        fall = float(way @ slope)
        for _ in range(_HALVINGS):
            further = point + length * way
            next_value, next_slope = slope_at(further)
            if next_value <= value + _ENOUGH * length * fall:
                break
            length /= 2
        else:  # no lower for rounding
            break
        step, change = further - point, next_slope - slope
        if float(step @ change) > 1e-12 * float(change @ change):
            turns.append((step, change))
        point, value, slope = further, next_value, next_slope
    return point


def _turned(slope: Point, turns: deque[tuple[Point, Point]]) -> Point:
    """The inverse Hessian that the last steps suggest, times the gradient: their two loops."""
    turned = slope.copy()
    shares = []
    for step, change in reversed(turns):
        share = float(step @ turned) / float(step @ change)
        turned -= share * change
        shares.append(share)
    if turns:
        step, change = turns[-1]
        turned *= float(step @ change) / float(change @ change)
    for (step, change), share in zip(turns, reversed(shares), strict=True):
        turned += (share - float(change @ turned) / float(step @ change)) * step
    return turned
