"""The white box on the real SmolLM2: against a plain pass, against hand-made slices, interventions."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import evo.looking
from evo.config import EngineConfig
from tests.fakes import FakeEngine
from workers import decoder, looking
from workers.engines.transformers import TransformersEngine
from workers.interface import (
    AddDirection,
    ConfigError,
    Direction,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    HeadContributions,
    HeadsRequest,
    Message,
    Place,
    Projection,
    ProjectionRequest,
    Sampling,
    ScaleHead,
    StateRequest,
    States,
    StoredResponse,
    TextLogprob,
    Where,
)
from workers.interventions import on_input
from workers.looking import Look, PooledWhiteBox, WhiteBoxWorker
from workers.whitebox import TransformersWhiteBox

pytestmark = pytest.mark.slow

RESPONSE = "<think>\nThis is about a fruit. I can say one.\n</think>\n\nA pear."
LAYERS = (0, 7, 30)
PLACES = (Place.INSTRUCTION, Place.POST_INSTRUCTION, Place.BEFORE_ANSWER)


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    return TransformersEngine("local:smollm2", dtype="float32")


@pytest.fixture(scope="module")
def box(engine: TransformersEngine) -> TransformersWhiteBox:
    return TransformersWhiteBox(engine)


def chat(prompt: str) -> tuple[Message, ...]:
    return (Message("user", prompt),)


def state_request(prompt: str = "Name a fruit.", response: Any = RESPONSE) -> StateRequest:
    return StateRequest(prompt, chat(prompt), LAYERS, PLACES, response)


def states(box: TransformersWhiteBox, requests: Sequence[StateRequest], *changes: Any) -> Any:
    answers = asyncio.run(box.states(requests, changes))
    assert all(isinstance(a, States) for a in answers)
    return [a.values for a in answers if isinstance(a, States)]


def plain(engine: TransformersEngine, prompt: str, response: str) -> tuple[list[int], Any, int]:
    """Token ids, hidden states (layers, tokens, width) and length of the prompt, by hand."""
    tokenizer = engine._tokenizer
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    start = tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = start + tokenizer(response, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        out = engine._model(torch.tensor([ids]), output_hidden_states=True)
    return ids, torch.stack(out.hidden_states)[:, 0], len(start)


def places_by_hand(engine: TransformersEngine, ids: list[int], n_prompt: int) -> list[int]:
    texts = [engine._tokenizer.decode([i]) for i in ids]
    end_of_user = max(i for i in range(n_prompt) if texts[i] == "<|im_end|>") - 1
    return [end_of_user, n_prompt - 1, max(i for i, t in enumerate(texts) if t == "A") - 1]


def test_states_are_those_of_a_plain_pass(
    engine: TransformersEngine, box: TransformersWhiteBox
) -> None:
    (values,) = states(box, [state_request()])
    ids, hidden, n_prompt = plain(engine, "Name a fruit.", RESPONSE)
    expected = hidden[list(LAYERS)][:, places_by_hand(engine, ids, n_prompt)].numpy()
    assert values.shape == (3, 3, box.width)
    assert np.abs(values - expected).max() < 1e-4


def test_a_row_alone_is_what_it_is_in_a_batch(box: TransformersWhiteBox) -> None:
    prompts = ["Hi", "Name a fruit.", "Tell me of " + "very " * 40 + "old trees."]
    together = states(box, [state_request(p) for p in prompts])
    for prompt, values in zip(prompts, together, strict=True):
        (alone,) = states(box, [state_request(prompt)])
        assert np.abs(values - alone).max() < 1e-4


def test_a_row_in_pieces_is_what_it_is_whole(
    engine: TransformersEngine, box: TransformersWhiteBox
) -> None:
    pieces = TransformersWhiteBox(engine, pass_tokens=16)
    (cut,), (whole,) = states(pieces, [state_request()]), states(box, [state_request()])
    assert np.abs(cut - whole).max() < 1e-4
    weight = np.random.default_rng(0).normal(size=box.width).astype(np.float32)
    asked = [HeadsRequest("h", chat("Name a fruit."), weight, response=RESPONSE)]
    (of_pieces,) = asyncio.run(pieces.heads(asked))
    (of_whole,) = asyncio.run(box.heads(asked))
    assert isinstance(of_pieces, HeadContributions)
    assert isinstance(of_whole, HeadContributions)
    assert np.abs(of_pieces.values - of_whole.values).max() < 1e-4


def test_projections_are_w_h_plus_b_of_every_token_of_the_thought(
    engine: TransformersEngine, box: TransformersWhiteBox
) -> None:
    rng = np.random.default_rng(1)
    directions = tuple(
        Direction(layer, rng.normal(size=box.width).astype(np.float32) / 24, 0.5)
        for layer in LAYERS
    )
    asked = ProjectionRequest("p", chat("Name a fruit."), RESPONSE, directions)
    for opened in (box, TransformersWhiteBox(engine, pass_tokens=16)):
        (answer,) = asyncio.run(opened.project([asked]))
        assert isinstance(answer, Projection)
        assert (
            "".join(answer.tokens[: answer.n_thinking]) == "This is about a fruit. I can say one."
        )
        assert "".join(answer.tokens[answer.n_thinking :]) == "\n</think>\n\n"
        ids, hidden, n_prompt = plain(engine, "Name a fruit.", RESPONSE)
        last = places_by_hand(engine, ids, n_prompt)[2]
        span = hidden[:, last + 1 - len(answer.tokens) : last + 1].double().numpy()
        for d, values in zip(directions, answer.values, strict=True):
            expected = span[d.layer] @ d.weight.astype(np.float64) + d.bias
            assert np.abs(values - expected).max() < 1e-4


def test_head_contributions_are_their_slices_of_the_output_projection(
    engine: TransformersEngine, box: TransformersWhiteBox
) -> None:
    weight = np.random.default_rng(2).normal(size=box.width).astype(np.float32)
    prompts = ["Name a fruit.", "Hi", "Say something longer than the others do."]
    asked = [HeadsRequest(p, chat(p), weight, response=RESPONSE) for p in prompts]
    answers = asyncio.run(box.heads(asked))
    caught: dict[int, Any] = {}
    handles = [
        block.self_attn.o_proj.register_forward_hook(
            lambda _, args, out, i=i: caught.__setitem__(i, (args[0][0], out[0]))
        )
        for i, block in enumerate(engine._model.model.layers)
    ]
    unit = torch.from_numpy(weight / np.linalg.norm(weight))
    for prompt, answer in zip(prompts, answers, strict=True):
        assert isinstance(answer, HeadContributions)
        assert answer.values.shape == (30, 9)
        ids, _, n_prompt = plain(engine, prompt, RESPONSE)
        at = places_by_hand(engine, ids, n_prompt)[2]
        for layer, block in enumerate(engine._model.model.layers):
            into, out = caught[layer]
            whole = float(out[at] @ unit)  # all heads together write what the layer writes
            assert abs(answer.values[layer].sum() - whole) < 1e-4
            head = layer % 9
            one = slice(64 * head, 64 * head + 64)
            with torch.inference_mode():
                written = block.self_attn.o_proj.weight[:, one] @ into[at, one]
            assert abs(answer.values[layer, head] - float(written @ unit)) < 1e-4
    for handle in handles:
        handle.remove()


def test_scaling_every_head_by_1_changes_nothing(box: TransformersWhiteBox) -> None:
    every = [ScaleHead(layer, head, 1.0) for layer in range(30) for head in range(9)]
    (before,), (after,) = states(box, [state_request()]), states(box, [state_request()], *every)
    assert np.array_equal(before, after)


def test_factor_0_is_the_slice_set_to_zero(
    engine: TransformersEngine, box: TransformersWhiteBox
) -> None:
    (scaled,) = states(box, [state_request()], ScaleHead(3, 4, 0.0))
    (before,) = states(box, [state_request()])
    weight = engine._model.model.layers[3].self_attn.o_proj.weight
    saved = weight.detach().clone()
    try:
        with torch.no_grad():
            weight[:, 64 * 4 : 64 * 5] = 0
        (zeroed,) = states(box, [state_request()])
    finally:
        with torch.no_grad():
            weight.copy_(saved)
    assert np.abs(scaled - zeroed).max() < 1e-4
    assert np.abs(scaled - before).max() > 1e-2
    (again,) = states(box, [state_request()])  # nothing is left behind
    assert np.array_equal(again, before)


@pytest.mark.parametrize("layer", LAYERS)
def test_an_added_direction_moves_its_state_by_itself(
    box: TransformersWhiteBox, layer: int
) -> None:
    vector = np.random.default_rng(3).normal(size=box.width).astype(np.float32)
    (before,) = states(box, [state_request()])
    (after,) = states(box, [state_request()], AddDirection(layer, vector, 2.0))
    row = LAYERS.index(layer)
    assert np.abs(after[row] - before[row] - 2.0 * vector).max() < 1e-4
    assert np.array_equal(after[:row], before[:row])
    late = AddDirection(layer, vector, 2.0, Where.FROM_PROMPT_END)
    (after,) = states(box, [state_request()], late)
    assert np.array_equal(after[row, 0], before[row, 0])  # the instruction's end comes earlier
    assert np.abs(after[row, 1:] - before[row, 1:] - 2.0 * vector).max() < 1e-4


def test_generation_under_an_intervention_and_after_it(box: TransformersWhiteBox) -> None:
    asked = [GenerationRequest("g", chat("Name a fruit."), 1, Sampling(0.0, max_tokens=8), 0)]

    def text(*changes: Any) -> str:
        (answer,) = asyncio.run(box.generate(asked, changes))
        assert isinstance(answer, Generation)
        return answer.samples[0].text

    before = text()
    assert text(ScaleHead(5, 1, 1.0)) == before
    assert text(*(ScaleHead(layer, head, 0.0) for layer in range(9) for head in range(9))) != before
    vector = 50 * np.ones(box.width, np.float32)
    assert text(AddDirection(10, vector, where=Where.FROM_PROMPT_END)) != before
    assert text() == before


def test_log_probabilities_of_a_text_are_those_of_a_plain_pass(
    engine: TransformersEngine, box: TransformersWhiteBox
) -> None:
    text = "The river ran past the mill and on to the sea. " * 40
    whole, one, none = asyncio.run(box.logprobs([text, "word " * 9000, ""]))
    assert isinstance(whole, TextLogprob)
    assert isinstance(one, Failure)
    assert one.kind is FailureKind.OVERLONG
    assert isinstance(none, Failure)
    ids = torch.tensor(engine._tokenizer(text)["input_ids"])
    with torch.inference_mode():
        logp = torch.log_softmax(engine._model(ids[None]).logits[0].double(), -1)
    expected = float(logp[:-1].gather(1, ids[1:, None]).sum())
    assert whole.n_tokens == len(ids) - 1
    assert whole.logprob_sum == pytest.approx(expected, rel=1e-4)
    (worse,) = asyncio.run(box.logprobs([text], [ScaleHead(0, h, 0.0) for h in range(9)]))
    assert isinstance(worse, TextLogprob)
    assert worse.perplexity > whole.perplexity


def test_a_stored_response_is_read_as_it_was_generated(box: TransformersWhiteBox) -> None:
    stored = StoredResponse("This is about a fruit. I can say one.", "A pear.")
    (raw,), (rebuilt,) = (
        states(box, [state_request()]),
        states(box, [state_request("Name a fruit.", stored)]),
    )
    assert np.array_equal(raw, rebuilt)


def test_what_has_no_trace_says_why(box: TransformersWhiteBox) -> None:
    direction = Direction(30, np.ones(box.width, np.float32))
    responses = ["A pear.", "<think>\nI am cut", "  ", "<think>\n\n</think>\n\nA pear.", RESPONSE]
    answers = asyncio.run(
        box.project([ProjectionRequest("p", chat("Fruit?"), r, (direction,)) for r in responses])
    )
    assert [a.kind if isinstance(a, Failure) else None for a in answers] == [
        FailureKind.NO_THOUGHT,
        FailureKind.THOUGHT_CUT,
        FailureKind.EMPTY,
        FailureKind.NO_THOUGHT,
        None,
    ]
    assert asyncio.run(box.project([])) == []


def test_what_is_of_another_model_is_one_line(box: TransformersWhiteBox) -> None:
    small, fitting = np.ones(8, np.float32), np.ones(box.width, np.float32)
    asked = ProjectionRequest("p", chat("Fruit?"), RESPONSE, (Direction(1, small),))
    with pytest.raises(ConfigError, match="width 576"):
        asyncio.run(box.project([asked]))
    with pytest.raises(ConfigError, match="0 to 30"):
        asyncio.run(box.states([state_request()], [AddDirection(31, fitting)]))
    with pytest.raises(ConfigError, match="head 9"):
        asyncio.run(box.states([state_request()], [ScaleHead(0, 9, 0.0)]))
    with pytest.raises(ConfigError, match="length 0"):
        asyncio.run(box.heads([HeadsRequest("h", chat("Hi"), np.zeros(box.width, np.float32))]))


def test_a_pool_has_the_face_of_one_white_box(engine: TransformersEngine) -> None:
    """Two workers' replies come in order; the pool's rules are tested elsewhere."""
    box = TransformersWhiteBox(engine)

    class OnePool:
        async def start(self) -> Any:
            return WhiteBoxWorker(box).description

        async def run(self, looks: list[Look]) -> list[Any]:
            return await WhiteBoxWorker(box).run(pickle.loads(pickle.dumps(looks)))

    async def both() -> Any:
        pooled = await PooledWhiteBox.started(OnePool())  # type: ignore[arg-type]
        assert (pooled.n_layers, pooled.n_heads, pooled.width) == (30, 9, 576)
        asked = [state_request("Hi"), state_request("  "), state_request()]
        off = [ScaleHead(3, 4, 0.0)]
        return await pooled.states(asked, off), await box.states(asked, off)

    theirs, ours = asyncio.run(both())
    assert theirs[1] == ours[1]
    for i in (0, 2):
        assert np.array_equal(theirs[i].values, ours[i].values)


@pytest.mark.parametrize("name", ["vllm", "openai"])
def test_an_engine_without_hidden_states_is_refused_before_it_is_loaded(name: str) -> None:
    settings = EngineConfig(engine=name, model="some/model")
    with pytest.raises(ConfigError, match=r"target.engine: .*transformers"):
        evo.looking.white_box(settings)
    with pytest.raises(ConfigError, match=r"target.engine: .*transformers"):
        evo.looking.white_box_pool(settings, threads=1, cpus=1)
    with pytest.raises(ConfigError, match=r"target.engine: .*"):
        looking.over(FakeEngine())


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "opt", "phi", "qwen3", "gemma2", "falcon"])
def test_decoders_of_other_families_have_their_parts_found(kind: str) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"vocab_size": 99, "intermediate_size": 32, "ffn_dim": 32, "word_embed_proj_dim": 32}
    sizes |= {"num_key_value_heads": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if kind in ("qwen3", "gemma2"):  # the others reckon it themselves
        sizes["head_dim"] = 8
    config = AutoConfig.for_model(kind, **sizes)
    model = AutoModelForCausalLM.from_config(config).eval()
    parts = decoder.find(model, kind)
    ids = torch.tensor([[5, 6, 7]])
    caught: list[Any] = []
    for block in parts.blocks:
        on_input(block, caught.append)
    with torch.inference_mode():
        hidden = parts.base(input_ids=ids, output_hidden_states=True).hidden_states
    for ours, theirs in zip(caught, hidden[:-1], strict=True):
        assert torch.equal(ours, theirs)
    assert {tuple(decoder.weight(p).shape) for p in parts.projections} == {(32, 32)}


def test_a_model_without_attention_blocks_is_one_line() -> None:
    config = AutoConfig.for_model("mamba", hidden_size=16, num_hidden_layers=2, vocab_size=99)
    with pytest.raises(ConfigError, match=r"lacks one attention output .* in block 0"):
        decoder.find(AutoModelForCausalLM.from_config(config), "mamba")
