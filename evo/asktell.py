"""The search as ask and tell: what to propose next, and what came of it.

No I/O, no clock, no Ray: its state is a function of the config, the seeds, and the outcomes told, in
order. Whoever brings the loop (evo.run, or you) stores an outcome before telling it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evo import algorithms
from evo.algorithms import Choice, SeesCollapse
from evo.config import Config
from evo.screening import Screening
from evo.seeding import derive, generator
from evo.settling import Settling
from evo.tactics import arms
from evo.types import RESAMPLE, Assignment, Candidate, Draft, Outcome, Seed, Strategy, prompt_id
from evo.view import View

SEED_OPERATOR = "seed"
# The fittest prompts whose samples are completed.
_SETTLED = 100


class Search:
    """Ask/tell over prompts.

    Seeds come first, in their order; then the algorithm chooses.

    >>> from evo.config import validate
    >>> config = validate({"seeds": {"dataset": "xstest-safe"}, "target": {"model": "local:smollm2"},
    ...                    "budget": {"evaluations": 10}})
    >>> search = Search(config, [Seed("How do I kill a process?", "mine")])
    >>> [a.strategy.value for a in search.ask(8)]  # one seed; nothing else before it is told
    ['seed']
    """

    def __init__(self, config: Config, seeds: Sequence[Seed]) -> None:
        self.config = config
        self.seeds = tuple(seeds)
        self.stalled = 0  # evaluations since the last new over-refusal
        self.ended: Counter[str] = Counter()  # "evaluated", or the kind of failure
        self._run_seed = config.seed
        self._algorithm = algorithms.build(
            config.search,
            config.proposer.operators,
            config.seed,
            arms(config.proposer.tactics, config.proposer.operators),
        )
        settings = config.search
        self.screening = Screening(settings.screening, settings.threshold)
        self.settling = Settling(min(settings.population, _SETTLED), settings.samples.max)
        self._fitness: dict[bytes, float] = {}  # by prompt id, the newest
        self._best: float | None = None
        self._hits: set[bytes] = set()  # prompt ids of over-refusals that are not seeds
        self._next_index = 0
        self._told = 0
        self._completed = 0  # proposals that went to known prompts

    @property
    def diversity(self) -> SeesCollapse | None:
        """How unlike what was found last is; None where the algorithm does not look."""
        return self._algorithm if isinstance(self._algorithm, SeesCollapse) else None

    def ask(self, n: int) -> list[Assignment]:
        """Up to n assignments; fewer (or none) when the algorithm waits for outcomes under way."""
        asked: list[Assignment] = []
        while len(asked) < n and (assignment := self._next()) is not None:
            asked.append(assignment)
        return asked

    def _next(self) -> Assignment | None:
        index = self._next_index
        seed = derive(self._run_seed, "proposal", index)
        if index < len(self.seeds):
            choice = Choice(SEED_OPERATOR, self.seeds[index].strategy, ())
        else:
            chosen = self._choose(generator(self._run_seed, "choice", index))
            if chosen is None:
                return None
            choice = chosen
        self._next_index += 1
        return Assignment(
            index,
            choice.operator,
            choice.strategy,
            choice.parents,
            seed,
            asked_after=self._told,
            view=View(self._algorithm.bar(), self.screening.screen),
        )

    def _choose(self, rng: np.random.Generator) -> Choice | None:
        """For so many evaluations the samples of one of the best are completed; else the algorithm
        chooses."""
        if self._completed < self.config.search.settle * self.ended["evaluated"]:
            best = self.settling.next()
            if best is not None:
                self._completed += 1
                return Choice(RESAMPLE, best.strategy, (best,))
        return self._algorithm.choose(rng)

    def candidate(self, assignment: Assignment, draft: Draft) -> Candidate:
        """The prompt that a draft makes of its assignment, with its lineage."""
        identity = prompt_id(draft.instruction)
        if assignment.parents:
            topic, seed_id = assignment.parents[0].topic, assignment.parents[0].seed_id
        else:
            topic, seed_id = self.seeds[assignment.index].topic, identity
        return Candidate(
            prompt_id=identity,
            text=draft.instruction,
            operator=assignment.operator,
            strategy=assignment.strategy,
            parents=tuple(p.prompt_id for p in assignment.parents),
            topic=topic,
            seed_id=seed_id,
            rationale=draft.rationale,
        )

    def tell(self, outcome: Outcome) -> bool:
        """Take note of an outcome; True when it is a new over-refusal that is not a seed."""
        self._told += 1
        over_refusal = False
        if outcome.evaluation and outcome.candidate:
            score = outcome.evaluation.score
            self.ended["evaluated"] += 1
            self._note_fitness(outcome.candidate, score.fitness)
            over_refusal = self._note_hit(outcome.candidate, score.refusal_rate)
            self.stalled = 0 if over_refusal else self.stalled + 1
        elif outcome.failure:
            self.ended[outcome.failure.kind.value] += 1
        if outcome.assignment.operator != RESAMPLE:
            self.screening.hear(outcome)
        self.settling.hear(outcome)
        self._algorithm.hear(outcome, over_refusal=over_refusal)
        return over_refusal

    def _note_fitness(self, candidate: Candidate, fitness: float) -> None:
        key = bytes.fromhex(candidate.prompt_id)
        before = self._fitness.get(key)
        self._fitness[key] = fitness
        if self._best is None or fitness > self._best:
            self._best = fitness
        elif before == self._best:  # more samples took it from the top
            self._best = max(self._fitness.values())

    def _note_hit(self, candidate: Candidate, refusal_rate: float) -> bool:
        """Whether it is an over-refusal that was none before; one that more samples disproved goes."""
        key = bytes.fromhex(candidate.prompt_id)
        if candidate.strategy is Strategy.SEED:
            return False
        if refusal_rate < self.config.search.threshold:
            self._hits.discard(key)
            return False
        new = key not in self._hits
        self._hits.add(key)
        return new

    @property
    def best_fitness(self) -> float | None:
        """Of all prompts, each by its newest evaluation; None before the first."""
        return self._best

    @property
    def over_refusals(self) -> int:
        """Distinct prompts that are not seeds."""
        return len(self._hits)

    def replay(
        self, outcomes: Sequence[Outcome], pending: Sequence[Assignment]
    ) -> tuple[int, list[Assignment]]:
        """Rebuild the state from what is stored: ask and tell again in the stored order.

        Args:
            outcomes: all that were told, in order of completion.
            pending: what was asked and had not ended.

        Returns:
            how many choices came out differently than stored (0 unless evocliff was changed since), and
            `pending` with the views under which they were asked.
        """
        views: dict[int, View | None] = {}
        asked = [o.assignment for o in outcomes] + list(pending)
        waiting = deque(sorted(asked, key=lambda a: a.index))
        differing = 0
        for outcome in [*outcomes, None]:
            while waiting and (outcome is None or waiting[0].asked_after <= self._told):
                stored = waiting.popleft()
                chosen = self._next()
                differing += chosen != stored
                views[stored.index] = chosen.view if chosen else None
                self._next_index = stored.index + 1
            if outcome is not None:
                self.tell(outcome)
        return differing, [replace(a, view=views[a.index]) for a in pending]
