"""The loop: asks the search, has prompts made, gated and evaluated, records, and tells.

The parts come in as arguments (proposers, gates, embedder, evaluator, recorder, clock), so it cannot
tell a cluster from a fake. One batch is one task; several are in flight, so proposing, gating,
scoring and recording overlap. Every outcome is recorded before the search hears of it.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from evo.asktell import Search
from evo.budget import Spent, room, stop_reason
from evo.novelty import NoveltyMemory
from evo.scribe import Proposal, Scribe
from evo.seeding import derive
from evo.types import RESAMPLE, Assignment, Candidate, Draft, Outcome, Proposer, Screened, Strategy
from evo.view import Screen, View
from fitness.safety import combine
from fitness.types import (
    Evaluation,
    EvaluationRequest,
    Gate,
    GateDecision,
    JudgedSample,
    Safety,
    ScreenedOut,
    Unscored,
)
from workers.interface import Embedder, Failure, FailureKind, Opening, Worker

if TYPE_CHECKING:
    from numpy.typing import NDArray

Batch = asyncio.Task[list[Outcome]]
Arm = tuple[str, Strategy]

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

    def known_openings(self, prompt_ids: Sequence[str]) -> Mapping[str, Opening]:
        """Likewise how responses of the run's target would begin."""


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
    progress: Progress = field(default_factory=Progress)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _met: set[bytes] = field(default_factory=set)  # prompt ids that have passed the duplicate gate
    _vectors: NoveltyMemory = field(default_factory=NoveltyMemory)  # passed the novelty gate
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
            if outcome.assignment.operator == RESAMPLE:
                continue
            if outcome.evaluation and outcome.candidate and outcome.embedding is not None:
                self._met.add(_key(outcome.candidate))
                self._vectors.add(outcome.embedding)
            elif outcome.candidate and outcome.failure and _stays_met(outcome.failure):
                self._met.add(_key(outcome.candidate))
                if outcome.embedding is not None and outcome.failure.kind is FailureKind.SCREENED:
                    self._vectors.add(outcome.embedding)
        threshold = self.search.config.search.threshold
        self.progress.over_refusals = self.search.over_refusals
        self.progress.best_fitness = self.search.best_fitness
        self.progress.spent.stalled = _stalled(outcomes, threshold)
        self._wall_before = wall_s
        return differing, [(a, text) for a, (_, text) in zip(asked, pending, strict=True)]

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
        # More where the screen holds many back, so that the replica's batches stay full.
        wanted = math.ceil(config.search.batch / self.search.screening.pass_share)
        n = room(config.budget, self.progress.spent, under_way, wanted)
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
            elif assignment.operator == RESAMPLE:
                candidates[place] = drafted_one
            elif _key(drafted_one) in self._met:
                failure = Failure(FailureKind.DUPLICATE, "this prompt was met before")
                outcomes[place] = Outcome(assignment, drafted_one, failure=failure)
            else:
                self._met.add(_key(drafted_one))
                candidates[place] = drafted_one
                alive.append(place)
        waiting = await self._pass_gates(proposals, candidates, alive, outcomes)
        waiting += await self._again(proposals, candidates)
        self._screen(waiting, outcomes)
        waiting = [w for w in waiting if outcomes[w.place] is None]
        await self._scribe.propose([(w.assignment, w.candidate) for w in waiting])
        results = await self._evaluate(waiting)
        for w, result in zip(waiting, results, strict=True):
            outcomes[w.place] = w.ended(result)
            if isinstance(result, Failure) and not _stays_met(result):
                self._met.discard(_key(w.candidate))  # may be tried again
        return self._priced([outcome for outcome in outcomes if outcome is not None])

    async def _pass_gates(
        self,
        proposals: Sequence[Proposal],
        candidates: Mapping[int, Candidate],
        alive: Sequence[int],
        outcomes: list[Outcome | None],
    ) -> list[_Waiting]:
        """Those that are harmless and novel; how the others ended goes into `outcomes`."""
        if not alive:
            return []
        texts = [candidates[p].text for p in alive]
        embeddings = await asyncio.to_thread(self.embedder.embed, texts)  # (alive, dim)
        decisions = await self._decide(texts)
        waiting: list[_Waiting] = []
        limit = self.search.config.search.novelty
        similarity = self._vectors.nearest(embeddings, limit)  # (alive,)
        for place, embedding, decided, most in zip(
            alive, embeddings, decisions, similarity, strict=True
        ):
            one = _Waiting(place, proposals[place][0], candidates[place], embedding, decided)
            beside = [float(other.embedding @ embedding) for other in waiting]  # of this batch
            failure_or_none = self._gate(max([float(most), *beside]), decided)
            if failure_or_none is None:
                waiting.append(one)
                self._vectors.add(embedding)
            else:
                outcomes[place] = one.ended(failure_or_none)
        return waiting

    async def _again(
        self, proposals: Sequence[Proposal], candidates: Mapping[int, Candidate]
    ) -> list[_Waiting]:
        """Known prompts that are to have more samples: no gate stands before them, but what the gates
        said is theirs."""
        asked = [p for p, c in candidates.items() if c.operator == RESAMPLE]
        waiting: list[_Waiting] = []
        for place in asked:
            candidate = candidates[place]
            known = self.search.settling.known(candidate.prompt_id)
            if known is not None and known.embedding is not None:
                embedding, decided = known.embedding, known.gate_decisions
            else:
                (embedding,) = await asyncio.to_thread(self.embedder.embed, [candidate.text])
                (decided,) = await self._decide([candidate.text])
            waiting.append(
                _Waiting(place, proposals[place][0], candidate, embedding, decided, again=True)
            )
        return waiting

    def _screen(self, waiting: Sequence[_Waiting], outcomes: list[Outcome | None]) -> None:
        """Guess from the vectors; who is turned away ends here. Seeds go through: they are what the
        guesses are first learned from."""
        asked = [w for w in waiting if not w.again and w.assignment.parents]
        by_view: dict[int, list[_Waiting]] = {}
        for w in asked:
            by_view.setdefault(id(_view(w).screen), []).append(w)
        for group in by_view.values():
            screen = _view(group[0]).screen
            guesses = screen.guess(np.stack([w.embedding for w in group]))  # (group,)
            for w, guess in zip(group, guesses.tolist(), strict=True):
                blind = screen.is_blind(np.random.default_rng(derive(w.assignment.seed, "blind")))
                w.screened = Screened(None if math.isnan(guess) else guess, blind)
                if guess < screen.cut and not blind:
                    outcomes[w.place] = w.ended(
                        Failure(
                            FailureKind.SCREENED,
                            f"P(refusal) {guess:.3f} by the predictor, cut {screen.cut:.3f}",
                        )
                    )

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

    async def _evaluate(self, waiting: Sequence[_Waiting]) -> list[Evaluation | Failure]:
        prompt_ids = [w.candidate.prompt_id for w in waiting]
        known = await asyncio.to_thread(self.recorder.known_samples, prompt_ids)
        openings: Mapping[str, Opening] = {}
        if self.search.config.search.screening.opening:
            openings = await asyncio.to_thread(self.recorder.known_openings, prompt_ids)
        requests = [
            self._request(w, known.get(p, ()), openings.get(p))
            for w, p in zip(waiting, prompt_ids, strict=True)
        ]
        return await self.evaluator.run(requests)

    def _request(
        self, w: _Waiting, known: tuple[JudgedSample, ...], opening: Opening | None
    ) -> EvaluationRequest:
        config, view = self.search.config.search, _view(w)
        everything = w.again or not config.racing
        openers = view.screen.openers
        if openers is not None and (w.again or w.screened is None or w.screened.blind):
            openers = replace(openers, floor=-math.inf)
        return EvaluationRequest(
            prompt_id=w.candidate.prompt_id,
            prompt=w.candidate.text,
            samples_first=config.samples.max if everything else config.samples.first,
            samples_max=config.samples.max,
            threshold=config.threshold,
            seed=derive(self.search.config.seed, "samples", w.candidate.prompt_id),
            known=known,
            bar=view.bar,
            # One opening would have to stand for several targets that begin otherwise.
            opening=config.screening.opening and not w.again and not self.search.config.targets,
            openers=openers,
            known_opening=opening,
        )


@dataclass(slots=True)
class _Waiting:
    """A candidate on its way to the target. `again`: it is known and is to have more samples."""

    place: int  # in its batch
    assignment: Assignment
    candidate: Candidate
    embedding: NDArray[np.float32]  # (dim,)
    decided: tuple[GateDecision, ...]
    again: bool = False
    screened: Screened | None = None

    def ended(self, result: Evaluation | Failure) -> Outcome:
        return Outcome(
            self.assignment,
            self.candidate,
            evaluation=None if isinstance(result, Failure) else result,
            failure=result if isinstance(result, Failure) else None,
            gate_decisions=self.decided,
            embedding=self.embedding,
            screened=self.screened,
        )


# For assignments that no search made, as people who bring their own loop may have them.
_BLANK = View(-math.inf, Screen())


def _view(w: _Waiting) -> View:
    return w.assignment.view or _BLANK


def _evaluation_usd(outcome: Outcome) -> float:
    if outcome.evaluation is not None:
        return outcome.evaluation.cost_usd
    return outcome.failure.cost_usd if isinstance(outcome.failure, Unscored | ScreenedOut) else 0.0


def _key(candidate: Candidate) -> bytes:
    """The prompt id in the least memory: a run may meet hundreds of thousands."""
    return bytes.fromhex(candidate.prompt_id)


def _stays_met(failure: Failure) -> bool:
    """A prompt that was turned away by a guess, or that kills replicas, is not tried again."""
    return failure.kind is FailureKind.SCREENED or _killed_replicas(failure)


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
