"""Judging stored samples anew, and what the fitness becomes. The target is not asked.

An edge: it composes a judge, the ELBO and the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from db import rejudge as stored
from evo.config import SearchConfig
from fitness.elbo import elbo
from fitness.types import Judge, Score, Verdict
from workers.interface import Failure

if TYPE_CHECKING:
    from db.rejudge import Key, StoredSample
    from db.store import Store

_BATCH = 256  # verdicts a transaction; what is judged is not lost

Told = Callable[[int, int], None]  # samples done, samples in all


@dataclass(frozen=True, slots=True)
class Rejudged:
    """One run by one judge.

    samples       samples of the run's evaluations; `added` got a verdict now
    unscored      that this judge could not score
    disagreeing   on which this judge and the run's own deciding judge take different sides
    evaluations   that could be scored; `over_refusals` of them reach the run's threshold, seeds too
    refusal_rate, fitness   means over these evaluations, None where there are none; the fitness also
                  where it is a cliff, which no judge changes
    """

    judge: str
    version: str
    samples: int
    added: int
    unscored: int
    disagreeing: int
    evaluations: int
    over_refusals: int
    refusal_rate: float | None
    fitness: float | None


def rejudge(store: Store, run: str, judge: Judge, tell: Told = lambda done, of: None) -> Rejudged:
    """Have `judge` score what it has not scored yet of a run's samples, store it, recompute.

    Raises:
        ConfigError: no such run. StoreError: it cannot be written; verdicts before that are kept.
    """
    samples = stored.samples_of(store, run)
    known = stored.verdicts_of(store, run, judge.name, judge.version)
    new = [s for s in samples if s.key not in known]
    added = 0
    for start in range(0, len(new), _BATCH):
        batch = new[start : start + _BATCH]
        verdicts = asyncio.run(judge.judge([s.what for s in batch]))
        said = list(zip([s.key for s in batch], verdicts, strict=True))
        added += stored.add(store, said)
        known |= dict(said)
        tell(start + len(batch), len(new))
    search = SearchConfig.model_validate(store.stored_config(run)["search"])
    scores = [
        score for score in _scores(samples, known, search.confidence_weight) if score is not None
    ]
    decided = _by_decider(store, run)
    by_elbo = not search.objective.reads_thoughts
    return Rejudged(
        judge=judge.name,
        version=judge.version,
        samples=len(samples),
        added=added,
        unscored=sum(known[s.key].p_refusal is None for s in samples),
        disagreeing=sum(_differ(known[s.key], decided.get(s.key)) for s in samples),
        evaluations=len(scores),
        over_refusals=sum(s.refusal_rate >= search.threshold for s in scores),
        refusal_rate=fmean(s.refusal_rate for s in scores) if scores else None,
        fitness=fmean(s.fitness for s in scores) if scores and by_elbo else None,
    )


def _scores(
    samples: Sequence[StoredSample], verdicts: Mapping[Key, Verdict], weight: float
) -> list[Score | None]:
    """The score of each prompt by these verdicts; None where none of its samples was scored."""
    by_prompt: dict[tuple[str, str], list[StoredSample]] = {}
    for sample in samples:
        by_prompt.setdefault(sample.key[:2], []).append(sample)
    scores: list[Score | None] = []
    for group in by_prompt.values():
        score = elbo(
            [verdicts[s.key].p_refusal for s in group],
            [s.logprob_sum for s in group],
            [s.n_tokens for s in group],
            sampling_logprob_sums=[s.sampling_logprob_sum for s in group],
            weight=weight,
        )
        scores.append(None if isinstance(score, Failure) else score)
    return scores


def _by_decider(store: Store, run: str) -> dict[Key, Verdict]:
    """The verdicts that decided in the run."""
    decider = stored.decider_of(store, run)
    return stored.verdicts_of(store, run, *decider) if decider else {}


def _differ(one: Verdict, other: Verdict | None) -> bool:
    if other is None or one.p_refusal is None or other.p_refusal is None:
        return False
    return (one.p_refusal >= 0.5) != (other.p_refusal >= 0.5)
