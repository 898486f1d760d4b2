"""Best of n: n random rewrites of each seed, all seeds in turn; no second generation, nothing is kept.

What a data set gets that is made by asking for rewrites and keeping the refused ones. The turns go
round, so a run that ends early has spent as much on each seed (best of fewer).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from evo.algorithms.interface import Choice
from evo.config import SearchConfig
from evo.types import MUTATIONS, Candidate, Outcome, Strategy

REWRITES = 64  # n, of each seed


class BestOfN:
    def __init__(self, settings: SearchConfig, operators: Sequence[str], run_seed: int) -> None:
        self._operators = list(operators)
        self._seeds: list[Candidate] = []
        self._asked: list[int] = []  # rewrites asked of each seed

    def choose(self, rng: np.random.Generator) -> Choice | None:
        if not self._seeds:
            return None
        turn = min(range(len(self._seeds)), key=self._asked.__getitem__)
        if self._asked[turn] >= REWRITES:
            return None
        self._asked[turn] += 1
        operator = self._operators[rng.integers(len(self._operators))]
        return Choice(operator, MUTATIONS[rng.integers(len(MUTATIONS))], (self._seeds[turn],))

    def hear(self, outcome: Outcome, *, over_refusal: bool) -> None:
        if outcome.evaluation and outcome.candidate and outcome.candidate.strategy is Strategy.SEED:
            self._seeds.append(outcome.candidate)
            self._asked.append(0)

    def bar(self) -> float:
        """There are no places to win."""
        return -math.inf
