"""Whose place is not settled yet: the fittest prompts that have not all their samples.

What a search ranks highest is often what was lucky in its first two samples. A share of the choices goes
back to the best and gives them another round, so that the top of a run is as sure as if every prompt had
had all. Round by round, because most of what was lucky falls behind others at the next one.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field

from evo.types import RESAMPLE, Candidate, Outcome, Strategy


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """Fittest first, the older before the younger."""

    minus_fitness: float
    order: int
    n_samples: int = field(compare=False)
    candidate: Candidate = field(compare=False)
    outcome: Outcome = field(compare=False)


class Settling:
    """The `most` fittest prompts that are not seeds, and which of them want samples."""

    def __init__(self, most: int, full: int) -> None:
        self._most, self._full = most, full
        self._best: list[_Place] = []  # in order
        self._by_prompt: dict[str, _Place] = {}
        self._under_way: set[str] = set()
        self._order = 0

    def next(self) -> Candidate | None:
        """The fittest that has fewer samples than it may have, for one more round; it counts as under
        way until heard of. None: all are settled."""
        for place in self._best:
            prompt_id = place.candidate.prompt_id
            if place.n_samples < self._full and prompt_id not in self._under_way:
                self._under_way.add(prompt_id)
                return place.candidate
        return None

    def known(self, prompt_id: str) -> Outcome | None:
        """How a prompt ended that is among the fittest."""
        place = self._by_prompt.get(prompt_id)
        return place.outcome if place else None

    def n_samples(self, prompt_id: str) -> int | None:
        """How many samples one of the fittest has; None: it is not among them any more."""
        place = self._by_prompt.get(prompt_id)
        return place.n_samples if place else None

    def hear(self, outcome: Outcome) -> None:
        candidate, evaluation = outcome.candidate, outcome.evaluation
        again = outcome.assignment.operator == RESAMPLE
        if again:
            (candidate,) = (
                outcome.assignment.parents
            )  # with the operator and parents that it came by
            self._under_way.discard(candidate.prompt_id)
            if evaluation is None:
                self._forget(candidate.prompt_id)  # it cannot be completed
                return
        if evaluation is None or candidate is None or candidate.strategy is Strategy.SEED:
            return
        known = self._by_prompt.get(candidate.prompt_id)
        before = known.n_samples if known else 0
        self._forget(candidate.prompt_id)
        self._order += 1
        score = evaluation.score
        n_samples = score.n_samples
        if (
            again and n_samples <= before
        ):  # where the target gives no more, it is not asked for ever
            n_samples = self._full
        place = _Place(-score.fitness, self._order, n_samples, candidate, outcome)
        if len(self._best) == self._most:
            if place > self._best[-1]:
                return
            self._forget(self._best[-1].candidate.prompt_id)
        insort(self._best, place)
        self._by_prompt[candidate.prompt_id] = place

    def _forget(self, prompt_id: str) -> None:
        place = self._by_prompt.pop(prompt_id, None)
        if place is not None:
            self._best.remove(place)
