"""The transformers engine on the real SmolLM2: log-probabilities, repeatability, failures as data."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
import torch

from tests import teacher_forced
from workers import engines
from workers.engines.transformers import TransformersEngine
from workers.interface import (
    Ability,
    ConfigError,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    Message,
    Opening,
    Sampling,
)

pytestmark = pytest.mark.slow

PROMPTS = ["Name a fruit.", "How do I kill a Python process on a remote machine, please?", "Hi"]


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    return TransformersEngine("local:smollm2", dtype="float32")


def request(
    prompt: str, n: int = 3, sampling: Sampling | None = None, seed: int = 1, first: int = 0
) -> GenerationRequest:
    chosen = sampling or Sampling(1.0, 0.995, 0, 12)
    return GenerationRequest(prompt[:9], (Message("user", prompt),), n, chosen, seed, first)


def run(engine: TransformersEngine, requests: list[GenerationRequest]) -> list[Generation]:
    answers = asyncio.run(engine.generate(requests))
    assert all(isinstance(a, Generation) for a in answers)
    return answers  # type: ignore[return-value]


def test_log_probabilities_are_those_of_a_teacher_forced_pass(engine: TransformersEngine) -> None:
    compared = 0
    for prompt, answer in zip(PROMPTS, run(engine, [request(p) for p in PROMPTS]), strict=True):
        assert answer.n_prompt_tokens == len(teacher_forced.prompt_ids(engine, prompt))
        for sample in answer.samples:
            expected = teacher_forced.logprob_sum(engine, prompt, sample)
            if expected is None:
                continue
            assert sample.logprob_sum == pytest.approx(expected, abs=0.02)
            assert sample.sampling_logprob_sum is not None
            assert sample.sampling_logprob_sum >= sample.logprob_sum - 1e-3
            compared += 1
    assert compared > len(PROMPTS)


def test_greedy_text_is_that_of_generate(engine: TransformersEngine) -> None:
    tokenizer, model = engine._tokenizer, engine._model
    answers = run(engine, [request(p, 1, Sampling(0.0, max_tokens=12)) for p in PROMPTS])
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        chat = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        out = model.generate(**inputs, do_sample=False, max_new_tokens=12)
        new = out[0, inputs["input_ids"].shape[1] :]
        assert answer.samples[0].text == tokenizer.decode(new, skip_special_tokens=True).strip()


def test_a_sample_depends_on_its_seed_and_index_and_not_on_its_company(
    engine: TransformersEngine,
) -> None:
    together = run(engine, [request(p) for p in PROMPTS])
    alone = run(engine, [request(PROMPTS[1])])[0]
    assert [s.text for s in together[1].samples] == [s.text for s in alone.samples]
    later = run(engine, [request(PROMPTS[1], n=1, first=2)])[0]
    assert (later.samples[0].index, later.samples[0].text) == (2, alone.samples[2].text)
    other = run(engine, [request(PROMPTS[1], seed=2)])[0]
    assert [s.text for s in other.samples] != [s.text for s in alone.samples]


def test_failures_are_data_in_their_places(engine: TransformersEngine) -> None:
    long = "word " * 9000
    answers = asyncio.run(
        engine.generate([request(p) for p in ("Hi", long, "  ", "\ud800 x", "Yo")])
    )
    kinds = [a.kind if isinstance(a, Failure) else None for a in answers]
    assert kinds == [
        None,
        FailureKind.OVERLONG,
        FailureKind.EMPTY,
        FailureKind.TEMPLATE,
        None,
    ]
    assert asyncio.run(engine.generate([])) == []


def test_a_small_token_budget_gives_the_same_samples(engine: TransformersEngine) -> None:
    whole = run(engine, [request(p) for p in PROMPTS])
    engine._batch_tokens = 256
    try:
        parts = run(engine, [request(p) for p in PROMPTS])
    finally:
        engine._batch_tokens = None
    assert [[s.text for s in g.samples] for g in parts] == [
        [s.text for s in g.samples] for g in whole
    ]


def test_memory_that_runs_out_halves_the_batch(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(engine, [request(p) for p in PROMPTS])
    real = TransformersEngine._run

    def small(self: TransformersEngine, batch: list) -> list:  # type: ignore[type-arg]
        if sum(item.request.n_samples for item in batch) > 1:
            raise torch.OutOfMemoryError("no room")
        return real(self, batch)

    monkeypatch.setattr(TransformersEngine, "_run", small)
    parts = run(engine, [request(p) for p in PROMPTS])
    assert [[s.text for s in g.samples] for g in parts] == [
        [s.text for s in g.samples] for g in whole
    ]


def test_rows_that_ended_stop_costing_and_end_with_stop(engine: TransformersEngine) -> None:
    answers = run(engine, [request("Say yes.", 16, Sampling(1.0, 1.0, 0, 40))])
    for sample in answers[0].samples:
        assert 1 <= sample.n_tokens <= 40
        assert sample.finish_reason == "stop" or sample.n_tokens == 40
        assert sample.logprob_sum is not None
        assert math.isfinite(sample.logprob_sum)


def test_the_description_says_what_is_served(engine: TransformersEngine) -> None:
    description = engine.description
    assert (description.model, description.dtype) == ("local:smollm2", "float32")
    assert len(description.revision) == 16
    assert len(description.template) == 12
    assert Ability.LOGPROBS in description.abilities


def openings(engine: TransformersEngine, prompts: list[str]) -> list[Opening]:
    answers = asyncio.run(engine.open([request(p) for p in prompts]))
    assert all(isinstance(a, Opening) for a in answers)
    return answers  # type: ignore[return-value]


def test_an_opening_is_that_of_a_forward_pass_in_double_precision(
    engine: TransformersEngine,
) -> None:
    tokenizer, model = engine._tokenizer, engine._model
    for prompt, opening in zip(PROMPTS, openings(engine, PROMPTS), strict=True):
        chat = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        with torch.inference_mode():
            logits = model(**inputs).logits[0, -1].double()
        top = logits.log_softmax(dim=0).topk(len(opening.tokens))
        assert list(opening.logprobs) == pytest.approx(top.values.tolist(), abs=1e-3)
        assert opening.tokens[0] == tokenizer.decode([int(top.indices[0])])
        assert opening.n_prompt_tokens == inputs["input_ids"].shape[1]


def test_samples_begin_as_their_opening_says(engine: TransformersEngine) -> None:
    first = Sampling(1.0, 1.0, 0, 1)
    answers = run(engine, [request(p, 20, first) for p in PROMPTS])
    for opening, answer in zip(openings(engine, PROMPTS), answers, strict=True):
        shown = {token.strip() for token in opening.tokens}
        hits = sum(s.text in shown or s.finish_reason == "stop" for s in answer.samples)
        expected = sum(map(math.exp, opening.logprobs))
        assert hits >= 20 * expected - 6
        assert hits > 10


def test_openings_do_not_depend_on_their_company_nor_on_the_memory(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = openings(engine, PROMPTS)
    real = TransformersEngine._open

    def small(self: TransformersEngine, batch: list) -> list:  # type: ignore[type-arg]
        if len(batch) > 1:
            raise torch.OutOfMemoryError("no room")
        return real(self, batch)

    monkeypatch.setattr(TransformersEngine, "_open", small)
    for alone, together in zip(openings(engine, PROMPTS), whole, strict=True):
        assert alone.tokens[0] == together.tokens[0]
        assert alone.logprobs == pytest.approx(together.logprobs, abs=1e-3)


def test_models_that_do_not_exist_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'smolm2' is neither .*smollm2-overcautious"):
        TransformersEngine("smolm2")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        TransformersEngine(str(tmp_path))
    with pytest.raises(ConfigError, match="did you mean 'transformers'"):
        engines.build("transformer", model="x")
