"""Steady state: no generations. Every outcome may change the archive, every choice draws from it.

An island (a topic) is chosen by its yield, a bandit picks operator and strategy, parents come from the
island's mating pool. What counts as found is an over-refusal in a niche where none was before. When
what is found collapses into few clusters, seeds and rare cells become parents and recombinations cross
the islands, until it has recovered.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from evo.algorithms.interface import Choice
from evo.archive import Archive, Member
from evo.bandit import PAPER_SUCCESS, RECOMBINATION_PRIOR, Arms, Bandit, Uniform
from evo.collapse import CollapseWatch
from evo.config import SearchConfig
from evo.islands import Islands
from evo.mating import Pool, pool
from evo.niches import Niches
from evo.types import RESAMPLE, Candidate, Outcome, Strategy

_REFRESH = 32  # choices from one pool, fewer while there are few members
_ANSWER = 0.5  # share of parents from seeds and rare cells during a collapse

_Arm = tuple[str, Strategy]


class SteadyState:
    def __init__(self, settings: SearchConfig, operators: Sequence[str], run_seed: int) -> None:
        self.archive = Archive(settings.population)
        self._settings = settings
        priors: dict[_Arm, float] = {
            (o, s): rate for o in operators for s, rate in PAPER_SUCCESS.items()
        }
        self._recombinations = frozenset((o, Strategy.RECOMBINATION) for o in operators)
        priors |= dict.fromkeys(sorted(self._recombinations), RECOMBINATION_PRIOR)
        self._priors = priors
        self._arms = self._weighed(priors)
        self._islands = Islands()
        self._pools: dict[str | None, tuple[Pool, int]] = {}  # pool, choices that it is good for
        self._n_chosen = self._n_recombined = 0
        self._seeds: list[Candidate] = []
        self._over_refusals: list[Candidate] = []  # parents where there is no archive
        self._niches = Niches()
        self._watch = CollapseWatch()
        self._given: Counter[str] = Counter()  # over-refusals by the seed that they descend from

    @property
    def effective_clusters(self) -> float:
        """Of the last 200 over-refusals; 0 before the first."""
        return self._watch.effective

    @property
    def collapsed(self) -> bool:
        """Whether a collapse is being answered now."""
        return self._watch.collapsed

    @property
    def collapses(self) -> int:
        """How often the search has collapsed so far."""
        return self._watch.collapses

    def bar(self) -> float:
        return self.archive.bar() if self._settings.archive else -math.inf

    def offer(self, arms: Mapping[tuple[str, Strategy], float]) -> None:
        self._arms = self._weighed(self._priors | dict(arms))

    def _weighed(self, priors: Mapping[_Arm, float]) -> Arms[_Arm]:
        return Bandit(priors) if self._settings.bandit else Uniform(list(priors))

    def choose(self, rng: np.random.Generator) -> Choice | None:
        topic = self._island(rng)
        first = self._first(topic, rng)
        if first is None:
            return None
        self._n_chosen += 1
        too_many = self._n_recombined + 1 > self._settings.recombination * self._n_chosen
        without = self._recombinations if too_many else frozenset()
        operator, strategy = self._arms.choose(rng, without)
        if strategy is Strategy.RECOMBINATION:
            second = self._second(topic, first, rng)
            if second is not None:
                self._n_recombined += 1
                return Choice(operator, strategy, (first, second))
            operator, strategy = self._arms.choose(rng, self._recombinations)
        return Choice(operator, strategy, (first,))

    def hear(self, outcome: Outcome, *, over_refusal: bool) -> None:
        assignment, candidate, vector = outcome.assignment, outcome.candidate, outcome.embedding
        if assignment.operator == RESAMPLE:
            if outcome.evaluation and candidate:
                self.archive.rescore(candidate.prompt_id, outcome.evaluation.score)
            return
        won = over_refusal
        if outcome.evaluation and candidate:
            if assignment.strategy is Strategy.SEED:
                self._seeds.append(candidate)
            if over_refusal:
                if not self._settings.archive:
                    self._over_refusals.append(candidate)
                if vector is not None:
                    won = self._is_new_niche(vector) or not self._settings.archive
            if vector is not None and self._settings.archive:
                self.archive.add(Member(candidate, outcome.evaluation.score), vector)
        self._arms.learn((assignment.operator, assignment.strategy), won)
        if assignment.parents:
            first = assignment.parents[0]
            self._islands.learn(first.topic, won, over_refusal=over_refusal)
            self._given[first.seed_id] += over_refusal

    def _is_new_niche(self, vector: np.ndarray) -> bool:
        """Take note of the niche of an over-refusal; True where it is the first in it."""
        niche, new = self._niches.enter(vector)
        self._watch.note(niche)
        return new

    def _island(self, rng: np.random.Generator) -> str | None:
        """The topic to work on; None too where there are no islands."""
        if not (self._settings.archive and self._settings.islands):
            return None
        topics = [topic for topic in self.archive.topics if self.archive.places(topic)]
        return self._islands.choose(topics, rng) if topics else None

    def _first(self, topic: str | None, rng: np.random.Generator) -> Candidate | None:
        if not self._settings.archive:
            return _any(self._over_refusals or self._seeds, rng)
        if self._watch.collapsed and rng.random() < _ANSWER:
            return self._rare(rng)
        return self._pool(topic, rng).draw(rng)

    def _second(
        self, topic: str | None, first: Candidate, rng: np.random.Generator
    ) -> Candidate | None:
        """Somebody else: of the same island, but for migration, in a collapse, or where it has one."""
        if not self._settings.archive:
            drawn = _any(self._over_refusals or self._seeds, rng)
            return None if drawn is None or drawn.prompt_id == first.prompt_id else drawn
        abroad = rng.random() < self._settings.migration or self._watch.collapsed
        own = None if abroad else self._pool(topic, rng).draw(rng, without=first.prompt_id)
        if own is not None or not self._settings.islands:
            return own or self._pool(topic, rng).draw(rng, without=first.prompt_id)
        others = [t for t in self.archive.topics if t != topic and self.archive.places(t)]
        elsewhere = others[int(rng.integers(len(others)))] if others else topic
        return self._pool(elsewhere, rng).draw(rng, without=first.prompt_id)

    def _pool(self, topic: str | None, rng: np.random.Generator) -> Pool:
        kept, left = self._pools.get(topic, (None, 0))
        if kept is None or left <= 0:
            topics = [topic] if self._settings.islands else self.archive.topics
            kept = pool(self.archive, topics, self._given, rng)
            left = min(_REFRESH, sum(len(self.archive.places(t)) for t in topics) // 8)
        self._pools[topic] = kept, left - 1
        return kept

    def _rare(self, rng: np.random.Generator) -> Candidate | None:
        """A seed or the elite of a cell that has seen little."""
        cells = list(self.archive.cells.values())
        if self._seeds and (not cells or rng.random() < 0.5):
            return _any(self._seeds, rng)
        if not cells:
            return None
        weight = 1.0 / np.array([cell.seen for cell in cells])
        return cells[int(rng.choice(len(cells), p=weight / weight.sum()))].elite.candidate


def _any(candidates: Sequence[Candidate], rng: np.random.Generator) -> Candidate | None:
    return candidates[int(rng.integers(len(candidates)))] if candidates else None
