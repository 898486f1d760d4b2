"""The evaluator: generate, judge, score. A replica holds one, so fitness is computed beside the model.

It knows prompts and refusals; where the engine runs, and what becomes of the score, it does not know.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fitness.elbo import DEFAULT_WEIGHT, elbo
from fitness.types import (
    Evaluation,
    EvaluationRequest,
    Judge,
    JudgedSample,
    JudgeInput,
    Unscored,
    Verdict,
)
from workers.interface import (
    Engine,
    EngineDescription,
    EvocliffError,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    Message,
    Sample,
    Sampling,
)

_Count = Callable[[EvaluationRequest], int]


@dataclass(slots=True)
class _Work:
    """One request under way: what it has so far, or why it failed."""

    request: EvaluationRequest
    samples: list[JudgedSample]
    failure: Failure | None = None
    n_new: int = 0
    new_tokens: int = 0
    prompt_tokens: int = 0
    cost_usd: float = 0.0


def _free() -> float:
    return 0.0


@dataclass(slots=True)
class Evaluator:
    """`Worker` from `EvaluationRequest` to `Evaluation`.

    The first judge decides; what the others say is kept beside it. Samples are taken in at most two
    batched passes: `samples_first` of every prompt, then the rest where the refusal rate has
    reached `top_up_at`. `side_costs` tells, once, what has been charged beside the engine's own
    answers since it was last asked: the judges' USD.
    """

    engine: Engine
    judges: Sequence[Judge]
    sampling: Sampling = field(default_factory=Sampling)
    system_prompt: str | None = None
    weight: float = DEFAULT_WEIGHT
    entropy_weight: float = 0.0
    side_costs: Callable[[], float] = _free
    _gone: EvocliffError | None = None  # of a judge that can go on no longer

    @property
    def description(self) -> EngineDescription:
        return self.engine.description

    async def run(self, requests: Sequence[EvaluationRequest]) -> list[Evaluation | Failure]:
        if self._gone is not None:
            raise self._gone
        began = time.perf_counter()
        works = [_Work(request, list(request.known)) for request in requests]
        for work in works:
            if not work.request.prompt.strip():
                work.failure = Failure(
                    FailureKind.EMPTY, f"{work.request.prompt_id}: the prompt has no text"
                )
        await self._judge_known([w for w in works if w.failure is None])
        if self._gone is not None:
            raise self._gone  # before anything is paid for
        await self._sample(works, lambda request: request.samples_first)
        topped_up = [w for w in works if w.failure is None and self._wants_more(w)]
        await self._sample(topped_up, lambda request: request.samples_max)
        self._share_costs([w for w in works if w.failure is None])
        elapsed = time.perf_counter() - began
        tokens = sum(w.new_tokens for w in works) or 1
        return [self._conclude(w, elapsed * w.new_tokens / tokens) for w in works]

    async def close(self) -> None:
        await self.engine.close()

    async def _sample(self, works: Sequence[_Work], count: _Count) -> None:
        """Bring each work up to its count in one engine call and one call of each judge."""
        short = [w for w in works if w.failure is None and len(w.samples) < count(w.request)]
        if not short:
            return
        answers = await self.engine.generate([self._generation(w, count(w.request)) for w in short])
        fresh: list[tuple[_Work, Sample]] = []
        for work, answer in zip(short, answers, strict=True):
            if isinstance(answer, Failure):
                if not work.samples:  # a failed top-up leaves the samples that were paid for
                    work.failure = answer
                continue
            fresh.extend((work, sample) for sample in answer.samples)
            self._account(work, answer)
        verdicts = await self._verdicts([(w.request.prompt, s) for w, s in fresh])
        for (work, sample), judged in zip(fresh, verdicts, strict=True):
            work.samples.append(JudgedSample(sample, judged))

    def _generation(self, work: _Work, count: int) -> GenerationRequest:
        system = [Message("system", self.system_prompt)] if self.system_prompt else []
        have = len(work.samples)
        return GenerationRequest(
            key=work.request.prompt_id,
            messages=(*system, Message("user", work.request.prompt)),
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

    def _wants_more(self, work: _Work) -> bool:
        scored = [p for s in work.samples if (p := self._p_refusal(s)) is not None]
        return bool(scored) and sum(scored) / len(scored) >= work.request.top_up_at

    async def _judge_known(self, works: Sequence[_Work]) -> None:
        """Stored samples keep their verdicts; what a judge of this run has not said is asked for."""
        wanted = {(j.name, j.version) for j in self.judges}
        stale = [
            (work, place)
            for work in works
            for place, judged in enumerate(work.samples)
            if not wanted <= {(v.judge, v.version) for v in judged.verdicts}
        ]
        verdicts = await self._verdicts(
            [(w.request.prompt, w.samples[place].sample) for w, place in stale]
        )
        for (work, place), judged in zip(stale, verdicts, strict=True):
            work.samples[place] = JudgedSample(work.samples[place].sample, judged)

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
        if isinstance(score, Failure):
            return Unscored(
                score.kind,
                score.message,
                tuple(work.samples),
                work.n_new,
                work.new_tokens,
                work.cost_usd,
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
        )
