"""The loop: one outcome for each proposal, record before tell, budgets, and resuming anywhere."""

import asyncio
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.algorithms import ALGORITHMS
from evo.scribe import Proposal
from evo.types import Outcome, Seed, prompt_id
from fitness.types import Evaluation, EvaluationRequest, Unscored
from tests.loop_fakes import (
    SEEDS,
    DeadProposer,
    FakeEvaluator,
    MemoryRecorder,
    config,
    loop,
)
from workers.interface import EngineDied, Failure, FailureKind


def _trace(outcomes: Sequence[Outcome]) -> list[tuple[int, str | None, float | str]]:
    return [
        (
            o.assignment.index,
            o.candidate.text if o.candidate else None,
            o.evaluation.score.fitness if o.evaluation else str(o.failure and o.failure.kind),
        )
        for o in outcomes
    ]


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
@pytest.mark.parametrize("in_flight", [1, 3])
def test_every_proposal_ends_as_exactly_one_outcome(algorithm: str, in_flight: int) -> None:
    recorder = MemoryRecorder()
    evaluator = FakeEvaluator(fails=0.1, delay_s=0.002)
    run = loop(
        config(search__algorithm=algorithm, search__in_flight=in_flight), evaluator, recorder
    )
    asyncio.run(run.run())
    indices = [o.assignment.index for o in recorder.outcomes]
    assert sorted(indices) == list(range(len(indices)))
    assert not recorder.pending
    assert len(evaluator.asked) == len(set(evaluator.asked))


@pytest.mark.parametrize("in_flight", [1, 4])
def test_the_evaluation_budget_is_met_exactly(in_flight: int) -> None:
    run = loop(config(search__in_flight=in_flight))
    reason = asyncio.run(run.run())
    assert reason == "budget: 60 evaluations"
    assert run.progress.spent.evaluations == 60


def test_a_dead_proposer_ends_by_the_proposal_budget() -> None:
    run = loop(config(budget__evaluations=20), proposer=DeadProposer())
    reason = asyncio.run(run.run())
    assert "proposals, most of them rejected" in reason
    assert run.progress.spent.proposals == 400
    assert run.progress.rejected == {"unparsed": 400 - len(SEEDS)}


def test_stall_and_wall_clock_end_a_run() -> None:
    stalled = loop(config(budget={"stall": 9}, search__threshold=1.0))
    assert asyncio.run(stalled.run()).startswith("stall:")
    timed = loop(config(budget={"wall_clock": 30.0}))
    assert "wall clock" in asyncio.run(timed.run())


def test_tokens_of_samples_that_nobody_could_judge_count_towards_the_budget() -> None:
    class Silent(FakeEvaluator):
        def _one(self, request: EvaluationRequest) -> Evaluation | Failure:
            return Unscored(FailureKind.UNSCORED, "no verdict", (), 4, 20)

    run = loop(config(budget={"target_tokens": 60}, search__batch=1), Silent())
    assert asyncio.run(run.run()) == "budget: 60 target tokens"
    assert run.progress.spent.target_tokens == 60
    assert (run.progress.samples, run.progress.unscored) == (12, 12)


PRICED = {"engine": "openai", "model": "m", "price": {"completion": 1.0}}


def test_a_budget_of_money_ends_a_run_in_order_and_is_remembered_by_a_resumed_one() -> None:
    settings_ = config(budget={"money": 0.5}, target=PRICED, search__in_flight=3)
    recorder = MemoryRecorder()
    run = loop(settings_, FakeEvaluator(usd=0.02), recorder)
    assert asyncio.run(run.run()).startswith("budget: 0.")
    spent = run.progress.spent
    assert not recorder.pending
    assert spent.money_usd == pytest.approx(0.02 * spent.evaluations)
    assert 0.5 <= spent.money_usd < 0.5 + 0.02 * 3 * 5
    again = loop(settings_, FakeEvaluator(usd=0.02), recorder)
    again.replay(recorder.outcomes, [], 0.0)
    assert again.progress.spent.money_usd == pytest.approx(spent.money_usd)


def test_what_proposers_and_gates_cost_is_borne_by_the_outcomes_of_the_batch() -> None:
    recorder = MemoryRecorder()
    run = loop(config(), FakeEvaluator(usd=0.01), recorder)
    charged = iter([0.6, 0.3])
    run.side_costs = lambda: next(charged, 0.0)
    asyncio.run(run.run())
    evaluations = run.progress.spent.evaluations
    assert run.progress.spent.money_usd == pytest.approx(0.9 + 0.01 * evaluations)
    assert sum(o.cost_usd for o in recorder.outcomes) == pytest.approx(run.progress.spent.money_usd)


def test_what_is_not_harmless_or_not_novel_costs_no_evaluation() -> None:
    harmful = [Seed("a forbidden thing", "test"), Seed("a delicate thing", "test")]
    seeds = [*SEEDS, *harmful, Seed(SEEDS[0].text.upper(), "test")]
    recorder, evaluator = MemoryRecorder(), FakeEvaluator()
    asyncio.run(loop(config(), evaluator, recorder, seeds=seeds).run())
    assert not any("forbidden" in text or "delicate" in text for text in evaluator.asked)
    kinds = {str(o.failure.kind) for o in recorder.outcomes if o.failure}
    assert {"not_harmless", "duplicate", "unchanged"} <= kinds


def test_outcomes_are_recorded_before_the_search_hears_of_them() -> None:
    recorder = MemoryRecorder()
    run = loop(config(), recorder=recorder)
    tell, told = run.search.tell, 0

    def checked_tell(outcome: Outcome) -> bool:
        nonlocal told
        assert outcome in recorder.outcomes
        told += 1
        return tell(outcome)

    run.search.tell = checked_tell  # type: ignore[method-assign]
    asyncio.run(run.run())
    assert told == len(recorder.outcomes)


def test_proposals_are_stored_before_the_target_is_asked() -> None:
    recorder = MemoryRecorder()
    evaluator = FakeEvaluator(dies_after=0)
    with pytest.raises(EngineDied):
        asyncio.run(loop(config(), evaluator, recorder).run())
    assert recorder.pending
    assert all(candidate is not None for _, candidate in recorder.pending.values())


def test_two_runs_with_one_batch_in_flight_are_identical() -> None:
    first, second = MemoryRecorder(), MemoryRecorder()
    asyncio.run(loop(config(), recorder=first).run())
    asyncio.run(loop(config(), FakeEvaluator(delay_s=0.001), second).run())
    assert _trace(first.outcomes) == _trace(second.outcomes)


def test_stopping_finishes_what_is_in_flight_and_asks_nothing_new() -> None:
    async def scenario() -> None:
        recorder, evaluator = MemoryRecorder(), FakeEvaluator(delay_s=0.05)
        run = loop(config(search__in_flight=2), evaluator, recorder)
        task = asyncio.ensure_future(run.run())
        await asyncio.sleep(0.01)
        run.stop.set()
        assert await task == "interrupted"
        assert not recorder.pending
        assert 0 < len(recorder.outcomes) < 60

    asyncio.run(scenario())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=3), st.sampled_from(list(ALGORITHMS)))
def test_a_killed_run_resumes_to_the_same_result(deaths: list[int], algorithm: str) -> None:
    settings_ = config(search__algorithm=algorithm)
    undisturbed = MemoryRecorder()
    asyncio.run(loop(settings_, recorder=undisturbed).run())

    recorder = MemoryRecorder()
    asked: list[str] = []
    for dies_after in [*deaths, None]:
        evaluator = FakeEvaluator(dies_after=dies_after)
        run = loop(settings_, evaluator, recorder)
        pending = [recorder.pending[i] for i in sorted(recorder.pending)]
        differing, pending = run.replay(recorder.outcomes, pending, wall_s=0.0)
        assert differing == 0
        try:
            asyncio.run(run.run(pending))
        except EngineDied:
            continue
        finally:
            asked += evaluator.asked
    assert _trace(recorder.outcomes) == _trace(undisturbed.outcomes)
    assert len(asked) == len(set(asked))


def test_a_run_with_many_in_flight_resumes_without_asking_twice() -> None:
    settings_ = config(search__in_flight=3)
    recorder = MemoryRecorder()
    evaluator = FakeEvaluator(dies_after=33, delay_s=0.002)
    with pytest.raises(EngineDied):
        asyncio.run(loop(settings_, evaluator, recorder).run())
    recorded = [o.candidate.text for o in recorder.outcomes if o.evaluation and o.candidate]
    after = FakeEvaluator(delay_s=0.002)
    run = loop(settings_, after, recorder)
    pending = [recorder.pending[i] for i in sorted(recorder.pending)]
    differing, pending = run.replay(recorder.outcomes, pending, wall_s=3.0)
    assert differing == 0
    asyncio.run(run.run(pending))
    assert run.progress.spent.evaluations == 60
    assert not set(recorded) & set(after.asked)


def test_a_prompt_that_killed_replicas_is_not_asked_again_in_this_life_nor_the_next() -> None:
    class Killing(FakeEvaluator):
        def _one(self, request: EvaluationRequest) -> Evaluation | Failure:
            if request.prompt == SEEDS[1].text:
                return Failure(FailureKind.REPLICA_LOST, "2 replicas died")
            return super()._one(request)

    recorder = MemoryRecorder()
    run = loop(config(), Killing(), recorder)
    asyncio.run(run.run())
    key = prompt_id(SEEDS[1].text)
    assert key in run._met
    again = loop(config(), Killing(), recorder)
    again.replay(recorder.outcomes, [], 0.0)
    assert key in again._met


def test_many_in_flight_do_not_wait_for_the_record_and_one_does() -> None:
    class SlowRecorder(MemoryRecorder):
        def write(self, proposals: Sequence[Proposal], outcomes: Sequence[Outcome]) -> None:
            time.sleep(0.01 * bool(outcomes))
            super().write(proposals, outcomes)

    recorder = SlowRecorder()
    asyncio.run(loop(config(search__in_flight=1), recorder=recorder).run())
    asked_after = [o.assignment.asked_after for o in recorder.outcomes]
    # Every batch was chosen by a search that had been told of all before it.
    begun = [i for i, after in enumerate(asked_after) if i == 0 or after != asked_after[i - 1]]
    assert [asked_after[i] for i in begun] == begun
    recorder = SlowRecorder()
    run = loop(config(search__in_flight=3), recorder=recorder)
    asyncio.run(run.run())
    assert run.progress.spent.evaluations == 60
