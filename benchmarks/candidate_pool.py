"""A pool of candidates with all their samples, out of a SQLite store: what racing and screening are tried on.

`make` fills a store with children of a random search, of a steady-state search or of both, that took
K = 10 samples of every prompt; random rewrites of the seeds are what a screen meets before anything has
been learned, a search's own are half over-refusals. `read` takes any store whose runs did (`benchmarks.search_efficiency --keep-stores`, too).
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import db
from benchmarks import arms
from benchmarks.in_process import load, search
from db import queries
from evo.config import ScreeningConfig
from evo.types import Outcome
from fitness.elbo import elbo
from fitness.types import JudgedSample, Score
from workers.interface import Failure

K = 10
MIX = ("random", "steady-state-racing")


@dataclass(frozen=True, slots=True)
class Pooled:
    """A candidate, in the order in which a search met it. `samples` are K, `seed` tells seeds."""

    prompt_id: str
    text: str
    vector: NDArray[np.float32]
    samples: tuple[JudgedSample, ...]
    seed: bool

    def score(self, n: int) -> Score:
        """Its score by the first n samples, as the evaluator makes it."""
        used = self.samples[:n]
        scored = elbo(
            [judged.verdicts[0].p_refusal for judged in used],
            [judged.sample.logprob_sum for judged in used],
            [judged.sample.n_tokens for judged in used],
            sampling_logprob_sums=[judged.sample.sampling_logprob_sum for judged in used],
        )
        if isinstance(scored, Failure):
            raise ValueError(f"{self.prompt_id}: {scored.message}")
        return scored


def read(file: Path) -> list[Pooled]:
    """Every prompt of the store that has K samples, each once, run after run in order of completion.

    Raises:
        SystemExit: it has none.
    """
    pooled: dict[str, Pooled] = {}
    with contextlib.closing(db.open(f"sqlite:///{file}", read_only=True)) as store:
        for run in queries.runs(store):
            for outcome in store.replay(run["run"], samples=True):
                one = _pooled(outcome)
                if one is not None:
                    pooled.setdefault(one.prompt_id, one)
    if not pooled:
        raise SystemExit(f"{file}: no prompt with {K} samples; make a pool with --make-pool")
    return list(pooled.values())


def _pooled(outcome: Outcome) -> Pooled | None:
    candidate, evaluation, vector = outcome.candidate, outcome.evaluation, outcome.embedding
    if candidate is None or evaluation is None or vector is None or len(evaluation.samples) < K:
        return None
    samples = evaluation.samples[:K]
    if any(not s.verdicts or s.verdicts[0].p_refusal is None for s in samples):
        return None
    return Pooled(
        candidate.prompt_id, candidate.text, vector, samples, candidate.strategy.value == "seed"
    )


async def make(
    file: Path, size: int, of: Sequence[str] = MIX, threads: int = 1, seed: int = 0
) -> None:
    """Fill the store at `file` with about `size` candidates, seeds included, an even share by each arm
    of `of`. K = 10 of each: 500 take about a quarter of an hour on two cores."""
    file.parent.mkdir(parents=True, exist_ok=True)
    parts = None
    for arm in of:
        raw = arms.config(
            arm, seed, {"evaluations": size // len(of)}, seed_prompts=min(60, size // 8)
        )
        settings = raw.search.model_copy(
            update={
                "samples": raw.search.samples.model_copy(update={"first": K, "max": K}),
                "batch": 24,
                "racing": False,
                "settle": 0.0,
                # What a screen would turn away belongs to the pool.
                "screening": ScreeningConfig(predictor=False, opening=False),
            }
        )
        config = raw.model_copy(update={"search": settings})
        parts = parts or load(config, threads)
        await search(parts, config, file)


def options(parser: argparse.ArgumentParser) -> None:
    """The arguments of programs that work on a pool."""
    parser.add_argument("store", type=Path, help="SQLite file of the pool")
    parser.add_argument("--make-pool", action="store_true", help="make it first")
    parser.add_argument("--of", nargs="+", default=MIX, choices=MIX, help="whose candidates")
    parser.add_argument("--threads", type=int, default=1, help="of the models")
    parser.add_argument("--size", type=int, default=500, help="candidates of a pool, made or read")


def sized(pool: Sequence[Pooled], size: int) -> list[Pooled]:
    """The first `size` candidates that are no seeds, with the seeds before them."""
    children = [one for one in pool if not one.seed][:size]
    return [one for one in pool if one.seed] + children
