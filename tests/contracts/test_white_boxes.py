"""What every `WhiteBox` keeps, in this process and as replicas on a real Ray, over the real SmolLM2."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import pytest

import evo.looking
from evo.config import EngineConfig
from workers import cluster
from workers.interface import (
    ConfigError,
    Direction,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    HeadsRequest,
    Message,
    Place,
    ProjectionRequest,
    Sampling,
    ScaleHead,
    StateRequest,
    StoredResponse,
    WhiteBox,
)
from workers.looking import PooledWhiteBox

pytestmark = pytest.mark.slow

SETTINGS = EngineConfig(model="local:smollm2", dtype="float32")
THOUGHT = StoredResponse("This is about a fruit. I can say one.", "A pear.")
PROMPTS = ["Name a fruit.", "Name a river and say where it ends.", "Why?"]
Ask = Callable[[WhiteBox], Awaitable[Any]]


def chat(prompt: str) -> tuple[Message, ...]:
    return (Message("user", prompt),)


def state(prompt: str, layers: tuple[int, ...] = (0, 12, 30)) -> StateRequest:
    places = (Place.INSTRUCTION, Place.POST_INSTRUCTION)
    return StateRequest(prompt, chat(prompt), layers, places)


def projection(prompt: str, response: StoredResponse = THOUGHT) -> ProjectionRequest:
    along = Direction(20, np.ones(576, dtype=np.float32), 0.5)
    return ProjectionRequest(prompt, chat(prompt), response, (along,))


def heads(prompt: str) -> HeadsRequest:
    along = np.ones(576, dtype=np.float32)
    return HeadsRequest(prompt, chat(prompt), along, Place.POST_INSTRUCTION)


class WhiteBoxContract:
    """Subclasses say how a box is asked."""

    def ask(self, question: Ask) -> Any:
        raise AssertionError("the subclass has to say how")

    def test_it_says_what_it_looks_into(self) -> None:
        async def question(box: WhiteBox) -> Any:
            return box.description.engine, box.n_layers, box.n_heads, box.width

        assert self.ask(question) == ("transformers", 30, 9, 576)

    def test_list_in_list_out_same_length_and_order(self) -> None:
        async def question(box: WhiteBox) -> Any:
            together = await box.states([state(p) for p in PROMPTS])
            alone = [(await box.states([state(p)]))[0] for p in PROMPTS]
            return together, alone

        together, alone = self.ask(question)
        for a, b in zip(together, alone, strict=True):
            assert a.values.shape == (3, 2, 576)
            assert np.allclose(a.values, b.values, atol=1e-3)

    def test_nothing_asked_nothing_answered(self) -> None:
        async def question(box: WhiteBox) -> Any:
            return [await box.states([]), await box.project([]), await box.logprobs([])]

        assert self.ask(question) == [[], [], []]

    def test_what_has_no_trace_is_data_and_its_neighbours_go_on(self) -> None:
        async def question(box: WhiteBox) -> Any:
            plain, empty = StoredResponse(None, "A pear."), StoredResponse(None, "")
            asked = [projection(PROMPTS[0], r) for r in (plain, THOUGHT, empty)]
            return await box.project(asked)

        without, seen, empty = self.ask(question)
        assert (without.kind, empty.kind) == (FailureKind.NO_THOUGHT, FailureKind.EMPTY)
        assert not isinstance(seen, Failure)
        assert seen.values.shape[0] == 1
        assert 0 < seen.n_thinking < seen.values.shape[1]

    def test_heads_come_one_value_for_each_layer_and_head(self) -> None:
        async def question(box: WhiteBox) -> Any:
            return await box.heads([heads(p) for p in PROMPTS])

        assert {h.values.shape for h in self.ask(question)} == {(30, 9)}

    def test_an_intervention_changes_its_own_call_alone(self) -> None:
        sampling = Sampling(0.0, max_tokens=8)

        async def question(box: WhiteBox) -> Any:
            out = [ScaleHead(1, head, 0.0) for head in range(9)]
            request = GenerationRequest("g", chat(PROMPTS[0]), 1, sampling, 0)
            told = [(await box.generate([request], changes))[0] for changes in ((), tuple(out), ())]
            texts = [await box.logprobs(["The sky is blue."], c) for c in ((), tuple(out), ())]
            return told, [t[0].logprob_sum for t in texts]

        told, logprobs = self.ask(question)
        assert all(isinstance(t, Generation) for t in told)
        assert told[0].samples[0].text == told[2].samples[0].text
        assert logprobs[0] == pytest.approx(logprobs[2], abs=1e-4)
        assert abs(logprobs[0] - logprobs[1]) > 0.01

    def test_a_layer_that_the_model_does_not_have_is_refused(self) -> None:
        async def question(box: WhiteBox) -> Any:
            return await box.states([state(PROMPTS[0], (31,))])

        with pytest.raises(ConfigError, match="31"):
            self.ask(question)


class TestHere(WhiteBoxContract):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _box(cls) -> None:
        cls.box = evo.looking.white_box(SETTINGS)

    def ask(self, question: Ask) -> Any:
        async def scenario() -> Any:
            return await question(type(self).box)

        return asyncio.run(scenario())


class TestReplicas(WhiteBoxContract):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _ray(cls) -> Iterator[None]:
        with cluster.connect("local"):
            yield

    def ask(self, question: Ask) -> Any:
        async def scenario() -> Any:
            pool = evo.looking.white_box_pool(SETTINGS, threads=1, cpus=1.0)
            try:
                return await question(await PooledWhiteBox.started(pool))
            finally:
                await pool.close()

        return asyncio.run(scenario())
