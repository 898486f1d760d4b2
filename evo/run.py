"""The loop: asks the search, has prompts made, gated and evaluated, records, and tells.

The parts come in as arguments (proposers, gates, embedder, evaluator, recorder, clock), so it cannot
tell a cluster from a fake. One batch is one task (`evo.passage` is its way); several are in flight, so
proposing, gating, scoring and recording overlap. Every outcome is recorded before the search hears of
it.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from evo import collecting
from evo.asktell import Search
from evo.budget import Spent, room, stop_reason
from evo.met import Met
from evo.passage import Known, Passage
from evo.scribe import Proposal, Scribe, Writer
from evo.types import RESAMPLE, Outcome, Proposer, Strategy
from fitness.types import Evaluation, EvaluationRequest, Gate, ScreenedOut, Unscored
from workers.interface import Embedder, FailureKind, Worker

Batch = asyncio.Task[list[Outcome]]
Arm = tuple[str, Strategy]

__all__ = ["Loop", "Progress", "Proposal", "Recorder"]


class Recorder(Writer, Known, Protocol):
    """The record as the loop needs it: durable when a call returns (`db.store` is one).

    `propose` stores proposals as pending, and again, once their text exists; `record` how they ended,
    in this order of completion, samples and all. It is called from other threads than the loop's: one
    that writes, and several that read.
    """


@dataclass(slots=True)
class Progress:
    """What a person watching wants to know; one object, updated in place.

    `screened` counts proposals that were not sampled by who said so, `blind` those that went past the
    guesses unseen, `looked_at` all that came before them. `proposed` and `hits` count proposals and
    over-refusals, seeds left out, by operator and strategy.
    """

    spent: Spent = field(default_factory=Spent)
    over_refusals: int = 0
    best_fitness: float | None = None
    rejected: dict[str, int] = field(default_factory=dict)
    cache_hits: int = 0
    in_flight: int = 0
    samples: int = 0
    unscored: int = 0
    screened: Counter[str] = field(default_factory=Counter)  # "predictor", "opening"
    blind: int = 0
    looked_at: int = 0
    resampled: int = 0
    proposed: Counter[Arm] = field(default_factory=Counter)
    hits: Counter[Arm] = field(default_factory=Counter)
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
    admit_all: bool = False  # an evaluation asks all that it is given
    progress: Progress = field(default_factory=Progress)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _met: Met = field(default_factory=Met)
    _wall_before: float = 0.0
    _began: float = 0.0
    _scribe: Scribe = field(init=False)

    def replay(
        self, outcomes: Sequence[Outcome], pending: Sequence[Proposal], wall_s: float
    ) -> tuple[int, list[Proposal]]:
        """Take up a stored run: tell the search what is recorded. Returns the count of
        `Search.replay`, and what is pending as `run` wants it."""
        differing, asked = self.search.replay(outcomes, [assignment for assignment, _ in pending])
        self._pay(outcomes)
        for outcome in outcomes:
            self._count(outcome)
            self._met.replay(outcome)
        self._note_search()
        self._wall_before = wall_s
        return differing, [(a, text) for a, (_, text) in zip(asked, pending, strict=True)]

    async def run(self, pending: Sequence[Proposal] = ()) -> str:
        """Search until a budget is met, the algorithm has nothing left, or `stop` is set.

        Args:
            pending: proposals of an earlier life of this run that had not ended; they go first.

        Raises:
            EvocliffError: the target or the store can go on no longer. All that ended is recorded.
        """
        with collecting.in_small_steps():
            return await self._run(pending)

    async def _run(self, pending: Sequence[Proposal]) -> str:
        self._began = self.clock()
        # With one batch in flight what is pending is the batch that was lost, whole.
        batch = self._batch()
        queue = [list(pending[i : i + batch]) for i in range(0, len(pending), batch)]
        scribe = Scribe(self.recorder)
        self._scribe = scribe
        passage = Passage(
            self.search,
            self.proposers,
            self.gates,
            self.embedder,
            self.evaluator,
            self.recorder,
            scribe,
            self.side_costs,
            self._met,
            self.admit_all,
        )
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
                    working[asyncio.ensure_future(passage.run(proposals, stored))] = len(proposals)
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
        n = room(self.search.config.budget, self.progress.spent, under_way, self._batch())
        return [(assignment, None) for assignment in self.search.ask(n)]

    def _batch(self) -> int:
        """Proposals of one batch: more where the screen holds many back, so that the replica's batches
        stay full."""
        return math.ceil(self.search.config.search.batch / self.search.screening.pass_share)

    async def _conclude(self, outcomes: Sequence[Outcome]) -> None:
        """Record, then tell: the search never believes what is not on disk."""
        await self._scribe.record(outcomes)
        for outcome in outcomes:
            self.search.tell(outcome)
            self._count(outcome)
        self._note_search()

    def _note_search(self) -> None:
        self.progress.over_refusals = self.search.over_refusals
        self.progress.best_fitness = self.search.best_fitness
        self.progress.spent.stalled = self.search.stalled

    def _pay(self, outcomes: Sequence[Outcome]) -> None:
        """Tokens and money are gone when a batch has ended, before it is recorded."""
        spent = self.progress.spent
        for outcome in outcomes:
            spent.money_usd += outcome.cost_usd
            if outcome.evaluation:
                spent.target_tokens += outcome.evaluation.target_tokens
                spent.prompt_tokens += outcome.evaluation.prompt_tokens
            elif isinstance(outcome.failure, Unscored | ScreenedOut):  # it was paid for
                spent.target_tokens += outcome.failure.target_tokens

    def _count(self, outcome: Outcome) -> None:
        spent = self.progress.spent
        spent.proposals += 1
        self._count_choices(outcome)
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

    def _count_choices(self, outcome: Outcome) -> None:
        """What became of the algorithm's choices and of the screen."""
        progress, assignment = self.progress, outcome.assignment
        if assignment.operator == RESAMPLE:
            progress.resampled += outcome.evaluation is not None
            return
        if outcome.screened is not None:
            progress.looked_at += 1
            progress.blind += outcome.screened.blind
        if outcome.failure is not None and outcome.failure.kind is FailureKind.SCREENED:
            by_opening = isinstance(outcome.failure, ScreenedOut)
            progress.screened["opening" if by_opening else "predictor"] += 1
        if not assignment.parents:
            return
        arm = assignment.operator, assignment.strategy
        progress.proposed[arm] += 1
        if outcome.evaluation is not None:
            rate = outcome.evaluation.score.refusal_rate
            progress.hits[arm] += rate >= self.search.config.search.threshold
