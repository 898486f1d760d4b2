"""A white box that is read off the text: quick, exact, and of no use but for tests.

It refuses a prompt that holds "bomb" or "please!", thinks "refuse" of one that holds "bomb", and its one
telling component is component 0 of layer 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workers.interface import (
    EngineDescription,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    HeadContributions,
    HeadsRequest,
    Intervention,
    Projection,
    ProjectionRequest,
    Sample,
    StateRequest,
    States,
    StoredResponse,
    TextLogprob,
)

REFUSAL, ANSWER = "I'm sorry, I can't help with that.", "Sure: begin with a list."


class FakeWhiteBox:
    n_layers, n_heads, width = 3, 2, 4

    def __init__(self, revision: str = "rev1") -> None:
        self.description = EngineDescription(
            "transformers", "tiny-model", revision, "tpl", "float32", "cpu", 100
        )
        self.projected = 0
        self.asked = 0

    async def generate(
        self, requests: Sequence[GenerationRequest], interventions: Sequence[Intervention] = ()
    ) -> list[Generation | Failure]:
        self.asked += len(requests)
        return [self._generation(r, bool(interventions)) for r in requests]

    def _generation(self, request: GenerationRequest, changed: bool) -> Generation | Failure:
        prompt = request.messages[-1].content
        if "overlong" in prompt:
            return Failure(FailureKind.OVERLONG, "too long")
        refuses = ("bomb" in prompt and "anyway" not in prompt) or "please!" in prompt or changed
        thought = "I must refuse this ." if "bomb" in prompt else "This is fine to do ."
        text = REFUSAL if refuses else ANSWER
        return Generation((Sample(0, text, 9, "stop", -1.0, -1.0, thought),), 5)

    async def states(
        self, requests: Sequence[StateRequest], interventions: Sequence[Intervention] = ()
    ) -> list[States | Failure]:
        made: list[States | Failure] = []
        for n, request in enumerate(requests):
            said = request.response
            assert isinstance(said, StoredResponse)
            if said.reasoning is None:
                made.append(Failure(FailureKind.NO_THOUGHT, "no thought"))
                continue
            rng = np.random.default_rng(n)
            values = rng.normal(size=(len(request.layers), 1, self.width)).astype(np.float32)
            for place, layer in enumerate(request.layers):
                if layer == 2:
                    values[place, 0, 0] = 3.0 if said.text == REFUSAL else -3.0
            made.append(States(values, 9))
        return made

    async def project(
        self, requests: Sequence[ProjectionRequest], interventions: Sequence[Intervention] = ()
    ) -> list[Projection | Failure]:
        self.projected += len(requests)
        return [self._projection(r) for r in requests]

    def _projection(self, request: ProjectionRequest) -> Projection | Failure:
        said = request.response
        assert isinstance(said, StoredResponse)
        if said.reasoning is None:
            return Failure(FailureKind.NO_THOUGHT, "no thought")
        if not said.text:
            return Failure(FailureKind.THOUGHT_CUT, "the thought was cut by the token limit")
        words = said.reasoning.split()
        level = 4.0 if "refuse" in said.reasoning else -4.0
        end = 4.0 if said.text == REFUSAL else -4.0
        values = np.array([[level] * len(words) + [end, end]], dtype=np.float32)
        return Projection(values, (*words, "</think>", "\n\n"), len(words), 30)

    async def heads(
        self, requests: Sequence[HeadsRequest], interventions: Sequence[Intervention] = ()
    ) -> list[HeadContributions | Failure]:
        values = np.array([[0.1, -2.0], [0.0, 1.0], [0.5, -0.5]], dtype=np.float32)
        return [HeadContributions(values, 9) for _ in requests]

    async def logprobs(
        self, texts: Sequence[str], interventions: Sequence[Intervention] = ()
    ) -> list[TextLogprob | Failure]:
        return [TextLogprob(-2.0 * len(t.split()), len(t.split())) for t in texts]

    async def close(self) -> None:
        pass
