"""The evaluator where the fitness is a cliff: every sample is read once, and no number comes of nothing."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from statistics import fmean

import pytest

from fitness.evaluate import Evaluator
from fitness.judges.embedded import EmbeddedJudge
from fitness.objective import Objective
from fitness.types import CliffTrace, Evaluation, EvaluationRequest, JudgedSample, NoTrace, Unscored
from tests.fake_tracer import FakeTracer, a_trace
from tests.fakes import FakeEngine
from workers.interface import Failure, FailureKind, Message


class WatchingTracer(FakeTracer):
    """Remembers the conversations that it was shown."""

    async def trace(self, answered):  # type: ignore[no-untyped-def]
        self.seen = [messages for messages, _ in answered]
        return await super().trace(answered)


def an_evaluator(
    tracer: FakeTracer, objective: Objective = Objective.CLIFF, engine: FakeEngine | None = None
) -> Evaluator:
    return Evaluator(engine or FakeEngine(), [EmbeddedJudge()], objective=objective, tracer=tracer)


def evaluate(
    evaluator: Evaluator,
    prompt: str = "always",
    known: tuple[JudgedSample, ...] = (),
    most: int = 4,
    bar: float = -math.inf,
) -> Evaluation | Failure:
    request = EvaluationRequest("p", prompt, 4, most, 0.5, seed=3, known=known, bar=bar)
    return asyncio.run(evaluator.run([request]))[0]


def cliffs_of(samples: tuple[JudgedSample, ...]) -> list[float]:
    return [s.trace.cliff for s in samples if isinstance(s.trace, CliffTrace)]


@pytest.mark.parametrize(
    ("objective", "sign"), [(Objective.CLIFF, 1), (Objective.INVERSE_CLIFF, -1)]
)
def test_the_fitness_is_the_mean_cliff_and_the_refusal_rate_is_the_judges_as_ever(
    objective: Objective, sign: int
) -> None:
    plain = evaluate(Evaluator(FakeEngine(), [EmbeddedJudge()]))
    found = evaluate(an_evaluator(FakeTracer(), objective))
    assert isinstance(plain, Evaluation)
    assert isinstance(found, Evaluation)
    assert all(isinstance(s.trace, CliffTrace | NoTrace) for s in found.samples)
    assert found.score.fitness == pytest.approx(sign * fmean(cliffs_of(found.samples)))
    assert replace(found.score, fitness=plain.score.fitness) == plain.score


def test_a_known_trace_is_not_read_again_and_that_of_another_probe_is() -> None:
    tracer = FakeTracer()
    first = evaluate(an_evaluator(tracer))
    assert isinstance(first, Evaluation)
    assert tracer.asked == 4
    engine, again = FakeEngine(), FakeTracer()
    second = evaluate(an_evaluator(again, engine=engine), known=first.samples)
    assert isinstance(second, Evaluation)
    assert (engine.calls, again.asked) == ([], 0)
    assert (second.score, second.samples) == (first.score, first.samples)
    older = tuple(replace(s, trace=a_trace(0.9, 0.1, version="old")) for s in first.samples)
    third = evaluate(an_evaluator(again, engine=engine), known=older)
    assert isinstance(third, Evaluation)
    assert (again.asked, third.samples) == (4, first.samples)


def test_what_is_never_thought_about_is_a_failure_that_keeps_its_samples() -> None:
    engine = FakeEngine()
    found = evaluate(an_evaluator(FakeTracer(thoughtless=1.0), engine=engine), "half", most=10)
    assert isinstance(found, Unscored)
    assert found.kind is FailureKind.UNSCORED
    assert found.message == "no trace of any of 4 samples: no thought 4"
    assert (found.n_new, len(found.samples), len(engine.calls)) == (4, 4, 1), (
        "it went on for nothing"
    )


def test_a_place_is_raced_by_the_cliffs() -> None:
    settled = evaluate(an_evaluator(FakeTracer()), most=10)
    assert isinstance(settled, Evaluation)
    assert settled.score.n_samples == 4
    contested = evaluate(an_evaluator(FakeTracer()), most=10, bar=settled.score.fitness)
    assert isinstance(contested, Evaluation)
    assert contested.score.n_samples > 4


def test_the_tracer_sees_the_conversation_that_the_target_saw() -> None:
    tracer = WatchingTracer()
    evaluator = an_evaluator(tracer)
    evaluator.system_prompt = "Be kind."
    evaluate(evaluator)
    assert tracer.seen == [(Message("system", "Be kind."), Message("user", "always"))] * 4


def test_without_a_tracer_nothing_is_read() -> None:
    found = evaluate(Evaluator(FakeEngine(), [EmbeddedJudge()]))
    assert isinstance(found, Evaluation)
    assert {s.trace for s in found.samples} == {None}
