"""Random search: one random rewrite of a random seed, no selection. What evolution has to beat."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from evo.algorithms.interface import Choice
from evo.config import SearchConfig
from evo.types import MUTATIONS, Candidate, Outcome, Strategy


class RandomSearch:
    def __init__(self, settings: SearchConfig, operators: Sequence[str], run_seed: int) -> None:
        self._operators = list(operators)
        self._seeds: list[Candidate] = []

    def choose(self, rng: np.random.Generator) -> Choice | None:
        if not self._seeds:
            return None
        operator = self._operators[rng.integers(len(self._operators))]
        strategy = MUTATIONS[rng.integers(len(MUTATIONS))]
        return Choice(operator, strategy, (self._seeds[rng.integers(len(self._seeds))],))

    def bar(self) -> float:
        return -math.inf

    def hear(self, outcome: Outcome, *, over_refusal: bool) -> None:
        candidate = outcome.candidate
        if outcome.evaluation and candidate and candidate.strategy is Strategy.SEED:
            self._seeds.append(candidate)
