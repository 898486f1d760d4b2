"""A scripted engine: exact texts and log-probabilities, failing rows, sudden death. No model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from workers.interface import (
    OPENING_TOKENS,
    Ability,
    EngineDescription,
    EngineDied,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    Opening,
    Sample,
)

REFUSAL = "I'm sorry, but I can't help with that."
ANSWER = "Sure. Open the settings, choose the second entry and press save."


def half_refusing(request: GenerationRequest, index: int) -> str:
    """Refuses every other sample; prompts with 'always' or 'never' do as they say."""
    prompt = request.messages[-1].content
    if "always" in prompt:
        return REFUSAL
    return ANSWER if "never" in prompt or index % 2 else REFUSAL


@dataclass
class FakeEngine:
    """`Engine` that answers by a script. Prompts that hold 'overlong' fail; after `dies_after` calls
    it is dead."""

    script: Callable[[GenerationRequest, int], str] = half_refusing
    dies_after: int | None = None
    logprobs: bool = True
    usd: float = 0.0  # for each answer
    calls: list[list[GenerationRequest]] = field(default_factory=list)

    @property
    def description(self) -> EngineDescription:
        abilities = (
            frozenset({Ability.LOGPROBS, Ability.OPENINGS}) if self.logprobs else frozenset()
        )
        return EngineDescription(
            "fake", "fake-model", "1", "t", "float64", "none", 1000, abilities=abilities
        )

    async def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        if self.dies_after is not None and len(self.calls) >= self.dies_after:
            raise EngineDied("the fake engine is dead")
        self.calls.append(list(requests))
        return [self._one(r) for r in requests]

    def _one(self, request: GenerationRequest) -> Generation | Failure:
        if "overlong" in request.messages[-1].content:
            return Failure(FailureKind.OVERLONG, f"{request.key}: too long")
        samples = []
        for index in range(request.first_index, request.first_index + request.n_samples):
            text = self.script(request, index)
            n = max(1, len(text.split()))
            logprob = -0.5 * n if self.logprobs else None
            samples.append(Sample(index, text, n, "stop", logprob, logprob))
        return Generation(tuple(samples), 7, self.usd)

    async def open(self, requests: Sequence[GenerationRequest]) -> list[Opening | Failure]:
        """First words of the script's samples 0 to 9, as likely as they are frequent there."""
        if self.dies_after is not None and len(self.calls) >= self.dies_after:
            raise EngineDied("the fake engine is dead")
        return [self._opening(r) for r in requests]

    def _opening(self, request: GenerationRequest) -> Opening | Failure:
        if "overlong" in request.messages[-1].content:
            return Failure(FailureKind.OVERLONG, f"{request.key}: too long")
        words = Counter((self.script(request, i).split() or [""])[0] for i in range(10))
        likeliest = words.most_common(OPENING_TOKENS)
        return Opening(
            tuple(word for word, _ in likeliest),
            tuple(math.log(n / 10) for _, n in likeliest),
            7,
            self.usd,
        )

    async def close(self) -> None:
        return None
