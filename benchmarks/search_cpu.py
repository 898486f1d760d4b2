"""What does the search itself cost for one candidate, at an archive of 1,000, 10,000 and 100,000?

    python benchmarks/search_cpu.py [--sizes 1000 10000 100000] [--candidates 480]

CPU time of one process with one BLAS thread: the novelty gate (batches of 24), `choose` and `hear` of
the default algorithm, and the predictor's `predict` (batches of 24) and `learn`. Vectors are synthetic:
unit, 384 dimensions, clustered, with axes of falling weight; ten topics; no model, no store. The
archive is filled first, without competition, and a fifth as many niches of over-refusals; while it is measured every second candidate is an over-refusal. The
predictor's refits happen seldom: their cost at full memory is measured once and spread over the
evaluations until the next (half of what is known).

The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from evo.algorithms.steady_state import SteadyState
from evo.archive import Member
from evo.config import SearchConfig
from evo.novelty import NoveltyMemory
from evo.types import MUTATIONS, Assignment, Candidate, Outcome
from fitness.predictor import RefusalPredictor, growth
from fitness.types import Evaluation, Score

DIM, BATCH, TOPICS, CLUSTERS, SPREAD = 384, 24, 10, 1000, 0.7


def vectors(n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(n, DIM) unit rows around CLUSTERS centres."""
    fall = np.arange(1, DIM + 1) ** -0.5
    centres = unit(np.random.default_rng(0).normal(size=(CLUSTERS, DIM)) * fall)
    around = unit(rng.normal(size=(n, DIM)) * fall)
    return unit(centres[rng.integers(CLUSTERS, size=n)] + SPREAD * around).astype(np.float32)


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def outcome(
    index: int, vector: NDArray[np.float32], fitness: float, parents: tuple[Candidate, ...] = ()
) -> Outcome:
    name, strategy = f"{index:032x}", MUTATIONS[index % len(MUTATIONS)]
    topic = parents[0].topic if parents else f"topic {index % TOPICS}"
    candidate = Candidate(name, name, "lexical", strategy, (), topic, name)
    score = Score(fitness, fitness, None, None, float(np.exp(fitness)), 0.0, 1.0, 4, 0)
    evaluation = Evaluation(name, (), score, 0, 0, 0, 0.0)
    assignment = Assignment(index, "lexical", strategy, parents, 0)
    return Outcome(assignment, candidate, evaluation=evaluation, embedding=vector)


def measured(size: int, n_candidates: int) -> dict[str, float]:
    """CPU ms for each candidate, by part."""
    rng = np.random.default_rng(size)
    search = SteadyState(SearchConfig(population=size), ["lexical"], 0)
    memory = NoveltyMemory()
    index = 0
    while len(search.archive) < size:
        for vector in vectors(min(4096, size), rng):
            if len(search.archive) == size:
                break
            heard = outcome(index, vector, -rng.exponential(2.0))
            if heard.evaluation and heard.candidate:  # straight in: asking each takes minutes
                member = Member(heard.candidate, heard.evaluation.score)
                search.archive._see(member, vector)
                nobody = np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.float32)
                search.archive._enter(index, member, vector, *nobody)
            if index % 5 == 0:
                search._niches.open(vector)
            memory.add(vector)
            index += 1
    # A search asks as it grows; the filling has not, and what that left undone is not the candidates'.
    for grown in (memory, search.archive.vectors, search._niches._first):
        grown.nearest(vectors(1, rng), 0.9)
    spent = dict.fromkeys(("gate", "choose", "hear", "predict", "learn"), 0.0)
    predictor = RefusalPredictor()
    RefusalPredictor().learn(vectors(40, rng), list(rng.random(40)))  # imports
    known = vectors(min(size, 6000), rng)
    began = time.process_time()
    predictor.learn(known, list(rng.random(len(known))))
    refit_ms = (time.process_time() - began) * 1e3
    predictor._n = predictor._fitted_on = max(size, len(known))  # so many were seen
    for start in range(0, n_candidates, BATCH):
        fresh = vectors(BATCH, rng)
        choices = []
        began = time.process_time()
        for place in range(BATCH):
            choices.append(search.choose(np.random.default_rng([size, start + place])))
        spent["choose"] += time.process_time() - began
        began = time.process_time()
        memory.nearest(fresh, 0.9)
        for vector in fresh:
            memory.add(vector)
        spent["gate"] += time.process_time() - began
        began = time.process_time()
        predictor.predict(fresh)
        spent["predict"] += time.process_time() - began
        told = [
            outcome(index + i, v, -rng.exponential(1.0), choice.parents if choice else ())
            for i, (v, choice) in enumerate(zip(fresh, choices, strict=True))
        ]
        index += BATCH
        began = time.process_time()
        for place, one in enumerate(told):
            search.hear(one, over_refusal=place % 2 == 0)
        spent["hear"] += time.process_time() - began
    ms = {part: 1e3 * seconds / n_candidates for part, seconds in spent.items()}
    ms["learn"] = refit_ms / ((growth(size) - 1.0) * size)
    return ms | {"refit_once": refit_ms, "all": sum(ms.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--candidates", type=int, default=480)
    asked = parser.parse_args()
    with threadpool_limits(1):
        results = {}
        for size in asked.sizes:
            results[size] = {k: round(v, 3) for k, v in measured(size, asked.candidates).items()}
            print(size, results[size], flush=True)
    print(json.dumps({"ms_per_candidate": results, "required_ms": 2.0}))


if __name__ == "__main__":
    main()
