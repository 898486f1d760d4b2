"""Does racing rank as ten samples of every prompt do, for fewer of them?

    python -m benchmarks.racing out/pool.db [--make-pool] [--size 500] [--orders 20]

A pool of candidates with K = 10 samples each is raced sample by sample (`fitness.racing.wanted`), in
several random orders, with the bar of an archive that fills up; for a share of the candidates the fittest
whose samples are not complete gets another round, as a search does with `settle: 0.1` and `0.3`; and
without an order of prompts, over several orders of each prompt's samples: the first of every prompt,
then rounds for the fittest until the 50, 60 or 75 fittest are complete, and the same with all the samples
that are left at once. The 50 are compared in each, and more are completed because what was unlucky at
first is just behind. Compared with all
ten samples: Kendall's tau (b) over the 50 fittest by ten, how many of them are among racing's 50, how
many prompts are put on the other side of the threshold, and the share of samples taken. Medians over
the orders; `--threshold`, `--first` as in the config. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks import candidate_pool
from benchmarks.candidate_pool import K, Pooled
from fitness.elbo import terms
from fitness.racing import next_round, wanted

TOP = 50
SETTLED = (50, 60, 75)  # fittest that are complete in the end


@dataclass(frozen=True, slots=True)
class Raced:
    """One order. `tau`, `kept`: over the TOP fittest by all samples."""

    tau: float
    kept: float
    wrong_side: float
    samples: float


@dataclass(slots=True)
class _Runner:
    """One candidate's samples as they are drawn."""

    p: Sequence[float]
    terms: Sequence[float]
    n: int = 0

    @property
    def fitness(self) -> float:
        return float(np.mean(self.terms[: self.n]))

    @property
    def rate(self) -> float:
        return float(np.mean(self.p[: self.n]))


def _runner(one: Pooled) -> _Runner:
    p = [judged.verdicts[0].p_refusal or 0.0 for judged in one.samples]
    added = terms(
        p,
        [judged.sample.logprob_sum for judged in one.samples],
        [judged.sample.n_tokens for judged in one.samples],
    )
    return _Runner(p, added)


def race(
    pool: Sequence[Pooled],
    order: Sequence[int],
    *,
    first: int,
    threshold: float,
    population: int,
    settle: float,
) -> Raced:
    """Race the pool in this order and compare with all samples."""
    runners = [_runner(one) for one in pool]
    best: list[_Runner] = []  # the fittest so far, at most `population`
    owed = 0.0
    for place in order:
        one = runners[place]
        bar = best[-1].fitness if len(best) == population else -np.inf
        while True:
            n = wanted(
                one.p[: one.n],
                one.terms[: one.n],
                n=one.n,
                first=first,
                most=K,
                threshold=threshold,
                bar=bar,
            )
            if n <= one.n:
                break
            one.n = min(n, K)
        best = _ranked([*best, one])[:population]
        owed += settle / (1.0 - settle)
        while owed >= 1.0:
            owed -= 1.0
            open_ones = [r for r in best if r.n < K]
            if open_ones:
                open_ones[0].n = next_round(open_ones[0].n, K)
                best = _ranked(best)
    return _compared(runners, threshold)


def settle_all(
    pool: Sequence[Pooled],
    first: int,
    threshold: float,
    *,
    settled: int = TOP,
    by_rounds: bool = True,
    order: int = 0,
) -> Raced:
    """Where settling leads when it is not held to a share: the first samples of every prompt, then the
    fittest of those that lack some has a round more (or all the others), until the `settled` fittest
    lack none. `order` seeds that of the samples; 0: as they were drawn."""
    rng = np.random.default_rng(order)
    runners = [_runner(one) for one in pool]
    for one in runners:
        one.n = first
        if order:
            places = rng.permutation(K)
            one.p = [one.p[i] for i in places]
            one.terms = [one.terms[i] for i in places]
    while True:
        lacking = [one for one in _ranked(runners)[:settled] if one.n < K]
        if not lacking:
            return _compared(runners, threshold)
        lacking[0].n = next_round(lacking[0].n, K) if by_rounds else K


def _ranked(runners: Sequence[_Runner]) -> list[_Runner]:
    return sorted(runners, key=lambda r: -r.fitness)


def _compared(runners: Sequence[_Runner], threshold: float) -> Raced:
    from scipy.stats import kendalltau

    full = np.array([np.mean(r.terms) for r in runners])
    raced = np.array([r.fitness for r in runners])
    top = np.argsort(-full, kind="stable")[:TOP]
    theirs = set(np.argsort(-raced, kind="stable")[:TOP].tolist())
    sides: NDArray[np.bool_] = np.array(
        [(np.mean(r.p) >= threshold) != (r.rate >= threshold) for r in runners]
    )
    return Raced(
        tau=float(kendalltau(full[top], raced[top]).statistic),
        kept=len(theirs & set(top.tolist())) / len(top),
        wrong_side=float(sides.mean()),
        samples=sum(r.n for r in runners) / (K * len(runners)),
    )


_SPREAD = (median, min, max)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    candidate_pool.options(parser)
    parser.add_argument("--orders", type=int, default=20)
    parser.add_argument("--first", type=int, default=2)
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--population", type=int, default=64)
    options = parser.parse_args()
    if options.make_pool:
        asyncio.run(candidate_pool.make(options.store, options.size, options.of, options.threads))
    pool = candidate_pool.sized(candidate_pool.read(options.store), options.size)
    figures: dict[str, object] = {"candidates": len(pool), "orders": options.orders}
    for name, settle in (("racing", 0.0), ("settle 0.1", 0.1), ("settle 0.3", 0.3)):
        rows = [
            asdict(
                race(
                    pool,
                    np.random.default_rng(seed).permutation(len(pool)).tolist(),
                    first=options.first,
                    threshold=options.threshold,
                    population=options.population,
                    settle=settle,
                )
            )
            for seed in range(options.orders)
        ]
        figures[name] = {key: round(median(row[key] for row in rows), 3) for key in rows[0]}
        print(name, figures[name])
    for settled, by_rounds in [(TOP, False), *((most, True) for most in SETTLED)]:
        done = [
            settle_all(
                pool,
                options.first,
                options.threshold,
                settled=settled,
                by_rounds=by_rounds,
                order=order,
            )
            for order in range(options.orders)
        ]
        name = f"{settled} settled {'by rounds' if by_rounds else 'at once'}"
        figures[name] = {
            f.name: [round(float(of([getattr(r, f.name) for r in done])), 3) for of in _SPREAD]
            for f in fields(Raced)
        }
        print(name, "(median, least, most)", figures[name])
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
