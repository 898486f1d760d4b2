"""Several targets with the face of one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from fitness.elbo import elbo
from fitness.several import SeveralTargets
from fitness.targets import Over
from fitness.types import (
    Evaluation,
    EvaluationRequest,
    JudgedSample,
    Score,
    Unscored,
    Verdict,
)
from workers.interface import EngineDied, Failure, FailureKind, Sample


@dataclass
class Scripted:
    """Refuses each prompt as often as told, in ten samples; a failure or an error where one is."""

    says: Mapping[str, float | Failure | EngineDied]
    asked: list[str] = field(default_factory=list)
    known: list[int] = field(default_factory=list)

    async def run(self, requests: Sequence[EvaluationRequest]) -> list[Evaluation | Failure]:
        self.asked += [r.prompt for r in requests]
        self.known += [len(r.known) for r in requests]
        return [self._one(r) for r in requests]

    def _one(self, request: EvaluationRequest) -> Evaluation | Failure:
        said = self.says[request.prompt]
        if isinstance(said, EngineDied):
            raise said
        if isinstance(said, Failure):
            return said
        score = elbo([said] * 10, [-2.0] * 10, [4] * 10)
        assert isinstance(score, Score)
        judged = JudgedSample(Sample(0, "t", 4, "stop"), (Verdict.scored("j", "1", said),))
        return Evaluation(request.prompt_id, (judged,) * 10, score, 10, 40, 5, 0.1)

    async def close(self) -> None:
        return None


def ask(over: Over, *prompts: str, known: object = None, **workers: Scripted) -> list[object]:
    requests = [EvaluationRequest(p, p, 4, 10, 0.5, 0) for p in prompts]
    read = known if callable(known) else lambda target, ids: {}
    return list(asyncio.run(SeveralTargets(workers, over, read).run(requests)))


def test_targets_that_disagree_are_combined_in_the_order_of_the_requests() -> None:
    a, b = Scripted({"x": 1.0, "y": 0.0}), Scripted({"x": 0.5, "y": 1.0})
    x, y = ask(Over("mean"), "x", "y", a=a, b=b)
    assert isinstance(x, Evaluation)
    assert isinstance(y, Evaluation)
    assert (x.score.refusal_rate, y.score.refusal_rate) == (0.75, 0.5)
    assert (x.prompt_id, y.prompt_id, x.target_tokens) == ("x", "y", 80)
    assert [target for target, _ in x.by_target] == ["a", "b"]


def test_for_the_minimum_a_prompt_that_is_clearly_answered_costs_no_further_target() -> None:
    a, b = Scripted({"x": 0.0, "y": 1.0}), Scripted({"y": 0.2})
    x, y = ask(Over("min"), "x", "y", a=a, b=b)
    assert isinstance(x, Evaluation)
    assert isinstance(y, Evaluation)
    assert b.asked == ["y"]
    assert [target for target, _ in x.by_target] == ["a"]  # b is unknown, not zero
    assert (x.target_tokens, y.target_tokens) == (40, 80)
    assert y.score.refusal_rate == pytest.approx(0.2)


def test_the_samples_that_are_known_are_those_of_the_target_that_is_asked() -> None:
    a, b = Scripted({"x": 1.0}), Scripted({"x": 1.0})
    sample = JudgedSample(Sample(0, "t", 4, "stop"), ())

    def known(target: str, ids: Sequence[str]) -> dict[str, tuple[JudgedSample, ...]]:
        return {"x": (sample,) * 3} if target == "b" else {}

    ask(Over("mean"), "x", known=known, a=a, b=b)
    assert (a.known, b.known) == ([0], [3])


def test_what_one_target_cannot_evaluate_fails_and_keeps_what_the_others_were_paid_for() -> None:
    too_long = Failure(FailureKind.OVERLONG, "too long")
    (x,) = ask(Over("mean"), "x", a=Scripted({"x": 1.0}), b=Scripted({"x": too_long}))
    assert isinstance(x, Unscored)
    assert x.message == "overlong: target b: too long"
    assert (x.n_new, x.target_tokens, [t for t, _ in x.by_target]) == (10, 40, ["a"])


def test_a_failure_that_cost_nothing_keeps_its_kind() -> None:
    too_long = Failure(FailureKind.OVERLONG, "too long")
    (x,) = ask(Over("mean"), "x", a=Scripted({"x": too_long}), b=Scripted({"x": too_long}))
    assert x == Failure(FailureKind.OVERLONG, "target a: too long")


def test_a_prompt_that_kills_replicas_of_one_target_is_told_as_such() -> None:
    lost = Failure(FailureKind.REPLICA_LOST, "killed two")
    (x,) = ask(Over("mean"), "x", a=Scripted({"x": 1.0}), b=Scripted({"x": lost}))
    assert isinstance(x, Unscored)
    assert x.kind is FailureKind.REPLICA_LOST


def test_a_dead_target_is_an_exception_as_it_was_raised() -> None:
    with pytest.raises(EngineDied, match="gone"):
        ask(Over("mean"), "x", a=Scripted({"x": 1.0}), b=Scripted({"x": EngineDied("gone")}))
