"""Which operator and strategy to try next: Thompson sampling with forgetting.

Each arm keeps a Beta posterior over *its proposal became an over-refusal in a new niche*; old evidence
fades, because what triggers the target changes with the parents.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np

from evo.types import Strategy

Arm = TypeVar("Arm", bound=Hashable)

# Success rates of the strategies in EvoRefuse (arXiv 2505.23473), as the centre of the prior.
PAPER_SUCCESS: Mapping[Strategy, float] = {
    Strategy.IMAGINED_SCENARIO: 0.20,
    Strategy.VIOLENT_WORDS: 0.15,
    Strategy.ANGER: 0.14,
    Strategy.OTHER_SENSITIVE_WORDS: 0.12,
    Strategy.DESPAIR: 0.08,
    Strategy.CONTROVERSIAL_TOPIC: 0.07,
    Strategy.IMPLIED_HARM: 0.06,
    Strategy.DISGUST: 0.05,
    Strategy.PREJUDICED_WORDS: 0.05,
}
# No paper gives one. A judgement: as good as the second best strategy, since both parents are fit;
# without recombination EvoRefuse was slower, not worse.
RECOMBINATION_PRIOR = 0.15
_PRIOR_WEIGHT = 4.0  # pseudo-observations behind each prior
_FORGETTING = 0.995


class Arms(Protocol[Arm]):
    """Chooses among named arms and hears what came of it."""

    def choose(self, rng: np.random.Generator, without: frozenset[Arm] = frozenset()) -> Arm:
        """An arm that is not among `without`, which must leave one."""

    def learn(self, arm: Arm, won: bool) -> None:
        """Note one ended proposal of `arm`; arms that are not known are ignored."""


class Bandit(Generic[Arm]):
    """Discounted Thompson sampling over named arms with prior success rates in (0, 1)."""

    def __init__(self, priors: Mapping[Arm, float]) -> None:
        self._arms: Sequence[Arm] = list(priors)
        self._places = {arm: place for place, arm in enumerate(self._arms)}
        rates = np.array([priors[arm] for arm in self._arms])
        self._prior_wins = _PRIOR_WEIGHT * rates
        self._prior_losses = _PRIOR_WEIGHT * (1.0 - rates)
        self._wins = np.zeros(len(rates))
        self._losses = np.zeros(len(rates))

    def choose(self, rng: np.random.Generator, without: frozenset[Arm] = frozenset()) -> Arm:
        drawn = rng.beta(self._prior_wins + self._wins, self._prior_losses + self._losses)
        for arm in without:
            drawn[self._places[arm]] = -1.0
        return self._arms[int(drawn.argmax())]

    def learn(self, arm: Arm, won: bool) -> None:
        place = self._places.get(arm)
        if place is None:
            return
        self._wins *= _FORGETTING
        self._losses *= _FORGETTING
        (self._wins if won else self._losses)[place] += 1.0


class Uniform(Generic[Arm]):
    """All arms alike, whatever happens: the bandit switched off."""

    def __init__(self, arms: Sequence[Arm]) -> None:
        self._arms = list(arms)

    def choose(self, rng: np.random.Generator, without: frozenset[Arm] = frozenset()) -> Arm:
        left = [arm for arm in self._arms if arm not in without]
        return left[int(rng.integers(len(left)))]

    def learn(self, arm: Arm, won: bool) -> None:
        """Nothing."""
