"""No search: the seeds are asked and nothing else. How a data set is evaluated."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from evo.algorithms.interface import Choice
from evo.config import SearchConfig
from evo.types import Outcome


class SeedsOnly:
    def __init__(self, settings: SearchConfig, operators: Sequence[str], run_seed: int) -> None:
        pass

    def choose(self, rng: np.random.Generator) -> Choice | None:
        return None

    def bar(self) -> float:
        return -math.inf

    def hear(self, outcome: Outcome, *, over_refusal: bool) -> None:
        pass
