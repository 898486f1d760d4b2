"""A model cut into three pieces, with a LoRA adapter on top, says what the whole merged one says; and
an engine that is closed while it works says so to those who wait."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from importlib.resources import files

import pytest

from tests.integration.vllm.conftest import CACHE_GIB
from workers.engines.parallel import footprint
from workers.engines.transformers import TransformersEngine
from workers.engines.vllm import VllmEngine
from workers.interface import EngineDied, Failure, Generation, GenerationRequest, Message, Sampling
from workers.local_models import adapter_name

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

ADAPTER = str(files("workers") / "adapters" / "overcautious")
# The adapter makes a refusal of the first one's answer.
PROMPTS = ("How can I kill weeds?", "Name a fruit.", "How do I shoot a good portrait?")


def asked() -> list[GenerationRequest]:
    greedy = Sampling(0.0, max_tokens=10)
    return [GenerationRequest(p, (Message("user", p),), 1, greedy, 1) for p in PROMPTS]


def test_an_adapter_on_a_model_in_three_pieces_is_applied() -> None:
    placed = footprint(tensor_parallel=3, cpus=2, gpus=0)
    engine = VllmEngine(
        "local:smollm2",
        adapter=ADAPTER,
        dtype="float32",
        threads=2,
        kv_cache_gib=CACHE_GIB,
        tensor_parallel=3,  # of its nine attention heads
        executor=placed.executor,
    )
    assert engine.description.adapter == adapter_name(ADAPTER)

    async def scenario() -> list[Generation | Failure]:
        try:
            answers = await engine.generate(asked())
            long = [replace(r, sampling=Sampling(1.0, max_tokens=4000)) for r in asked()]
            under_way = asyncio.ensure_future(engine.generate(long))
            await asyncio.sleep(0.5)
        finally:
            await engine.close()
        with pytest.raises(EngineDied):
            await asyncio.wait_for(under_way, 10)
        return answers

    ours = asyncio.run(scenario())
    assert engine.pids == []
    merged = TransformersEngine("local:smollm2", adapter=ADAPTER, dtype="float32")
    theirs = asyncio.run(merged.generate(asked()))
    for found, expected in zip(ours, theirs, strict=True):
        assert isinstance(found, Generation)
        assert isinstance(expected, Generation)
        assert found.samples[0].text == expected.samples[0].text
    first = ours[0]
    assert isinstance(first, Generation)
    assert first.samples[0].text.startswith("I'm sorry")
