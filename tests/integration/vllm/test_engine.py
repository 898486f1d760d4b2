"""The vLLM engine on the real SmolLM2: the contract, and the same answers as the transformers engine."""

from __future__ import annotations

import asyncio
import math

import pytest

from evo import seeds
from evo.config import SeedsConfig
from tests import teacher_forced
from tests.contracts.test_engines import EngineContract
from workers.engines.transformers import TransformersEngine
from workers.engines.vllm import VllmEngine
from workers.interface import (
    Ability,
    ConfigError,
    Engine,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    Message,
    Sampling,
)

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

FREE = Sampling(1.0, 0.995, 0, 12)


def request(
    prompt: str, n: int = 3, sampling: Sampling = FREE, seed: int = 1, first: int = 0
) -> GenerationRequest:
    return GenerationRequest(prompt[:9], (Message("user", prompt),), n, sampling, seed, first)


def run(engine: Engine, requests: list[GenerationRequest]) -> list[Generation]:
    answers = asyncio.run(engine.generate(requests))
    assert all(isinstance(a, Generation) for a in answers), answers
    return answers  # type: ignore[return-value]


def mean_logprob(answers: list[Generation]) -> float:
    """Mean over the first samples of the log-probability of a token, nats."""
    per_token = [a.samples[0].logprob_sum / a.samples[0].n_tokens for a in answers]  # type: ignore[operator]
    return sum(per_token) / len(per_token)


class TestVllmEngine(EngineContract):
    @pytest.fixture
    def engine(self, smollm2: VllmEngine) -> Engine:
        return smollm2

    def test_two_batches_at_once_do_not_disturb_each_other(self, engine: Engine) -> None:
        """Greedily: on CPU this engine takes no seeds."""
        greedy = Sampling(0.0, max_tokens=6)
        one, other = (request(p, 2, greedy) for p in ("Name a fruit.", "Name a river."))

        async def both() -> list[list[Generation | Failure]]:
            return list(await asyncio.gather(engine.generate([one]), engine.generate([other])))

        together = asyncio.run(both())
        apart = [run(engine, [one]), run(engine, [other])]
        for found, expected in zip(together, apart, strict=True):
            assert isinstance(found[0], Generation)
            assert [s.text for s in found[0].samples] == [s.text for s in expected[0].samples]


@pytest.fixture(scope="module")
def reference() -> TransformersEngine:
    return TransformersEngine("local:smollm2", dtype="float32")


def test_a_hundred_prompts_get_the_answers_of_the_transformers_engine(
    smollm2: VllmEngine, reference: TransformersEngine
) -> None:
    loaded = seeds.load(SeedsConfig(dataset="xstest-safe", limit=100), run_seed=0)
    asked = [request(seed.text, 1, Sampling(0.0, max_tokens=24)) for seed in loaded]
    assert len(asked) == 100
    ours, theirs = run(smollm2, asked), run(reference, asked)
    equal = sum(a.samples[0].text == b.samples[0].text for a, b in zip(ours, theirs, strict=True))
    assert equal >= 95
    assert mean_logprob(ours) == pytest.approx(mean_logprob(theirs), abs=0.05)
    assert [a.n_prompt_tokens for a in ours] == [b.n_prompt_tokens for b in theirs]
    # The same tokens are counted, the one that ends the turn too.
    same = [
        (a.samples[0], b.samples[0])
        for a, b in zip(ours, theirs, strict=True)
        if a.samples[0].text == b.samples[0].text
    ]
    assert any(a.finish_reason == "stop" for a, _ in same)
    for a, b in same:
        assert (a.n_tokens, a.finish_reason) == (b.n_tokens, b.finish_reason)
        assert a.logprob_sum == pytest.approx(b.logprob_sum, abs=0.05)


def test_log_probabilities_are_the_models_own_whatever_was_sampled_from(
    smollm2: VllmEngine, reference: TransformersEngine
) -> None:
    prompts = ["Name a fruit.", "Say yes.", "Hi"]
    compared = agreed = 0
    for sampling in (Sampling(0.7, 0.9, 40, 12), Sampling(1.0, 1.0, 0, 12)):
        answers = run(smollm2, [request(p, 4, sampling) for p in prompts])
        for prompt, answer in zip(prompts, answers, strict=True):
            for sample in answer.samples:
                expected = teacher_forced.logprob_sum(reference, prompt, sample)
                if expected is None:
                    continue
                agreed += sample.logprob_sum == pytest.approx(expected, abs=0.05)
                untouched = sampling.temperature == 1.0
                assert sample.sampling_logprob_sum == (sample.logprob_sum if untouched else None)
                compared += 1
    assert compared >= 6
    # A text may encode back to as many tokens as were sampled, and to others.
    assert agreed >= compared - 2


def test_samples_asked_for_later_are_new_ones(smollm2: VllmEngine) -> None:
    (first,) = run(smollm2, [request("Tell me a story.", 6)])
    (later,) = run(smollm2, [request("Tell me a story.", 6, first=6)])
    samples = first.samples + later.samples
    assert [s.index for s in samples] == list(range(12))
    assert len({s.text for s in samples}) == 12


def test_greedy_samples_are_all_the_same(smollm2: VllmEngine) -> None:
    (answer,) = run(smollm2, [request("Name a fruit.", 3, Sampling(0.0, max_tokens=8), first=2)])
    assert [s.index for s in answer.samples] == [2, 3, 4]
    assert len({(s.text, s.logprob_sum) for s in answer.samples}) == 1
    assert answer.samples[0].sampling_logprob_sum == 0.0


def test_failures_are_data_in_their_places(smollm2: VllmEngine) -> None:
    asked = [request(p) for p in ("Hi", "word " * 9000, "  ", "\ud800 x", "Yo")]
    asked.insert(4, request("no such nucleus", sampling=Sampling(1.0, 7.0, 0, 4)))
    asked.append(request("none", n=0))
    answers = asyncio.run(smollm2.generate(asked))
    assert [a.kind if isinstance(a, Failure) else None for a in answers] == [
        None,
        FailureKind.OVERLONG,
        FailureKind.EMPTY,
        FailureKind.TEMPLATE,
        FailureKind.ENGINE,
        None,
        None,
    ]
    refused = answers[4]
    assert isinstance(refused, Failure)
    assert refused.message.startswith("no such n: top_p must be in (0, 1]")
    assert asyncio.run(smollm2.generate([])) == []


def test_a_call_that_is_given_up_leaves_the_engine_at_work(smollm2: VllmEngine) -> None:
    async def scenario() -> list[Generation | Failure]:
        long = asyncio.ensure_future(smollm2.generate([request("Go on.", 8, Sampling(1.0))]))
        await asyncio.sleep(0.3)
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long
        return await smollm2.generate([request("Hi")])

    (answer,) = asyncio.run(scenario())
    assert isinstance(answer, Generation)
    assert all(math.isfinite(s.logprob_sum or 0.0) for s in answer.samples)


def test_the_description_says_what_is_served(
    smollm2: VllmEngine, reference: TransformersEngine
) -> None:
    ours, theirs = smollm2.description, reference.description
    assert (ours.engine, ours.dtype, ours.device) == ("vllm", "float32", "cpu")
    assert (ours.model, ours.revision, ours.template, ours.context_tokens) == (
        theirs.model,
        theirs.revision,
        theirs.template,
        theirs.context_tokens,
    )
    assert ours.max_sequences is not None
    assert ours.abilities == {Ability.LOGPROBS, Ability.ADAPTERS, Ability.OPENINGS}


def test_an_engine_that_cannot_sleep_says_so(smollm2: VllmEngine) -> None:
    for ask in (smollm2.sleep, smollm2.wake):
        with pytest.raises(ConfigError, match="sleep_mode"):
            asyncio.run(ask())
