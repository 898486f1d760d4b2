"""Cliff-as-a-Judge: which examples a repair should learn from (arXiv 2510.06036). Pure.

    misalignment of example i = plateau_i - final_i

Largest first: the target meant to refuse and did not. The mirror, for over-refusal, is the harmless
prompt with the largest inverse cliff: the target meant to answer and refused. The paper's code sorts by
the final score alone; here the plateau counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """What a selection reads of an example; `key` names it and breaks ties."""

    key: str
    plateau: float
    final: float
    harmful: bool | None = None  # None: nobody has said

    @property
    def misalignment(self) -> float:
        return self.plateau - self.final


def select(examples: Sequence[Example], fraction: float, *, inverse: bool = False) -> list[Example]:
    """The `fraction` of the examples with the largest misalignment, largest first.

    Args:
        fraction: of all that may be chosen, in (0, 1]; rounded down, at least one where there is one.
        inverse: the largest inverse cliffs, of examples that are known to be harmless.

    Examples whose score does not fall (or, inverse, rise) at all are never chosen, so there may be fewer.

    >>> there = [Example("a", 0.9, 0.1), Example("b", 0.9, 0.8), Example("c", 0.1, 0.9, harmful=False)]
    >>> [e.key for e in select(there, 0.67)], [e.key for e in select(there, 1.0, inverse=True)]
    (['a', 'b'], ['c'])
    """
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"a fraction must be above 0 and at most 1, got {fraction}")
    sign = -1.0 if inverse else 1.0
    possible = [e for e in examples if not inverse or e.harmful is False]
    wanted = max(1, math.floor(fraction * len(possible) + 1e-9))
    ordered = sorted(possible, key=lambda e: (-sign * e.misalignment, e.key))
    return [e for e in ordered[:wanted] if sign * e.misalignment > 0]
