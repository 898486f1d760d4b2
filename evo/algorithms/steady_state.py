"""Steady state: no generations. Every outcome may change the archive, every choice draws from it.

Parents win a tournament by fitness and novelty; a bandit picks operator and strategy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evo.algorithms.interface import Choice
from evo.archive import Added, Archive, Member
from evo.bandit import PAPER_SUCCESS, Bandit
from evo.config import SearchConfig
from evo.selection import novelty, quality, winner
from evo.types import Candidate, Outcome, Strategy


class SteadyState:
    def __init__(self, settings: SearchConfig, operators: Sequence[str], run_seed: int) -> None:
        self.archive = Archive(settings.population)
        self._operators = list(operators)
        self._recombination = settings.recombination
        self._priors = {(o, s): rate for o in operators for s, rate in PAPER_SUCCESS.items()}
        self._bandit = Bandit(self._priors)
        self._quality: np.ndarray | None = None  # of the members, until the archive changes

    def offer(self, arms: Mapping[tuple[str, Strategy], float]) -> None:
        self._bandit = Bandit(self._priors | dict(arms))

    def choose(self, rng: np.random.Generator) -> Choice | None:
        if not self.archive.members:
            return None
        first = self._parent(rng)
        if len(self.archive.members) > 1 and rng.random() < self._recombination:
            second = self._parent(rng)
            if second.prompt_id != first.prompt_id:
                operator = self._operators[rng.integers(len(self._operators))]
                return Choice(operator, Strategy.RECOMBINATION, (first, second))
        operator, strategy = self._bandit.choose(rng)
        return Choice(operator, strategy, (first,))

    def hear(self, outcome: Outcome, *, over_refusal: bool) -> None:
        assignment = outcome.assignment
        self._bandit.learn((assignment.operator, assignment.strategy), won=over_refusal)
        if outcome.evaluation and outcome.candidate and outcome.embedding is not None:
            member = Member(outcome.candidate, outcome.evaluation.score)
            if self.archive.add(member, outcome.embedding) is not Added.REJECTED:
                self._quality = None

    def _parent(self, rng: np.random.Generator) -> Candidate:
        if self._quality is None:
            fitness = np.array([m.score.fitness for m in self.archive.members])
            self._quality = quality(fitness, novelty(self.archive.vectors.rows))
        return self.archive.members[winner(self._quality, rng)].candidate
