"""How many over-refusals are kept when only half of the proposals are sampled?

    python -m benchmarks.screening out/pool.db [--make-pool] [--size 500] [--orders 10]

The pool of benchmarks/racing.py is proposed in batches, in several random orders. Of each batch the half
that a guess ranks highest is sampled, a tenth of it blindly; guesses learn from what was sampled alone, so
they begin with nothing and the first batches are halved at random. Recall is the share of the pool's
over-refusals (refusal rate >= 0.5 by ten samples) that were sampled, over all batches and over those
after the first 100 proposals. Guesses: the predictor (embedding), the opening (one token of the
target, calibrated from what was sampled), both (the mean of their log-odds), and perfect (the refusal
rate itself: what half of each batch and a blind share leave to be had). With `--over 0.2` each order has
only so many of the over-refusals, drawn at random, that they are a fifth: where half of a pool are
over-refusals, half of the calls cannot keep nine tenths of them. Seeds go first and
are all sampled, as in a search; they are not counted. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks import arms, candidate_pool
from benchmarks.candidate_pool import K, Pooled
from benchmarks.in_process import load
from fitness.openers import OpenerCalibration
from fitness.predictor import RefusalPredictor
from workers.interface import Failure, GenerationRequest, Message, Opening, Sampling

BATCH = 24
BLIND = 0.1
WARM = 100  # proposals after which the second recall begins
GUESSES = ("chance", "predictor", "opening", "both", "perfect")


class _Guesser:
    """The guesses of one pass, learned from what was sampled so far."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._predictor = RefusalPredictor()
        self._openers = OpenerCalibration()

    def learn(self, one: Pooled, opening: Opening) -> None:
        if self._kind in ("predictor", "both"):
            self._predictor.learn(one.vector[None], [one.score(K).refusal_rate])
        if self._kind in ("opening", "both"):
            said = [(s.sample.text, s.verdicts[0].p_refusal or 0.0) for s in one.samples]
            self._openers.learn(opening, said)

    def log_odds(self, batch: Sequence[Pooled], openings: Sequence[Opening]) -> NDArray[np.float64]:
        """Of refusal, (batch,); all 0 while nothing is known."""
        if self._kind == "perfect":
            return np.array([one.score(K).refusal_rate for one in batch])
        odds = np.zeros(len(batch))
        if self._kind in ("predictor", "both"):
            odds += _logit(self._predictor.predict(np.stack([one.vector for one in batch])))
        openers = self._openers.openers
        if openers is not None:
            odds += _logit(np.array([openers.guess(opening) for opening in openings]))
        return odds


def _logit(p: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(p, 1e-6, 1 - 1e-6)
    odds: NDArray[np.float64] = np.log(clipped / (1 - clipped))
    return odds


def recall(
    pool: Sequence[Pooled],
    openings: Sequence[Opening],
    kind: str,
    seed: int,
    share: float = 0.5,
    over: float | None = None,
) -> tuple[float, float]:
    """Recall over all batches, and over those after WARM proposals; `over`: share of over-refusals to
    which the pool is thinned, None: as it is."""
    rng = np.random.default_rng(seed)
    guesser = _Guesser(kind)
    for one, opening in zip(pool, openings, strict=True):
        if one.seed:
            guesser.learn(one, opening)
    children = rng.permutation(_thinned(pool, over, rng)).tolist()
    hits: list[tuple[int, bool]] = []  # proposals before it, sampled?
    for start in range(0, len(children), BATCH):
        batch = children[start : start + BATCH]
        n = round(share * len(batch))
        odds = guesser.log_odds([pool[i] for i in batch], [openings[i] for i in batch])
        noise = rng.random(len(batch))
        ranked = np.lexsort((noise, -odds)).tolist()  # ties, and chance, in random order
        n_blind = min(round(BLIND * n), len(batch) - n)
        seen = ranked[: n - n_blind]
        seen += rng.choice(ranked[n - n_blind :], size=n_blind, replace=False).tolist()
        for place, i in enumerate(batch):
            if pool[i].score(K).refusal_rate >= 0.5:
                hits.append((start, place in seen))
        for place in sorted(seen):
            guesser.learn(pool[batch[place]], openings[batch[place]])
    late = [sampled for before, sampled in hits if before >= WARM]
    return (
        float(np.mean([sampled for _, sampled in hits])) if hits else float("nan"),
        float(np.mean(late)) if late else float("nan"),
    )


def _thinned(pool: Sequence[Pooled], over: float | None, rng: np.random.Generator) -> list[int]:
    """Places of those that are no seeds, with no more over-refusals than make the share `over`."""
    children = [i for i, one in enumerate(pool) if not one.seed]
    if over is None:
        return children
    hits = [i for i in children if pool[i].score(K).refusal_rate >= 0.5]
    others = sorted(set(children) - set(hits))
    n = min(len(hits), round(over / (1.0 - over) * len(others)))
    return others + rng.permutation(hits)[:n].tolist()


async def _openings(pool: Sequence[Pooled], threads: int) -> list[Opening]:
    """How the target's responses would begin: one pass over each prompt."""
    config = arms.config("random+racing", 0, {"evaluations": 1})
    parts = load(config, threads)
    requests = [
        GenerationRequest(one.prompt_id, (Message("user", one.text),), 1, Sampling(), 0)
        for one in pool
    ]
    answers = await parts.engine.open(requests)
    failed = next((a for a in answers if isinstance(a, Failure)), None)
    if failed is not None:
        raise SystemExit(f"opening: {failed.message}")
    return [answer for answer in answers if isinstance(answer, Opening)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    candidate_pool.options(parser)
    parser.add_argument("--orders", type=int, default=10)
    parser.add_argument(
        "--over", type=float, help="share of over-refusals; as they are if left out"
    )
    options = parser.parse_args()
    if options.make_pool:
        asyncio.run(candidate_pool.make(options.store, options.size, options.of, options.threads))
    pool = candidate_pool.sized(candidate_pool.read(options.store), options.size)
    openings = asyncio.run(_openings(pool, options.threads))
    over = sum(one.score(K).refusal_rate >= 0.5 for one in pool if not one.seed)
    figures: dict[str, object] = {"candidates": len(pool), "over_refusals": over}
    for kind in GUESSES:
        rows = [
            recall(pool, openings, kind, seed, over=options.over) for seed in range(options.orders)
        ]
        figures[kind] = {
            "recall": round(median(row[0] for row in rows), 3),
            "from_to": [round(float(f(row[0] for row in rows)), 3) for f in (min, max)],
            f"recall_after_{WARM}": round(median(row[1] for row in rows), 3),
        }
        print(kind, figures[kind])
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
