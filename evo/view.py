"""What a search knew when it asked for a proposal: the values by which that one is screened and raced.

They never change, so a stored run can be replayed: the same knowledge, the same decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fitness.openers import Openers
    from fitness.predictor import Guess


@dataclass(frozen=True, slots=True)
class Screen:
    """What guesses said when a proposal was asked for; it never changes.

    `cut`: P(refusal) by the predictor under which a prompt does not reach the target.
    """

    predictor: Guess | None = None
    cut: float = 0.0
    openers: Openers | None = None
    blind: float = 0.0

    def guess(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """P(refusal) by the predictor, (n,), of prompts by their vectors (n, dim); NaN without one."""
        if self.predictor is None:
            return np.full(len(vectors), np.nan)
        return self.predictor(vectors)

    def is_blind(self, rng: np.random.Generator) -> bool:
        """Whether a proposal goes through unseen."""
        return bool(rng.random() < self.blind)


@dataclass(frozen=True, slots=True)
class View:
    """What the search knew when it asked for a proposal: by this alone it is screened and raced, so
    that a stored run can be replayed. `bar` is the fitness that wins a place."""

    bar: float
    screen: Screen
