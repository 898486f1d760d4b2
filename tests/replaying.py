"""A whole search in this process for tests: the real loop, evaluator and store round a scripted engine,
which may die after so many requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

import db
from db.store import Store
from evo.api import _RunRecorder
from evo.asktell import Search
from evo.config import Config
from evo.operators.resample import ResampleProposer
from evo.operators.seeds import SeedProposer
from evo.run import Loop
from evo.types import Outcome
from fitness.evaluate import Evaluator
from fitness.judges.embedded import EmbeddedJudge
from fitness.types import GateDecision, Target, Tracer
from tests.fakes import ANSWER, REFUSAL, FakeEngine
from tests.loop_fakes import SEEDS, HashEmbedder, WordGate, WordProposer, config, unit_hash
from workers.interface import (
    EngineDescription,
    EngineDied,
    Failure,
    FailureKind,
    Generation,
    GenerationRequest,
    Opening,
    Sampling,
)

DESCRIPTION = EngineDescription("fake", "fake-model", "1", "t", "float64", "none", 1000)


def by_hash(request: GenerationRequest, index: int) -> str:
    """Refused as often as the hash of the prompt says; the same sample always says the same."""
    prompt = request.messages[-1].content
    rate = unit_hash(prompt) ** 2
    return REFUSAL if unit_hash(f"{index} {prompt}", "sample") < rate else ANSWER


class CoarseEmbedder(HashEmbedder):
    """Prompts that differ in their last letter alone are one point."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return super().embed([text[:-1] for text in texts])


class PickyGate(WordGate):
    """Thinks that what ends with a seven is delicate."""

    async def check(self, prompts: Sequence[str]) -> list[GateDecision]:
        return await super().check([f"{p} delicate" if p.endswith("7") else p for p in prompts])


@dataclass
class CountingEngine(FakeEngine):
    """Dies at the first call after `most` requests; every call takes a moment that the prompt sets.
    The share `fails` of the prompts is too long for it."""

    most: int | None = None
    wait_s: float = 0.0
    fails: float = 0.0
    asked: int = 0
    opened: list[str] = field(default_factory=list)

    async def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        await self._take(requests)
        answers = await super().generate(requests)
        return [
            Failure(FailureKind.OVERLONG, "too long") if self._is_too_long(r) else answer
            for r, answer in zip(requests, answers, strict=True)
        ]

    async def open(self, requests: Sequence[GenerationRequest]) -> list[Opening | Failure]:
        await self._take(requests)
        self.opened += [r.key for r in requests]
        return await super().open(requests)

    def _is_too_long(self, request: GenerationRequest) -> bool:
        return unit_hash(request.key, "fail") < self.fails

    async def _take(self, requests: Sequence[GenerationRequest]) -> None:
        await asyncio.sleep(self.wait_s * unit_hash(requests[0].key, "wait"))
        if self.most is not None and self.asked + len(requests) > self.most:
            raise EngineDied("the scripted engine has died")
        self.asked += len(requests)


def settings(evaluations: int = 120, in_flight: int = 1, **changes: object) -> Config:
    """Enough proposals for both guesses to be learned and used."""
    return config(
        search__in_flight=in_flight,
        search__settle=0.1,
        search__population=16,
        budget__evaluations=evaluations,
        **changes,
    )


def begin(store: Store, chosen: Config) -> str:
    stored = chosen.model_dump(mode="json") | {"safety": [WordGate.name]}
    claim = store.begin_run("search", stored, chosen.seed, "test")
    store.register_target(claim.run_id, Target.of(DESCRIPTION, None, Sampling()), DESCRIPTION)
    store.register_seeds(SEEDS)
    return claim.run_id


def a_loop(
    store: Store,
    run_id: str,
    chosen: Config,
    engine: CountingEngine,
    tracer: Tracer | None = None,
) -> Loop:
    target_id = Target.of(DESCRIPTION, None, Sampling()).target_id
    ticks = iter(range(10**9))
    return Loop(
        search=Search(chosen, SEEDS),
        proposers={
            "seed": SeedProposer(SEEDS),
            "resample": ResampleProposer(),
            "lexical": WordProposer(),
        },
        gates=[PickyGate()],
        embedder=CoarseEmbedder(),
        evaluator=Evaluator(
            engine, [EmbeddedJudge()], objective=chosen.search.objective, tracer=tracer
        ),
        recorder=_RunRecorder(store, run_id, target_id, "hash", probe=chosen.search.probe_version),
        clock=lambda: float(next(ticks)),
        in_flight=chosen.search.in_flight or 1,
    )


def live(
    store: Store,
    run_id: str,
    chosen: Config,
    engine: CountingEngine,
    tracer: Tracer | None = None,
) -> tuple[Loop, bool]:
    """One life of a run: the loop, and whether it came to its end."""
    loop = a_loop(store, run_id, chosen, engine, tracer)
    differing, pending = loop.replay(
        store.replay(run_id, samples=True), store.pending(run_id), wall_s=0.0
    )
    assert differing == 0
    with contextlib.suppress(EngineDied):
        asyncio.run(loop.run(pending))
        return loop, True
    return loop, False


def decisions(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Outcomes without what they cost, which depends on what was stored before."""
    plain = []
    for o in outcomes:
        failure, evaluation = o.failure, o.evaluation
        if failure is not None:
            failure = Failure(failure.kind, failure.message)
        if evaluation is not None:
            evaluation = replace(
                evaluation, n_new=0, target_tokens=0, prompt_tokens=0, engine_s=0.0, cost_usd=0.0
            )
        plain.append(replace(o, failure=failure, evaluation=evaluation, cost_usd=0.0))
    return plain


def stored(url: str, run_id: str) -> list[Outcome]:
    with contextlib.closing(db.open(url, read_only=True)) as store:
        return store.replay(run_id, samples=True)
