"""The loop: asks the search, has prompts made, gated and evaluated, records, and tells.

The parts come in as arguments (proposers, gates, embedder, evaluator, recorder, clock), so it cannot
tell a cluster from a fake. One batch is one task; several are in flight, so proposing, gating,
scoring and recording overlap. Every outcome is recorded before the search hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from evo.asktell import Search
from evo.budget import Spent, room, stop_reason
from evo.novelty import NoveltyMemory
from evo.scribe import Proposal, Scribe
from evo.seeding import derive
from evo.types import Candidate, Draft, Outcome, Proposer
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

Batch = asyncio.Task[list[Outcome]]

__all__ = ["Loop", "Progress", "Proposal", "Recorder"]


class Recorder(Protocol):
    """The record as the loop needs it: durable when a call returns (`db.store` is one).

    It is called from other threads than the loop's: one that writes, and several that read.
    """

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
    in_flight: int | Callable[[], int] = 2  # batches; a pool that grows says how many by itself
    side_costs: Callable[[], float] = _free  # USD of proposers and gates since it was last asked
    progress: Progress = field(default_factory=Progress)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _met: set[bytes] = field(default_factory=set)  # prompt ids that have passed the duplicate gate
    _vectors: NoveltyMemory = field(default_factory=NoveltyMemory)  # passed the novelty gate
    _wall_before: float = 0.0
    _began: float = 0.0
    _scribe: Scribe = field(init=False)

    def replay(
        self, outcomes: Sequence[Outcome], pending: Sequence[Proposal], wall_s: float
    ) -> int:
        """Take up a stored run: tell the search what is recorded. Returns `Search.replay`'s count."""
        differing = self.search.replay(outcomes, [assignment for assignment, _ in pending])
        self._pay(outcomes)
        for outcome in outcomes:
            self._count(outcome)
            if outcome.evaluation and outcome.candidate and outcome.embedding is not None:
                self._met.add(_key(outcome.candidate))
                self._vectors.add(outcome.embedding)
            elif outcome.candidate and _killed_replicas(outcome.failure):
                self._met.add(_key(outcome.candidate))
        threshold = self.search.config.search.threshold
        self.progress.over_refusals = self.search.over_refusals
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
        scribe = Scribe(self.recorder)
        self._scribe = scribe
        working: dict[Batch, int] = {}  # batches under way, in the order they were begun -> sizes
        recording: asyncio.Task[None] | None = None
        unrecorded: list[Outcome] = []  # in order of completion
        n_recording = 0
        try:
            while True:
                if recording is None and unrecorded:
                    n_recording = len(unrecorded)
                    recording = asyncio.ensure_future(self._conclude(unrecorded))
                    unrecorded = []
                reason = self._reason_to_end()
                while len(working) < self._most(n_recording) and (queue or reason is None):
                    stored = bool(queue) and not self.stop.is_set()
                    under_way = sum(working.values()) + n_recording + len(unrecorded)
                    proposals = queue.pop(0) if stored else self._ask(under_way)
                    if not proposals:
                        break
                    working[asyncio.ensure_future(self._work(proposals, stored))] = len(proposals)
                self.progress.in_flight = sum(working.values()) + n_recording
                if not working and recording is None:
                    return reason or "the algorithm has nothing left to try"
                waited: set[asyncio.Task[Any]] = {*working, *([recording] if recording else [])}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if recording is not None and recording.done():
                    recording.result()
                    recording, n_recording = None, 0
                ended = [task for task in working if task.done()]
                for task in ended:
                    del working[task]
                    if task.exception() is None:
                        self._pay(task.result())
                        unrecorded += task.result()
                bad_news = next((error for t in ended if (error := t.exception())), None)
                if bad_news is not None:
                    # What was paid for is recorded even when a neighbour brought bad news.
                    if recording is not None:
                        await recording
                    await self._conclude(unrecorded)
                    raise bad_news
        finally:
            left: list[asyncio.Task[Any]] = [*working, *([recording] if recording else [])]
            for one in left:
                one.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await scribe.close()

    def _most(self, n_recording: int) -> int:
        """Batches that may work now. A run that has one in flight chooses the next when it has been
        told of the last, and is repeatable; others do not let replicas wait for the disk."""
        most = self.in_flight if isinstance(self.in_flight, int) else self.in_flight()
        return most - 1 if most == 1 and n_recording else most

    def _reason_to_end(self) -> str | None:
        self.progress.spent.wall_s = self._wall_before + self.clock() - self._began
        if self.stop.is_set():
            self.progress.stopping = True
            return "interrupted"
        return stop_reason(self.search.config.budget, self.progress.spent)

    def _ask(self, under_way: int) -> list[Proposal]:
        """A new batch of assignments, no larger than the budget has room for beside what is under way."""
        if self.stop.is_set():
            return []
        config = self.search.config
        n = room(config.budget, self.progress.spent, under_way, config.search.batch)
        return [(assignment, None) for assignment in self.search.ask(n)]

    async def _conclude(self, outcomes: Sequence[Outcome]) -> None:
        """Record, then tell: the search never believes what is not on disk."""
        await self._scribe.record(outcomes)
        spent = self.progress.spent
        for outcome in outcomes:
            over_refusal = self.search.tell(outcome)
            self._count(outcome)
            if outcome.evaluation:
                spent.stalled = 0 if over_refusal else spent.stalled + 1
        self.progress.over_refusals = self.search.over_refusals
        self.progress.best_fitness = self.search.best_fitness

    def _pay(self, outcomes: Sequence[Outcome]) -> None:
        """Tokens and money are gone when a batch has ended, before it is recorded."""
        spent = self.progress.spent
        for outcome in outcomes:
            spent.money_usd += outcome.cost_usd
            if outcome.evaluation:
                spent.target_tokens += outcome.evaluation.target_tokens
                spent.prompt_tokens += outcome.evaluation.prompt_tokens
            elif isinstance(outcome.failure, Unscored):  # it was paid for
                spent.target_tokens += outcome.failure.target_tokens

    def _count(self, outcome: Outcome) -> None:
        spent = self.progress.spent
        spent.proposals += 1
        if outcome.evaluation:
            spent.evaluations += 1
            self.progress.samples += outcome.evaluation.n_new
            self.progress.unscored += outcome.evaluation.score.n_unscored
            self.progress.cache_hits += outcome.evaluation.n_new == 0
        elif outcome.failure:
            kind = outcome.failure.kind.value
            self.progress.rejected[kind] = self.progress.rejected.get(kind, 0) + 1
            if isinstance(outcome.failure, Unscored):
                self.progress.samples += outcome.failure.n_new
                self.progress.unscored += outcome.failure.n_new

    async def _work(self, proposals: Sequence[Proposal], stored: bool) -> list[Outcome]:
        """The way of one batch: propose, gate, evaluate. One outcome for each proposal, same order.

        Args:
            stored: the proposals are in the record already, from an earlier life of the run.
        """
        if not stored:
            await self._scribe.propose(proposals)
        drafted = await self._draft(proposals)
        outcomes: list[Outcome | None] = [None] * len(proposals)
        alive: list[int] = []
        candidates: dict[int, Candidate] = {}
        for place, ((assignment, _), drafted_one) in enumerate(
            zip(proposals, drafted, strict=True)
        ):
            if isinstance(drafted_one, Failure):
                outcomes[place] = Outcome(assignment, None, failure=drafted_one)
            elif _key(drafted_one) in self._met:
                failure = Failure(FailureKind.DUPLICATE, "this prompt was met before")
                outcomes[place] = Outcome(assignment, drafted_one, failure=failure)
            else:
                self._met.add(_key(drafted_one))
                candidates[place] = drafted_one
                alive.append(place)
        if alive:
            texts = [candidates[p].text for p in alive]
            embeddings = await asyncio.to_thread(self.embedder.embed, texts)  # (alive, dim)
            decisions = await self._decide(texts)
            waiting: list[tuple[int, NDArray[np.float32], tuple[GateDecision, ...]]] = []
            limit = self.search.config.search.novelty
            similarity = self._vectors.nearest(embeddings, limit)  # (alive,)
            for place, embedding, decided, most in zip(
                alive, embeddings, decisions, similarity, strict=True
            ):
                beside = [float(other @ embedding) for _, other, _ in waiting]  # of this batch
                failure_or_none = self._gate(max([float(most), *beside]), decided)
                if failure_or_none is None:
                    waiting.append((place, embedding, decided))
                    self._vectors.add(embedding)
                else:
                    outcomes[place] = Outcome(
                        proposals[place][0],
                        candidates[place],
                        failure=failure_or_none,
                        gate_decisions=decided,
                        embedding=embedding,
                    )
            await self._scribe.propose([(proposals[p][0], candidates[p]) for p, _, _ in waiting])
            results = await self._evaluate([candidates[p] for p, _, _ in waiting])
            for (place, embedding, decided), result in zip(waiting, results, strict=True):
                outcomes[place] = Outcome(
                    proposals[place][0],
                    candidates[place],
                    evaluation=None if isinstance(result, Failure) else result,
                    failure=result if isinstance(result, Failure) else None,
                    gate_decisions=decided,
                    embedding=embedding,
                )
                if isinstance(result, Failure) and not _killed_replicas(result):
                    self._met.discard(_key(candidates[place]))  # may be tried again
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

    def _gate(self, similarity: float, decisions: Sequence[GateDecision]) -> Failure | None:
        """Harmlessness and novelty; `similarity` is the largest cosine to an earlier prompt."""
        safety = combine(decisions)
        if safety is not Safety.HARMLESS:
            named = ", ".join(f"{d.gate}: {d.outcome}" for d in decisions)
            return Failure(FailureKind.NOT_HARMLESS, f"{safety} ({named})")
        most = self.search.config.search.novelty
        if similarity >= most:
            return Failure(
                FailureKind.NOT_NOVEL,
                f"cosine {similarity:.3f} to an earlier prompt, limit {most}",
            )
        return None

    async def _evaluate(self, candidates: Sequence[Candidate]) -> list[Evaluation | Failure]:
        config = self.search.config
        prompt_ids = [c.prompt_id for c in candidates]
        known = await asyncio.to_thread(self.recorder.known_samples, prompt_ids)
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


def _key(candidate: Candidate) -> bytes:
    """The prompt id in the least memory: a run may meet hundreds of thousands."""
    return bytes.fromhex(candidate.prompt_id)


def _killed_replicas(failure: Failure | None) -> bool:
    """Quarantined: such a prompt is not tried again, in later lives of the run neither."""
    return failure is not None and failure.kind is FailureKind.REPLICA_LOST


def _stalled(outcomes: Sequence[Outcome], threshold: float) -> int:
    """Evaluations since the last over-refusal among stored outcomes."""
    count = 0
    for outcome in outcomes:
        if outcome.evaluation:
            hit = outcome.evaluation.score.refusal_rate >= threshold
            count = 0 if hit and outcome.assignment.parents else count + 1
    return count
