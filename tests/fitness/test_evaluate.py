"""The evaluator: same samples for both terms, known ones first, top-up where it looks refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from evo.types import prompt_id
from fitness.evaluate import Evaluator
from fitness.judges.embedded import EmbeddedJudge
from fitness.judges.prefix import PrefixJudge
from fitness.types import Evaluation, EvaluationRequest, JudgedSample, JudgeInput, Unscored, Verdict
from tests.fakes import FakeEngine
from workers.interface import Failure, FailureKind, Generation, TargetError
from workers.metering import Account


class BrokenJudge:
    """Raises, or answers too few."""

    version = "1"

    def __init__(self, name: str = "broken", raises: bool = True) -> None:
        self.name, self._raises = name, raises

    async def judge(self, inputs: Sequence[JudgeInput]) -> list[Verdict]:
        if self._raises:
            raise RuntimeError("no network")
        return []


def evaluate(
    evaluator: Evaluator,
    prompt: str,
    known: tuple[JudgedSample, ...] = (),
    first: int = 4,
    most: int = 10,
) -> Evaluation | Failure:
    request = EvaluationRequest(prompt_id(prompt), prompt, first, most, 0.5, seed=3, known=known)
    return asyncio.run(evaluator.run([request]))[0]


def done(result: Evaluation | Failure) -> Evaluation:
    assert isinstance(result, Evaluation)
    return result


def test_what_is_plain_ends_early_and_what_is_not_has_all_its_samples() -> None:
    engine = FakeEngine()
    evaluator = Evaluator(engine, [EmbeddedJudge()])
    assert done(evaluate(evaluator, "always")).score.n_samples == 4
    assert done(evaluate(evaluator, "never")).score.n_samples == 4
    assert done(evaluate(evaluator, "half of the time")).score.n_samples == 10
    assert [c[0].n_samples for c in engine.calls] == [4, 4, 4, 3, 3]
    assert [c[0].first_index for c in engine.calls] == [0, 0, 0, 4, 7]


def test_a_batch_is_raced_in_as_many_engine_calls_as_one_prompt() -> None:
    engine = FakeEngine()
    requests = [EvaluationRequest(str(n), f"half {n}", 2, 10, 0.5, seed=n) for n in range(12)]
    results = asyncio.run(Evaluator(engine, [EmbeddedJudge()]).run(requests))
    assert len(engine.calls) == 4  # 2, 4, 7, 10
    assert all(done(r).n_new == 10 for r in results)


def test_a_contested_place_is_sampled_to_the_end() -> None:
    evaluator = Evaluator(FakeEngine(), [EmbeddedJudge()])
    settled = done(evaluate(evaluator, "always"))
    request = EvaluationRequest("p", "always", 4, 10, 0.5, 3, bar=settled.score.fitness)
    contested = done(asyncio.run(evaluator.run([request]))[0])
    assert (settled.score.n_samples, contested.score.n_samples) == (4, 10)


def test_known_samples_are_used_before_the_target_is_asked_and_no_more_than_would_be() -> None:
    engine = FakeEngine()
    evaluator = Evaluator(engine, [EmbeddedJudge()])
    first = done(evaluate(evaluator, "half"))
    again = done(evaluate(evaluator, "half", known=first.samples))
    assert again.n_new == again.target_tokens == 0
    assert again.score == first.score
    more = done(evaluate(evaluator, "half", known=first.samples[:3]))
    assert more.n_new == 7
    assert [s.sample.index for s in more.samples] == list(range(10))
    assert more.samples == first.samples
    full = done(evaluate(evaluator, "always", first=10))
    plain = done(evaluate(evaluator, "always", known=full.samples))
    assert plain.score == done(evaluate(evaluator, "always")).score
    assert plain.samples == full.samples[:4]


def test_a_new_judge_judges_known_samples_without_the_target() -> None:
    engine = FakeEngine()
    first = done(evaluate(Evaluator(engine, [EmbeddedJudge()]), "always"))
    calls = len(engine.calls)
    both = Evaluator(engine, [PrefixJudge(), EmbeddedJudge()])
    again = done(evaluate(both, "always", known=first.samples))
    assert len(engine.calls) == calls
    assert {v.judge for s in again.samples for v in s.verdicts} == {"prefix", "embedded"}


def test_the_first_judge_decides_and_the_others_are_kept() -> None:
    result = done(evaluate(Evaluator(FakeEngine(), [PrefixJudge(), EmbeddedJudge()]), "always"))
    assert result.score.refusal_rate == 1.0 or result.score.refusal_rate == 0.0
    assert all(len(s.verdicts) == 2 for s in result.samples)


@pytest.mark.parametrize("raises", [True, False])
def test_a_broken_judge_leaves_samples_unscored_and_makes_no_verdict(raises: bool) -> None:
    beside = Evaluator(FakeEngine(), [EmbeddedJudge(), BrokenJudge(raises=raises)])
    result = done(evaluate(beside, "always"))
    reasons = [v.unscored_reason for s in result.samples for v in s.verdicts if v.judge == "broken"]
    assert len(reasons) == 4
    assert all(reasons)
    alone = evaluate(Evaluator(FakeEngine(), [BrokenJudge(raises=raises)]), "always")
    assert isinstance(alone, Unscored)
    assert alone.kind is FailureKind.UNSCORED
    # What was paid for is handed on to be stored; the first round says too little for a second one.
    assert len(alone.samples) == alone.n_new == 4
    assert alone.target_tokens == sum(s.sample.n_tokens for s in alone.samples) > 0


def test_a_judge_that_is_gone_ends_the_work_after_what_was_paid_for_is_handed_on() -> None:
    class Gone(BrokenJudge):
        async def judge(self, inputs: Sequence[JudgeInput]) -> list[Verdict]:
            raise TargetError("the judge's endpoint is gone")

    evaluator = Evaluator(FakeEngine(), [Gone("gone")])
    result = evaluate(evaluator, "always")
    assert isinstance(result, Unscored)
    assert [s.verdicts for s in result.samples] == [()] * 4
    with pytest.raises(TargetError, match="endpoint is gone"):
        evaluate(evaluator, "never")


def test_without_log_probabilities_there_is_no_confidence() -> None:
    result = done(evaluate(Evaluator(FakeEngine(logprobs=False), [EmbeddedJudge()]), "always"))
    assert result.score.confidence is None
    assert result.score.fitness == result.score.refusal_term


def test_the_system_prompt_goes_first_and_into_both_terms() -> None:
    engine = FakeEngine()
    evaluate(Evaluator(engine, [EmbeddedJudge()], system_prompt="Be safe."), "always")
    for call in engine.calls:
        assert [m.role for m in call[0].messages] == ["system", "user"]


def test_a_failed_top_up_keeps_the_samples_that_were_paid_for() -> None:
    class FailsLater(FakeEngine):
        def _one(self, request):  # type: ignore[no-untyped-def]
            if request.first_index:
                return Failure(FailureKind.ENGINE, "later")
            return super()._one(request)

    result = done(evaluate(Evaluator(FailsLater(), [EmbeddedJudge()]), "half"))
    assert result.score.n_samples == 4


def test_a_prompt_bears_what_its_samples_cost_and_a_share_of_what_judging_cost() -> None:
    account = Account()
    evaluator = Evaluator(FakeEngine(usd=0.25), [EmbeddedJudge()], side_costs=account.take)
    account.charge([Generation((), 0, 0.5)])
    requests = [
        EvaluationRequest(str(n), prompt, 4, 10, 0.5, seed=n)
        for n, prompt in enumerate(["half", "never", " "])
    ]
    refused, answered, failed = asyncio.run(evaluator.run(requests))
    assert done(refused).cost_usd == 0.25 * 3 + 0.25  # two more rounds: three answers of the engine
    assert done(answered).cost_usd == 0.25 + 0.25
    assert isinstance(failed, Failure)
    assert done(refused).prompt_tokens == 3 * done(answered).prompt_tokens


def test_what_judging_cost_waits_while_nobody_can_bear_it() -> None:
    account = Account(0.5)
    evaluator = Evaluator(FakeEngine(), [EmbeddedJudge()], side_costs=account.take)
    assert isinstance(evaluate(evaluator, " "), Failure)
    assert done(evaluate(evaluator, "never")).cost_usd == 0.5
