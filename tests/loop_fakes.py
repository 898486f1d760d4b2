"""Hand-written stand-ins for the loop's surroundings: quick, exact, and able to fail in every way."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evo.asktell import Search
from evo.config import Config, validate
from evo.operators.resample import ResampleProposer
from evo.operators.seeds import SeedProposer
from evo.run import Loop, Proposal
from evo.types import Assignment, Draft, Outcome, Seed
from fitness.types import (
    Evaluation,
    EvaluationRequest,
    GateDecision,
    JudgedSample,
    Safety,
    Score,
    Verdict,
)
from workers.interface import EngineDied, Failure, FailureKind, Opening, Sample


def unit_hash(text: str, salt: str = "") -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256((salt + text).encode()).digest()[:6], "big") / 2**48


class HashEmbedder:
    """Unit vectors from the hash of a text: different texts are nearly orthogonal."""

    name = "hash"
    dim = 32

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = []
        for text in texts:
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
            row = np.random.default_rng(seed).normal(size=self.dim)
            rows.append(row / np.linalg.norm(row))
        return np.array(rows, dtype=np.float32).reshape(len(texts), self.dim)


class WordProposer:
    """Appends a word to the first parent; every eleventh draft fails, some repeat."""

    name = "lexical"

    async def propose(self, assignments: Sequence[Assignment]) -> list[Draft | Failure]:
        drafts: list[Draft | Failure] = []
        for a in assignments:
            if a.seed % 11 == 0:
                drafts.append(Failure(FailureKind.UNCHANGED, "nothing to change"))
            else:
                text = " ".join(p.text for p in a.parents)[-60:]
                drafts.append(Draft(f"{text} {a.strategy} {a.seed % 50}"))
        return drafts

    async def close(self) -> None:
        return None


class DeadProposer:
    """Never produces anything."""

    name = "lexical"

    async def propose(self, assignments: Sequence[Assignment]) -> list[Draft | Failure]:
        return [Failure(FailureKind.UNPARSED, "no JSON") for _ in assignments]

    async def close(self) -> None:
        return None


class WordGate:
    """Harmful where the text holds the word 'forbidden', controversial where it holds 'delicate'."""

    name, version = "word", "1"

    async def check(self, prompts: Sequence[str]) -> list[GateDecision]:
        def outcome(text: str) -> Safety:
            if "forbidden" in text:
                return Safety.HARMFUL
            return Safety.CONTROVERSIAL if "delicate" in text else Safety.HARMLESS

        return [GateDecision(self.name, self.version, outcome(p), None) for p in prompts]


@dataclass
class FakeEvaluator:
    """Fitness from the hash of the prompt; counts what it was asked; fails and dies as told."""

    fails: float = 0.0
    dies_after: int | None = None
    delay_s: float = 0.0
    usd: float = 0.0  # for each evaluation
    salt: str = ""  # two targets that differ in it disagree
    asked: list[str] = field(default_factory=list)

    async def run(self, requests: Sequence[EvaluationRequest]) -> list[Evaluation | Failure]:
        await asyncio.sleep(
            self.delay_s * unit_hash(requests[0].prompt, "delay") if requests else 0
        )
        if self.dies_after is not None and len(self.asked) + len(requests) > self.dies_after:
            raise EngineDied("the engine has died")
        self.asked.extend(r.prompt for r in requests)
        return [self._one(r) for r in requests]

    def _one(self, request: EvaluationRequest) -> Evaluation | Failure:
        if unit_hash(request.prompt, "fail") < self.fails:
            return Failure(FailureKind.OVERLONG, "too long")
        rate = unit_hash(request.prompt, self.salt)
        samples = list(request.known)
        n_new = max(0, request.samples_first - len(samples))
        for index in range(len(samples), len(samples) + n_new):
            sample = Sample(index, f"text {index}", 5, "stop", -7.5, -7.0)
            samples.append(JudgedSample(sample, (Verdict.scored("fake", "1", rate),)))
        fitness = float(np.log(max(rate, 1e-4))) - 0.045
        score = Score(
            fitness,
            fitness + 0.045,
            -1.5,
            1.4,
            rate,
            0.0,
            1.0,
            n_samples=len(samples),
            n_unscored=0,
        )
        return Evaluation(
            request.prompt_id, tuple(samples), score, n_new, 5 * n_new, 12, 0.001, self.usd
        )

    async def close(self) -> None:
        return None


@dataclass
class MemoryRecorder:
    """Keeps everything in lists, and notes the order of calls."""

    pending: dict[int, Proposal] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def write(self, proposals: Sequence[Proposal], outcomes: Sequence[Outcome]) -> None:
        self.calls += ["propose"] * bool(proposals) + ["record"] * bool(outcomes)
        for assignment, candidate in proposals:
            self.pending[assignment.index] = (assignment, candidate)
        for outcome in outcomes:
            del self.pending[outcome.assignment.index]
            self.outcomes.append(outcome)

    def known_samples(self, prompt_ids: Sequence[str]) -> dict[str, tuple[JudgedSample, ...]]:
        return {}

    def known_openings(self, prompt_ids: Sequence[str]) -> dict[str, Opening]:
        return {}


SEEDS = [Seed(f"seed number {n}", "test", "CC0-1.0", f"topic {n % 3}") for n in range(6)]


def config(**changes: object) -> Config:
    """A small run; `changes` are `section__key=value`."""
    raw: dict[str, dict[str, object]] = {
        "seeds": {"dataset": "xstest-safe"},
        "target": {"model": "local:smollm2"},
        "search": {"batch": 5, "in_flight": 1, "population": 8, "settle": 0.0},
        "budget": {"evaluations": 60},
    }
    plain: dict[str, object] = dict(raw)
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            raw[section][name] = value
        else:
            plain[section] = value
    return validate(plain)


def loop(
    config: Config,
    evaluator: FakeEvaluator | None = None,
    recorder: MemoryRecorder | None = None,
    proposer: WordProposer | DeadProposer | None = None,
    seeds: Sequence[Seed] = SEEDS,
) -> Loop:
    ticks = iter(range(10**9))
    return Loop(
        search=Search(config, seeds),
        proposers={
            "seed": SeedProposer(seeds),
            "resample": ResampleProposer(),
            "lexical": proposer or WordProposer(),
        },
        gates=[WordGate()],
        embedder=HashEmbedder(),
        evaluator=evaluator or FakeEvaluator(),
        recorder=recorder if recorder is not None else MemoryRecorder(),
        clock=lambda: float(next(ticks)),
        in_flight=config.search.in_flight or 2,
    )
