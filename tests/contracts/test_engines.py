"""What every engine keeps, run over the scripted one and over a real model."""

from __future__ import annotations

import asyncio
import math
import pickle
from collections.abc import Iterator
from typing import cast

import pytest

from tests.fakes import FakeEngine
from tests.scripted_endpoint import scripted_endpoint
from workers.engines.openai import OpenAIEngine
from workers.engines.transformers import TransformersEngine
from workers.interface import (
    OPENING_TOKENS,
    Ability,
    Engine,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    Message,
    Opening,
    OpeningEngine,
    Sampling,
)


def request(prompt: str, n: int = 2, first: int = 0, key: str = "k") -> GenerationRequest:
    sampling = Sampling(1.0, 0.995, 0, 6)
    return GenerationRequest(key, (Message("user", prompt),), n, sampling, 3, first)


def run(engine: Engine, *requests: GenerationRequest) -> list[Generation | Failure]:
    return asyncio.run(engine.generate(requests))


def run_open(engine: Engine, *requests: GenerationRequest) -> list[Opening | Failure]:
    return asyncio.run(cast(OpeningEngine, engine).open(requests))


class EngineContract:
    @pytest.fixture
    def engine(self) -> Engine:
        raise AssertionError("the subclass has to say which")

    def test_list_in_list_out_same_length_and_order(self, engine: Engine) -> None:
        asked = [request(f"Count to {n}.", n=1 + n % 3) for n in range(7)]
        answers = run(engine, *asked)
        assert [len(a.samples) for a in answers if isinstance(a, Generation)] == [
            r.n_samples for r in asked
        ]
        assert run(engine) == []

    def test_samples_carry_their_numbers_and_counts(self, engine: Engine) -> None:
        (answer,) = run(engine, request("Say a word.", n=3, first=4))
        assert isinstance(answer, Generation)
        assert [s.index for s in answer.samples] == [4, 5, 6]
        assert answer.n_prompt_tokens > 0
        for sample in answer.samples:
            assert sample.n_tokens >= 1
            assert sample.finish_reason in {"stop", "length"}

    def test_log_probabilities_come_with_the_ability_that_is_declared(self, engine: Engine) -> None:
        (answer,) = run(engine, request("Say a word."))
        assert isinstance(answer, Generation)
        for sample in answer.samples:
            given = sample.logprob_sum is not None and sample.logprob_sum <= 0.0
            assert given == (Ability.LOGPROBS in engine.description.abilities)

    def test_a_failed_request_is_data_and_its_neighbours_go_on(self, engine: Engine) -> None:
        answers = run(engine, request("Hi"), request("overlong " * 9000), request("Yo"))
        assert isinstance(answers[0], Generation)
        assert isinstance(answers[1], Failure)
        assert answers[1].kind is FailureKind.OVERLONG
        assert isinstance(answers[2], Generation)

    def test_two_batches_at_once_do_not_disturb_each_other(self, engine: Engine) -> None:
        one, other = request("Name a fruit."), request("Name a river.")

        async def both() -> list[list[Generation | Failure]]:
            return list(await asyncio.gather(engine.generate([one]), engine.generate([other])))

        assert asyncio.run(both()) == [run(engine, one), run(engine, other)]

    def test_what_crosses_processes_survives_it(self, engine: Engine) -> None:
        answers = run(engine, request("Hi"), request("overlong " * 9000))
        assert pickle.loads(pickle.dumps(answers)) == answers
        assert pickle.loads(pickle.dumps(engine.description)) == engine.description

    def test_openings_are_the_likeliest_first_tokens_in_order(self, engine: Engine) -> None:
        if Ability.OPENINGS not in engine.description.abilities:
            return  # `test_openings_go_with_log_probabilities` says for whom that is right
        prompts = [f"Count to {n}." + " Please." * n for n in range(5)]
        openings = run_open(engine, *(request(p, n=0) for p in prompts))
        assert len(openings) == len(prompts)
        for opening in openings:
            assert isinstance(opening, Opening)
            assert 1 <= len(opening.tokens) == len(opening.logprobs) <= OPENING_TOKENS
            assert list(opening.logprobs) == sorted(opening.logprobs, reverse=True)
            assert sum(map(math.exp, opening.logprobs)) <= 1.0 + 1e-4
            assert opening.n_prompt_tokens > 0
        counts = [o.n_prompt_tokens for o in openings if isinstance(o, Opening)]
        assert counts == sorted(counts)
        assert run_open(engine) == []
        assert pickle.loads(pickle.dumps(openings)) == openings

    def test_an_opening_that_failed_is_data(self, engine: Engine) -> None:
        if Ability.OPENINGS not in engine.description.abilities:
            return
        answers = run_open(engine, request("Hi"), request("overlong " * 9000), request("Yo"))
        assert isinstance(answers[0], Opening)
        assert isinstance(answers[1], Failure)
        assert answers[1].kind is FailureKind.OVERLONG
        assert isinstance(answers[2], Opening)

    def test_openings_go_with_log_probabilities(self, engine: Engine) -> None:
        abilities = engine.description.abilities
        assert (Ability.OPENINGS in abilities) == (Ability.LOGPROBS in abilities)


class TestFakeEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return FakeEngine()


class TestFakeEngineWithoutLogProbabilities(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return FakeEngine(logprobs=False)


class TestOpenAIEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> Iterator[Engine]:
        with scripted_endpoint() as endpoint:
            engine = OpenAIEngine("tiny", base_url=endpoint.url, api_key_env="NO_KEY")
            yield engine
            asyncio.run(engine.close())


class TestOpenAIEngineWithoutWhatIsOptional(EngineContract):
    @pytest.fixture
    def engine(self) -> Iterator[Engine]:
        with scripted_endpoint(logprobs=False, most_choices=1, models=None) as endpoint:
            engine = OpenAIEngine("tiny", base_url=endpoint.url, api_key_env="NO_KEY")
            yield engine
            asyncio.run(engine.close())


@pytest.fixture(scope="module")
def smollm2() -> TransformersEngine:
    return TransformersEngine("local:smollm2", dtype="float32")


@pytest.mark.slow
class TestTransformersEngine(EngineContract):
    @pytest.fixture
    def engine(self, smollm2: TransformersEngine) -> Engine:
        return smollm2
