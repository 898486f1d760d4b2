"""The way of one batch: drafted, gated, screened, evaluated. One outcome for each proposal.

Knows the parts that the loop was given and what the run has met; chooses nothing, records no outcome,
tells the search nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from evo.asktell import Search
from evo.met import Met
from evo.scribe import Proposal, Scribe
from evo.seeding import derive
from evo.types import RESAMPLE, Assignment, Candidate, Draft, Outcome, Proposer, Screened
from evo.view import Screen, View
from fitness.racing import next_round
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


class Known(Protocol):
    """What has been paid for already; called from threads that read."""

    def known_samples(self, prompt_ids: Sequence[str]) -> Mapping[str, tuple[JudgedSample, ...]]:
        """Samples of the run's target that are stored already, from whichever run."""

    def known_openings(self, prompt_ids: Sequence[str]) -> Mapping[str, Opening]:
        """Likewise how responses of the run's target would begin."""


@dataclass(slots=True)
class Passage:
    """The way from proposals to outcomes. `run` may be under way for several batches at once."""

    search: Search
    proposers: Mapping[str, Proposer]
    gates: Sequence[Gate]
    embedder: Embedder
    evaluator: Worker[EvaluationRequest, Evaluation]
    known: Known
    scribe: Scribe
    side_costs: Callable[[], float]  # USD of proposers and gates since it was last asked
    met: Met
    admit_all: bool = False  # what gates say is kept, and nobody is turned away for it

    async def run(self, proposals: Sequence[Proposal], stored: bool) -> list[Outcome]:
        """The way of one batch: propose, gate, evaluate. One outcome for each proposal, same order.

        Args:
            stored: the proposals are in the record already, from an earlier life of the run.
        """
        if not stored:
            await self.scribe.propose(proposals)
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
            elif drafted_one.prompt_id in self.met:
                failure = Failure(FailureKind.DUPLICATE, "this prompt was met before")
                outcomes[place] = Outcome(assignment, drafted_one, failure=failure)
            else:
                self.met.add(drafted_one)
                candidates[place] = drafted_one
                alive.append(place)
        waiting = await self._pass_gates(proposals, candidates, alive, outcomes)
        waiting += await self._again(proposals, candidates)
        self._screen(waiting, outcomes)
        waiting = [w for w in waiting if outcomes[w.place] is None]
        await self.scribe.propose([(w.assignment, w.candidate) for w in waiting])
        results = await self._evaluate(waiting)
        for w, result in zip(waiting, results, strict=True):
            outcomes[w.place] = w.ended(result)
            if isinstance(result, Failure) and not w.again:
                self.met.ended(w.candidate, result)
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
        similarity = self.met.nearest(embeddings, limit)  # (alive,)
        for place, embedding, decided, most in zip(
            alive, embeddings, decisions, similarity, strict=True
        ):
            one = _Waiting(place, proposals[place][0], candidates[place], embedding, decided)
            beside = [float(other.embedding @ embedding) for other in waiting]  # of this batch
            failure_or_none = (
                None if self.admit_all else self._gate(max([float(most), *beside]), decided)
            )
            if failure_or_none is None:
                waiting.append(one)
                self.met.remember(embedding)
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
        config = self.search.config
        most = config.search.samples.max
        for place in asked:
            candidate = candidates[place]
            have = self.search.settling.n_samples(candidate.prompt_id)
            # Over several targets `have` is the sum of theirs: they are completed at once.
            known = self.search.settling.known(candidate.prompt_id)
            if known is not None and known.embedding is not None:
                embedding, decided = known.embedding, known.gate_decisions
            else:
                (embedding,) = await asyncio.to_thread(self.embedder.embed, [candidate.text])
                (decided,) = await self._decide([candidate.text])
            waiting.append(
                _Waiting(
                    place,
                    proposals[place][0],
                    candidate,
                    embedding,
                    decided,
                    again=True,
                    round_to=most if have is None or config.targets else next_round(have, most),
                )
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
        known, openings = await asyncio.to_thread(self._look_up, prompt_ids)
        requests = [
            self._request(w, known.get(p, ()), openings.get(p))
            for w, p in zip(waiting, prompt_ids, strict=True)
        ]
        return await self.evaluator.run(requests)

    def _look_up(
        self, prompt_ids: Sequence[str]
    ) -> tuple[Mapping[str, tuple[JudgedSample, ...]], Mapping[str, Opening]]:
        """Samples and openings that are paid for already; in one thread, one after the other."""
        known = self.known.known_samples(prompt_ids)
        if not self.search.config.search.screening.opening:
            return known, {}
        return known, self.known.known_openings(prompt_ids)

    def _request(
        self, w: _Waiting, known: tuple[JudgedSample, ...], opening: Opening | None
    ) -> EvaluationRequest:
        config, view = self.search.config.search, _view(w)
        first = config.samples.first if config.racing else config.samples.max
        openers = view.screen.openers
        if openers is not None and (w.again or w.screened is None or w.screened.blind):
            openers = replace(openers, floor=-math.inf)
        return EvaluationRequest(
            prompt_id=w.candidate.prompt_id,
            prompt=w.candidate.text,
            samples_first=w.round_to or first,
            samples_max=w.round_to or config.samples.max,
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
    round_to: int | None = None  # samples that it is to have after this round, where it is known
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
