"""The evaluator: generate, judge, score. A replica holds one, so fitness is computed beside the model.

It knows prompts and refusals; where the engine runs, and what becomes of the score, it does not know.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from fitness import racing
from fitness.elbo import DEFAULT_WEIGHT, elbo, terms
from fitness.objective import Objective, cliff_terms, with_cliffs
from fitness.types import (
    CliffTrace,
    Evaluation,
    EvaluationRequest,
    Judge,
    JudgedSample,
    JudgeInput,
    Score,
    ScreenedOut,
    Surface,
    Tracer,
    Unscored,
    Verdict,
)
from workers.interface import (
    Ability,
    Engine,
    EngineDescription,
    EvocliffError,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    Message,
    Opening,
    OpeningEngine,
    Sample,
    Sampling,
)


@dataclass(slots=True)
class _Work:
    """One request under way: what it has so far, or why it failed. `known` samples come before new
    ones; `is_over`: the target gives no more of it."""

    request: EvaluationRequest
    known: deque[JudgedSample]
    samples: list[JudgedSample] = field(default_factory=list)
    opening: Opening | None = None
    failure: Failure | None = None
    is_over: bool = False
    n_new: int = 0
    new_tokens: int = 0
    prompt_tokens: int = 0
    cost_usd: float = 0.0


def _free() -> float:
    return 0.0


@dataclass(slots=True)
class Evaluator:
    """`Worker` from `EvaluationRequest` to `Evaluation`.

    The first judge decides; what the others say is kept beside it. Openings are asked for in one
    batched pass, samples in a few: `samples_first` of every prompt that the opening leaves promising,
    then more of those that `fitness.racing` has not settled. `side_costs` tells, once, what has been
    charged beside the engine's own answers since it was last asked: the judges' USD. Where the objective
    is a cliff the tracer reads every sample that has no trace of it yet.
    """

    engine: Engine
    judges: Sequence[Judge]
    sampling: Sampling = field(default_factory=Sampling)
    system_prompt: str | None = None
    weight: float = DEFAULT_WEIGHT
    entropy_weight: float = 0.0
    side_costs: Callable[[], float] = _free
    objective: Objective = Objective.ELBO
    tracer: Tracer | None = None  # the objective's, where it reads thoughts
    surface: Surface | None = None  # None: chat, the system prompt and one turn
    _gone: EvocliffError | None = None  # of a judge that can go on no longer

    @property
    def description(self) -> EngineDescription:
        return self.engine.description

    async def run(self, requests: Sequence[EvaluationRequest]) -> list[Evaluation | Failure]:
        if self._gone is not None:
            raise self._gone
        began = time.perf_counter()
        works = [_Work(request, deque(request.known)) for request in requests]
        for work in works:
            if not work.request.prompt.strip():
                work.failure = Failure(
                    FailureKind.EMPTY, f"{work.request.prompt_id}: the prompt has no text"
                )
        await self._open([w for w in works if w.failure is None and w.request.opening])
        under_way = [w for w in works if w.failure is None]
        while under_way:
            await self._sample([(w, self._wanted(w)) for w in under_way])
            await self._trace(under_way)
            under_way = [w for w in under_way if self._goes_on(w)]
        self._share_costs([w for w in works if w.failure is None])
        elapsed = time.perf_counter() - began
        tokens = sum(w.new_tokens for w in works) or 1
        return [self._conclude(w, elapsed * w.new_tokens / tokens) for w in works]

    async def close(self) -> None:
        await self.engine.close()

    async def _open(self, works: Sequence[_Work]) -> None:
        """Ask how the responses would begin, where that is not known, and fail those that the openers
        turn away. Without the ability nothing is asked, and nobody is turned away."""
        unknown = [w for w in works if w.request.known_opening is None]
        if unknown and Ability.OPENINGS in self.engine.description.abilities:
            engine = cast(OpeningEngine, self.engine)
            answers = await engine.open([self._generation(w, 1, 0) for w in unknown])
            for work, answer in zip(unknown, answers, strict=True):
                if isinstance(answer, Failure):
                    work.failure = answer
                    continue
                work.opening = answer
                work.new_tokens += 1
                work.prompt_tokens += answer.n_prompt_tokens
                work.cost_usd += answer.cost_usd
        for work in works:
            work.opening = work.opening or work.request.known_opening
            openers = work.request.openers
            if work.opening is None or openers is None or work.failure is not None:
                continue
            odds = openers.log_odds(work.opening)
            if odds < openers.floor:
                work.failure = ScreenedOut(
                    FailureKind.SCREENED,
                    f"log-odds of a refusal by the first token {odds:.2f}, floor {openers.floor:.2f}",
                    work.opening,
                    work.new_tokens,
                    work.prompt_tokens,
                    work.cost_usd,
                )

    async def _sample(self, works: Sequence[tuple[_Work, int]]) -> None:
        """Bring each work up to its count: stored samples first, then one engine call; and one call of
        each judge for what it has not judged."""
        stale: list[tuple[_Work, int]] = []  # work, place in its samples
        for work, count in works:
            while work.known and len(work.samples) < count:
                said = self._said(work.known[0])
                if said is None:
                    stale.append((work, len(work.samples)))
                work.samples.append(replace(work.known.popleft(), verdicts=said or ()))
        await self._judge(stale)
        if self._gone is not None and not any(w.n_new for w, _ in works):
            raise self._gone  # before anything is paid for
        short = [(w, count) for w, count in works if len(w.samples) < count]
        if not short:
            return
        answers = await self.engine.generate(
            [self._generation(*s, len(s[0].samples)) for s in short]
        )
        fresh: list[tuple[_Work, int]] = []
        for (work, _), answer in zip(short, answers, strict=True):
            if isinstance(answer, Failure) or not answer.samples:
                work.is_over = True  # a failed top-up leaves the samples that were paid for
                if not work.samples and isinstance(answer, Failure):
                    work.failure = answer
                continue
            for sample in answer.samples:
                work.samples.append(JudgedSample(sample, ()))
                fresh.append((work, len(work.samples) - 1))
            self._account(work, answer)
        await self._judge(fresh)

    def _wanted(self, work: _Work) -> int:
        """How many samples the work should have by now."""
        request = work.request
        said = [self._p_refusal(s) for s in work.samples]
        guess = None
        if work.opening is not None and request.openers is not None:
            guess = request.openers.guess(work.opening)
        return racing.wanted(
            [p for p in said if p is not None],
            self._terms(work.samples, said),
            n=len(work.samples),
            first=request.samples_first,
            most=request.samples_max,
            threshold=request.threshold,
            bar=request.bar,
            guess=guess,
        )

    def _terms(self, samples: Sequence[JudgedSample], said: Sequence[float | None]) -> list[float]:
        """What each sample adds to the fitness; `said`: P(refusal) of each."""
        if self.objective.reads_thoughts:
            return cliff_terms([s.trace for s in samples], self.objective)
        return terms(
            said,
            [s.sample.logprob_sum for s in samples],
            [s.sample.n_tokens for s in samples],
            weight=self.weight,
        )

    async def _trace(self, works: Sequence[_Work]) -> None:
        """Have the thoughts read of all samples that this run's probe has not met."""
        tracer = self.tracer
        if tracer is None:
            return
        probe = (tracer.name, tracer.version)
        places = [
            (work, place)
            for work in works
            for place, s in enumerate(work.samples)
            if s.trace is None or (s.trace.probe, s.trace.version) != probe
        ]
        if not places:
            return
        answered = [(self._messages(w), w.samples[place].sample) for w, place in places]
        for (work, place), trace in zip(places, await tracer.trace(answered), strict=True):
            work.samples[place] = replace(work.samples[place], trace=trace)

    def _goes_on(self, work: _Work) -> bool:
        """Whether another round is wanted; not after a judge has gone, or where no sample is scored, or
        none is traced that should be."""
        if work.failure is not None or work.is_over or self._gone is not None:
            return False
        if all(self._p_refusal(s) is None for s in work.samples):
            return False
        traced = any(isinstance(s.trace, CliffTrace) for s in work.samples)
        if self.objective.reads_thoughts and not traced:
            return False
        return self._wanted(work) > len(work.samples)

    def _messages(self, work: _Work) -> tuple[Message, ...]:
        if self.surface is not None:
            return self.surface.messages(work.request.prompt)
        system = (Message("system", self.system_prompt),) if self.system_prompt else ()
        return (*system, Message("user", work.request.prompt))

    def _generation(self, work: _Work, count: int, have: int) -> GenerationRequest:
        return GenerationRequest(
            key=work.request.prompt_id,
            messages=self._messages(work),
            n_samples=count - have,
            sampling=self.sampling,
            seed=work.request.seed,
            first_index=have,
        )

    def _account(self, work: _Work, answer: Generation) -> None:
        work.n_new += len(answer.samples)
        work.new_tokens += sum(s.n_tokens for s in answer.samples)
        work.prompt_tokens += answer.n_prompt_tokens
        work.cost_usd += answer.cost_usd

    def _share_costs(self, works: Sequence[_Work]) -> None:
        """What the judges charged, evenly; while nobody can bear it, it waits for those who can."""
        if works:
            each = self.side_costs() / len(works)
            for work in works:
                work.cost_usd += each

    def _said(self, judged: JudgedSample) -> tuple[Verdict, ...] | None:
        """What this run's judges said of a stored sample, in their order: other runs' are beside them.
        None: one of them has said nothing yet, so all are asked."""
        by_judge = {(v.judge, v.version): v for v in judged.verdicts}
        said = [by_judge.get((j.name, j.version)) for j in self.judges]
        found = tuple(v for v in said if v is not None)
        return found if len(found) == len(said) else None

    async def _judge(self, places: Sequence[tuple[_Work, int]]) -> None:
        verdicts = await self._verdicts(
            [(w.request.prompt, w.samples[place].sample) for w, place in places]
        )
        for (work, place), judged in zip(places, verdicts, strict=True):
            work.samples[place] = replace(work.samples[place], verdicts=judged)

    async def _verdicts(self, items: Sequence[tuple[str, Sample]]) -> list[tuple[Verdict, ...]]:
        """What every judge says of every (prompt, sample), in the order of the judges."""
        if not items:
            return []
        inputs = [JudgeInput(prompt, s.text, s.reasoning) for prompt, s in items]
        by_judge = await asyncio.gather(*(self._ask(judge, inputs) for judge in self.judges))
        said = [verdicts for verdicts in by_judge if verdicts is not None]
        return list(zip(*said, strict=True)) if said else [()] * len(items)

    async def _ask(self, judge: Judge, inputs: Sequence[JudgeInput]) -> list[Verdict] | None:
        """A judge that breaks down leaves samples unscored; it never makes a verdict. One that can go
        on no longer (None) says nothing of samples that have been paid for, so that it can be asked
        again later: they are handed on to be stored, and the next call raises what it raised.
        """
        try:
            verdicts = await judge.judge(inputs)
            if len(verdicts) == len(inputs):
                return verdicts
            reason = f"the judge gave {len(verdicts)} verdicts for {len(inputs)} samples"
        except EvocliffError as error:
            self._gone = error
            return None
        except Exception as error:  # noqa: BLE001 - whatever a judge raises is an unscored sample
            reason = f"{type(error).__name__}: {error}"
        return [Verdict.unscored(judge.name, judge.version, reason) for _ in inputs]

    def _p_refusal(self, judged: JudgedSample) -> float | None:
        decider = self.judges[0]
        for verdict in judged.verdicts:
            if (verdict.judge, verdict.version) == (decider.name, decider.version):
                return verdict.p_refusal
        return None

    def _conclude(self, work: _Work, engine_s: float) -> Evaluation | Failure:
        if work.failure is not None:
            return work.failure
        score = elbo(
            [self._p_refusal(s) for s in work.samples],
            [s.sample.logprob_sum for s in work.samples],
            [s.sample.n_tokens for s in work.samples],
            sampling_logprob_sums=[s.sample.sampling_logprob_sum for s in work.samples],
            weight=self.weight,
            entropy_weight=self.entropy_weight,
        )
        if isinstance(score, Score) and self.objective.reads_thoughts:
            score = with_cliffs(score, [s.trace for s in work.samples], self.objective)
        if isinstance(score, Failure):
            return Unscored(
                score.kind,
                score.message,
                tuple(work.samples),
                work.n_new,
                work.new_tokens,
                work.cost_usd,
                work.opening,
            )
        return Evaluation(
            prompt_id=work.request.prompt_id,
            samples=tuple(work.samples),
            score=score,
            n_new=work.n_new,
            target_tokens=work.new_tokens,
            prompt_tokens=work.prompt_tokens,
            engine_s=engine_s,
            cost_usd=work.cost_usd,
            opening=work.opening,
        )
