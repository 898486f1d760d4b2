"""The loop: asks the search, has prompts made, gated and evaluated, records, and tells.

The parts come in as arguments (proposers, gates, embedder, evaluator, recorder, clock), so it cannot
tell a cluster from a fake. One batch is one task; several are in flight, so proposing, gating and
scoring overlap. Every outcome is recorded before the search hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from evo.archive import Vectors
from evo.asktell import Search
from evo.budget import Spent, room, stop_reason
from evo.seeding import derive
from evo.types import Assignment, Candidate, Draft, Outcome, Proposer
from fitness.safety import combine
from fitness.types import (
    Evaluation,
    EvaluationRequest,
    Gate,
    GateDecision,
    JudgedSample,
    Safety,
    Unscored,
)
from workers.interface import Embedder, Failure, FailureKind, Worker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Proposal = tuple[Assignment, Candidate | None]


class Recorder(Protocol):
    """The record as the loop needs it: durable when a call returns (`db.store` is one)."""

    def propose(self, proposals: Sequence[Proposal]) -> None:
        """Store proposals as pending; again, once their text exists."""

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Store how proposals ended, in this order of completion, samples and all."""

    def known_samples(self, prompt_ids: Sequence[str]) -> Mapping[str, tuple[JudgedSample, ...]]:
        """Samples of the run's target that are stored already, from whichever run."""


@dataclass(slots=True)
class Progress:
    """What a person watching wants to know; one object, updated in place."""

    spent: Spent = field(default_factory=Spent)
    over_refusals: int = 0
    best_fitness: float | None = None
    rejected: dict[str, int] = field(default_factory=dict)
    cache_hits: int = 0
    in_flight: int = 0
    samples: int = 0
    unscored: int = 0
    stopping: bool = False


def _free() -> float:
    return 0.0


@dataclass(slots=True)
class Loop:
    """One run under way. `run` returns the reason why it ended.

    Set `stop` to let it end: what is in flight is finished and recorded, nothing new is asked.
    """

    search: Search
    proposers: Mapping[str, Proposer]
    gates: Sequence[Gate]
    embedder: Embedder
    evaluator: Worker[EvaluationRequest, Evaluation]
    recorder: Recorder
    clock: Callable[[], float]
    in_flight: int = 2
    side_costs: Callable[[], float] = _free  # USD of proposers and gates since it was last asked
    progress: Progress = field(default_factory=Progress)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _met: set[str] = field(default_factory=set)  # prompt ids that have passed the duplicate gate
    _vectors: Vectors = field(default_factory=Vectors)  # of all that have passed the novelty gate
    _wall_before: float = 0.0
    _began: float = 0.0

    def replay(
        self, outcomes: Sequence[Outcome], pending: Sequence[Proposal], wall_s: float
    ) -> int:
        """Take up a stored run: tell the search what is recorded. Returns `Search.replay`'s count."""
        differing = self.search.replay(outcomes, [assignment for assignment, _ in pending])
        for outcome in outcomes:
            self._count(outcome)
            if outcome.evaluation and outcome.candidate and outcome.embedding is not None:
                self._met.add(outcome.candidate.prompt_id)
                self._vectors.add(outcome.embedding)
        threshold = self.search.config.search.threshold
        self.progress.over_refusals = len(self.search.over_refusals)
        self.progress.best_fitness = self.search.best_fitness
        self.progress.spent.stalled = _stalled(outcomes, threshold)
        self._wall_before = wall_s
        return differing

    async def run(self, pending: Sequence[Proposal] = ()) -> str:
        """Search until a budget is met, the algorithm has nothing left, or `stop` is set.

        Args:
            pending: proposals of an earlier life of this run that had not ended; they go first.

        Raises:
            EvocliffError: the target or the store can go on no longer. All that ended is recorded.
        """
        self._began = self.clock()
        batch = self.search.config.search.batch
        queue = [list(pending[i : i + batch]) for i in range(0, len(pending), batch)]
        tasks: set[asyncio.Task[list[Outcome]]] = set()
        sizes: dict[asyncio.Task[list[Outcome]], int] = {}
        try:
            while True:
                reason = self._reason_to_end()
                while len(tasks) < self.in_flight and (queue or reason is None):
                    proposals = (
                        queue.pop(0) if queue and not self.stop.is_set() else self._ask(sizes)
                    )
                    if not proposals:
                        break
                    task = asyncio.ensure_future(self._work(proposals))
                    tasks.add(task)
                    sizes[task] = len(proposals)
                self.progress.in_flight = sum(sizes.values())
                if not tasks:
                    return reason or "the algorithm has nothing left to try"
                done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                ended = [task for task in sizes if task in done]  # in the order they were begun
                for task in ended:
                    del sizes[task]
                # What was paid for is recorded even when a neighbour brought bad news.
                for task in ended:
                    if task.exception() is None:
                        self._conclude(task.result())
                for task in ended:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _reason_to_end(self) -> str | None:
        self.progress.spent.wall_s = self._wall_before + self.clock() - self._began
        if self.stop.is_set():
            self.progress.stopping = True
            return "interrupted"
        return stop_reason(self.search.config.budget, self.progress.spent)

    def _ask(self, sizes: Mapping[asyncio.Task[list[Outcome]], int]) -> list[Proposal]:
        """A new batch of assignments, recorded as pending, no larger than the budget has room for."""
        if self.stop.is_set():
            return []
        config = self.search.config
        n = room(config.budget, self.progress.spent, sum(sizes.values()), config.search.batch)
        proposals: list[Proposal] = [(assignment, None) for assignment in self.search.ask(n)]
        self.recorder.propose(proposals)
        return proposals

    def _conclude(self, outcomes: Sequence[Outcome]) -> None:
        """Record, then tell: the search never believes what is not on disk."""
        self.recorder.record(outcomes)
        spent = self.progress.spent
        for outcome in outcomes:
            over_refusal = self.search.tell(outcome)
            self._count(outcome)
            if outcome.evaluation:
                spent.stalled = 0 if over_refusal else spent.stalled + 1
        self.progress.over_refusals = len(self.search.over_refusals)
        self.progress.best_fitness = self.search.best_fitness

    def _count(self, outcome: Outcome) -> None:
        spent = self.progress.spent
        spent.proposals += 1
        spent.money_usd += outcome.cost_usd
        if outcome.evaluation:
            spent.evaluations += 1
            spent.target_tokens += outcome.evaluation.target_tokens
            spent.prompt_tokens += outcome.evaluation.prompt_tokens
            self.progress.samples += outcome.evaluation.n_new
            self.progress.unscored += outcome.evaluation.score.n_unscored
            self.progress.cache_hits += outcome.evaluation.n_new == 0
        elif outcome.failure:
            kind = outcome.failure.kind.value
            self.progress.rejected[kind] = self.progress.rejected.get(kind, 0) + 1
            if isinstance(outcome.failure, Unscored):  # it was paid for
                spent.target_tokens += outcome.failure.target_tokens
                self.progress.samples += outcome.failure.n_new
                self.progress.unscored += outcome.failure.n_new

    async def _work(self, proposals: Sequence[Proposal]) -> list[Outcome]:
        """The way of one batch: propose, gate, evaluate. One outcome for each proposal, same order."""
        drafted = await self._draft(proposals)
        outcomes: list[Outcome | None] = [None] * len(proposals)
        alive: list[int] = []
        candidates: dict[int, Candidate] = {}
        for place, ((assignment, _), drafted_one) in enumerate(
            zip(proposals, drafted, strict=True)
        ):
            if isinstance(drafted_one, Failure):
                outcomes[place] = Outcome(assignment, None, failure=drafted_one)
            elif drafted_one.prompt_id in self._met:
                failure = Failure(FailureKind.DUPLICATE, "this prompt was met before")
                outcomes[place] = Outcome(assignment, drafted_one, failure=failure)
            else:
                self._met.add(drafted_one.prompt_id)
                candidates[place] = drafted_one
                alive.append(place)
        if alive:
            texts = [candidates[p].text for p in alive]
            embeddings = await asyncio.to_thread(self.embedder.embed, texts)  # (alive, dim)
            decisions = await self._decide(texts)
            waiting: list[tuple[int, NDArray[np.float32], tuple[GateDecision, ...]]] = []
            for place, embedding, decided in zip(alive, embeddings, decisions, strict=True):
                failure_or_none = self._gate(embedding, decided)
                if failure_or_none is None:
                    waiting.append((place, embedding, decided))
                else:
                    outcomes[place] = Outcome(
                        proposals[place][0],
                        candidates[place],
                        failure=failure_or_none,
                        gate_decisions=decided,
                        embedding=embedding,
                    )
            self.recorder.propose([(proposals[p][0], candidates[p]) for p, _, _ in waiting])
            results = await self._evaluate([candidates[p] for p, _, _ in waiting])
            for (place, embedding, decided), result in zip(waiting, results, strict=True):
                failed = isinstance(result, Failure)
                outcomes[place] = Outcome(
                    proposals[place][0],
                    candidates[place],
                    evaluation=None if isinstance(result, Failure) else result,
                    failure=result if isinstance(result, Failure) else None,
                    gate_decisions=decided,
                    embedding=embedding,
                )
                if failed:
                    self._met.discard(candidates[place].prompt_id)  # may be tried again
        return self._priced([outcome for outcome in outcomes if outcome is not None])

    def _priced(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """With what each cost: its evaluation, and an even share of what proposers and gates did."""
        each = self.side_costs() / len(outcomes)
        return [replace(o, cost_usd=_evaluation_usd(o) + each) for o in outcomes]

    async def _draft(self, proposals: Sequence[Proposal]) -> list[Candidate | Failure]:
        """The candidate of each proposal; proposals that have their text already keep it."""
        made: dict[int, Draft | Failure] = {}
        for operator, proposer in self.proposers.items():
            mine = [a for a, candidate in proposals if candidate is None and a.operator == operator]
            if mine:
                drafts = await proposer.propose(mine)
                made.update(zip([a.index for a in mine], drafts, strict=True))
        drafted: list[Candidate | Failure] = []
        for assignment, candidate in proposals:
            draft = candidate or made[assignment.index]
            if isinstance(draft, Draft):
                drafted.append(self.search.candidate(assignment, draft))
            else:
                drafted.append(draft)
        return drafted

    async def _decide(self, texts: Sequence[str]) -> list[tuple[GateDecision, ...]]:
        """The decisions of every safety gate on every text."""
        by_gate = [await gate.check(texts) for gate in self.gates]
        return list(zip(*by_gate, strict=True))

    def _gate(
        self, embedding: NDArray[np.float32], decisions: Sequence[GateDecision]
    ) -> Failure | None:
        """Novelty and harmlessness; a candidate that passes takes its place among the vectors."""
        safety = combine(decisions)
        if safety is not Safety.HARMLESS:
            named = ", ".join(f"{d.gate}: {d.outcome}" for d in decisions)
            return Failure(FailureKind.NOT_HARMLESS, f"{safety} ({named})")
        similarity = self._vectors.similarities(embedding)
        most = self.search.config.search.novelty
        if len(similarity) and float(similarity.max()) >= most:
            return Failure(
                FailureKind.NOT_NOVEL,
                f"cosine {similarity.max():.3f} to an earlier prompt, limit {most}",
            )
        self._vectors.add(embedding)
        return None

    async def _evaluate(self, candidates: Sequence[Candidate]) -> list[Evaluation | Failure]:
        config = self.search.config
        known = self.recorder.known_samples([c.prompt_id for c in candidates])
        requests = [
            EvaluationRequest(
                prompt_id=c.prompt_id,
                prompt=c.text,
                samples_first=config.search.samples.first,
                samples_max=config.search.samples.max,
                top_up_at=config.search.threshold,
                seed=derive(config.seed, "samples", c.prompt_id),
                known=known.get(c.prompt_id, ()),
            )
            for c in candidates
        ]
        return await self.evaluator.run(requests)


def _evaluation_usd(outcome: Outcome) -> float:
    if outcome.evaluation is not None:
        return outcome.evaluation.cost_usd
    return outcome.failure.cost_usd if isinstance(outcome.failure, Unscored) else 0.0


def _stalled(outcomes: Sequence[Outcome], threshold: float) -> int:
    """Evaluations since the last over-refusal among stored outcomes."""
    count = 0
    for outcome in outcomes:
        if outcome.evaluation:
            hit = outcome.evaluation.score.refusal_rate >= threshold
            count = 0 if hit and outcome.assignment.parents else count + 1
    return count
