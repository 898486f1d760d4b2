"""What every `Worker` keeps, run over an evaluator alone and over a pool of them on a real Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from evo.types import prompt_id
from fitness.evaluate import Evaluator
from fitness.judges.embedded import EmbeddedJudge
from fitness.types import Evaluation, EvaluationRequest
from tests.fakes import FakeEngine
from workers import cluster
from workers.interface import Failure, FailureKind, TargetError, Worker
from workers.pool import Pool

EvaluationWorker = Worker[EvaluationRequest, Evaluation]


def request(
    prompt: str, first: int = 2, most: int = 6, threshold: float = 0.4
) -> EvaluationRequest:
    return EvaluationRequest(prompt_id(prompt), prompt, first, most, threshold, seed=0)


def evaluator() -> Evaluator:
    return Evaluator(FakeEngine(), [EmbeddedJudge()])


def dead_evaluator() -> Evaluator:
    return Evaluator(FakeEngine(dies_after=0), [EmbeddedJudge()])


class WorkerContract:
    """Subclasses say how a worker is made from a factory."""

    def run(
        self, factory: Callable[[], Evaluator], requests: list[EvaluationRequest]
    ) -> list[Evaluation | Failure]:
        raise AssertionError("the subclass has to say how")

    def test_list_in_list_out_same_length_and_order(self) -> None:
        prompts = [f"prompt {n} {'always' if n % 3 else 'never'}" for n in range(17)]
        results = self.run(evaluator, [request(p) for p in prompts])
        assert len(results) == len(prompts)
        for prompt, result in zip(prompts, results, strict=True):
            assert isinstance(result, Evaluation)
            assert result.prompt_id == prompt_id(prompt)
            assert (result.score.refusal_rate > 0.5) == ("always" in prompt)

    def test_nothing_asked_nothing_answered(self) -> None:
        assert self.run(evaluator, []) == []

    def test_a_failed_request_is_data_and_its_neighbours_go_on(self) -> None:
        results = self.run(
            evaluator, [request("a"), request("overlong"), request(" "), request("b")]
        )
        kinds = [r.kind if isinstance(r, Failure) else None for r in results]
        assert kinds == [None, FailureKind.OVERLONG, FailureKind.EMPTY, None]

    def test_a_dead_engine_is_an_exception(self) -> None:
        with pytest.raises(TargetError, match="dead"):
            self.run(dead_evaluator, [request("a")])

    def test_the_same_request_twice_gives_equal_samples(self) -> None:
        first, second = self.run(evaluator, [request("a"), request("a")])
        assert isinstance(first, Evaluation)
        assert isinstance(second, Evaluation)
        assert first.samples == second.samples


class TestEvaluator(WorkerContract):
    def run(
        self, factory: Callable[[], Evaluator], requests: list[EvaluationRequest]
    ) -> list[Evaluation | Failure]:
        return asyncio.run(factory().run(requests))


@pytest.mark.slow
class TestPool(WorkerContract):
    @pytest.fixture(scope="class", autouse=True)
    def _ray(self) -> Iterator[None]:
        with cluster.connect("local"):
            yield

    def run(
        self, factory: Callable[[], Evaluator], requests: list[EvaluationRequest]
    ) -> list[Evaluation | Failure]:
        async def scenario() -> list[Evaluation | Failure]:
            pool: Pool[EvaluationRequest, Evaluation] = Pool(factory, replicas=2, cpus=0.5)
            try:
                await pool.start()
                return await pool.run(requests)
            finally:
                await pool.close()

        return asyncio.run(scenario())


def test_both_have_the_face_of_a_worker() -> None:
    assert isinstance(evaluator(), Worker)
    assert issubclass(Pool, Worker)
