"""A search in this process: the real evaluator, gate, embedder, loop and store, without Ray.

One load of the models serves many runs. What a target was asked before, with the same random numbers,
is not decoded again: `RememberingEngine` hands out the same samples, and every run pays for them in its
own count. It makes a benchmark quicker and changes none of its figures but seconds.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import db
from evo import api, wiring
from evo import seeds as seed_sets
from evo.asktell import Search
from evo.config import Config
from evo.run import Loop, Progress
from evo.scribe import Proposal
from evo.types import Outcome
from fitness.evaluate import Evaluator
from fitness.types import Gate, Target
from workers.interface import (
    Embedder,
    EngineDescription,
    Failure,
    Generation,
    GenerationRequest,
    Opening,
    OpeningEngine,
    Sample,
    Sampling,
)

_Question = tuple[tuple[object, ...], Sampling, int]  # messages, decoding, seed


@dataclass(slots=True)
class RememberingEngine:
    """An engine that decodes each (chat, decoding, seed, index) once."""

    inner: OpeningEngine
    decoded_tokens: int = 0  # by the model, for all runs together
    _samples: dict[_Question, dict[int, Sample]] = field(default_factory=dict)
    _prompt_tokens: dict[tuple[object, ...], int] = field(default_factory=dict)
    _openings: dict[tuple[object, ...], Opening] = field(default_factory=dict)

    @property
    def description(self) -> EngineDescription:
        return self.inner.description

    async def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        asked: list[GenerationRequest] = []
        for request in requests:
            known = self._samples.setdefault(_question(request), {})
            missing = [i for i in _indices(request) if i not in known]
            if missing:  # samples are asked for from the first on, so what is missing is a tail
                n = request.first_index + request.n_samples - missing[0]
                asked.append(_tail(request, missing[0], n))
        failed: dict[_Question, Failure] = {}
        for request, answer in zip(
            asked, await self.inner.generate(asked) if asked else [], strict=True
        ):
            if isinstance(answer, Failure):
                failed[_question(request)] = answer
                continue
            self._prompt_tokens[request.messages] = answer.n_prompt_tokens
            self.decoded_tokens += sum(s.n_tokens for s in answer.samples)
            self._samples[_question(request)].update({s.index: s for s in answer.samples})
        return [failed.get(_question(r)) or self._generation(r) for r in requests]

    async def open(self, requests: Sequence[GenerationRequest]) -> list[Opening | Failure]:
        asked = [r for r in requests if r.messages not in self._openings]
        answers = await self.inner.open(asked) if asked else []
        failed: dict[tuple[object, ...], Failure] = {}
        for request, answer in zip(asked, answers, strict=True):
            if isinstance(answer, Failure):
                failed[request.messages] = answer
            else:
                self._openings[request.messages] = answer
        return [failed.get(r.messages) or self._openings[r.messages] for r in requests]

    async def close(self) -> None:
        await self.inner.close()

    def forget(self) -> None:
        """Let the samples go (between seeds: no other arm will ask for them)."""
        self._samples.clear()

    def _generation(self, request: GenerationRequest) -> Generation:
        known = self._samples[_question(request)]
        samples = tuple(known[i] for i in _indices(request))
        return Generation(samples, self._prompt_tokens[request.messages])


def _question(request: GenerationRequest) -> _Question:
    return request.messages, request.sampling, request.seed


def _indices(request: GenerationRequest) -> range:
    return range(request.first_index, request.first_index + request.n_samples)


def _tail(request: GenerationRequest, first_index: int, n: int) -> GenerationRequest:
    return GenerationRequest(
        request.key, request.messages, n, request.sampling, request.seed, first_index
    )


@dataclass(frozen=True, slots=True)
class Parts:
    """What all runs of one target share."""

    evaluator: Evaluator
    engine: RememberingEngine
    embedder: Embedder
    gates: Sequence[Gate]


def load(config: Config, threads: int) -> Parts:
    """The models of `config`, loaded once."""
    evaluator = wiring._evaluator(config.model_dump(mode="json"), threads)
    engine = RememberingEngine(evaluator.engine)  # type: ignore[arg-type]
    evaluator.engine = engine
    embedder = wiring.embedder(config)
    return Parts(evaluator, engine, embedder, wiring.gates(config, embedder, {}))


@dataclass(frozen=True, slots=True)
class Told:
    """An outcome, and the target tokens that the run had paid when it was recorded."""

    outcome: Outcome
    tokens: int


@dataclass(frozen=True, slots=True)
class Ended:
    told: Sequence[Told]
    progress: Progress
    reason: str
    wall_s: float
    cpu_s: float


class _NotingRecorder(api._RunRecorder):
    """The run's recorder, which notes beside what the run had paid."""

    progress: Progress
    told: list[Told]

    def write(self, proposals: Sequence[Proposal], outcomes: Sequence[Outcome]) -> None:
        super().write(proposals, outcomes)
        paid = self.progress.spent.target_tokens
        self.told.extend(Told(outcome, paid) for outcome in outcomes)


async def search(parts: Parts, config: Config, store_file: Path) -> Ended:
    """One run into a SQLite store at `store_file` (made if need be). One batch at a time, so that the
    same config gives the same run."""
    seeds = seed_sets.load(config.seeds, config.seed)
    began, cpu = time.monotonic(), time.process_time()
    with contextlib.closing(db.open(f"sqlite:///{store_file}")) as store:
        raw = config.model_dump(mode="json")
        claim = store.begin_run(config.name, raw, config.seed, version("evocliff"))
        description = parts.engine.description
        target = Target.of(
            description, config.target.system_text, wiring.sampling(config.target.sampling)
        )
        target_id = store.register_target(claim.run_id, target, description)
        store.register_seeds(seeds)
        recorder = _NotingRecorder(store, claim.run_id, target_id, parts.embedder.name)
        loop = Loop(
            search=Search(config, seeds),
            proposers=wiring.proposers(config, seeds, None),
            gates=parts.gates,
            embedder=parts.embedder,
            evaluator=parts.evaluator,
            recorder=recorder,
            clock=time.monotonic,
            in_flight=1,
        )
        recorder.progress, recorder.told = loop.progress, []
        reason = await loop.run()
        store.end_run(claim.run_id, "finished", reason, wall_s=loop.progress.spent.wall_s)
    return Ended(
        recorder.told,
        loop.progress,
        reason,
        time.monotonic() - began,
        time.process_time() - cpu,
    )
